use std::collections::BTreeSet;

use super::{ALL, Kind};

#[test]
fn names_tell_kind_and_unit() {
    let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), ALL.len());
    for metric in ALL {
        let name = metric.name;
        let plain = |c: char| c.is_ascii_lowercase() || c == '_';
        assert!(name.chars().all(plain), "{name}");
        let ours = name.starts_with("decnet_webhook_") || name == "process_start_time_seconds";
        assert!(ours, "{name}");
        assert_eq!(
            metric.kind == Kind::Counter,
            name.ends_with("_total"),
            "{name}"
        );
        let one_line = !metric.help.contains(['\n', '\\']) && metric.help.ends_with('.');
        assert!(one_line && !metric.help.starts_with(' '), "{name}");
    }
}

/// The README lists every metric with its labels, kind and help, and no other.
#[test]
fn the_readme_lists_them() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let section = readme
        .split("\n## ")
        .find(|section| section.starts_with("Metrics\n"))
        .expect("a section on metrics");
    let listed = section.lines().filter(|line| line.starts_with("| `"));
    let known = ALL.iter().map(|metric| {
        let labels = match metric.labels {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        let kind = format!("{:?}", metric.kind).to_lowercase();
        format!("| `{}{labels}` | {kind}: {} |", metric.name, metric.help)
    });
    assert_eq!(
        listed.collect::<BTreeSet<_>>(),
        known
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str)
            .collect()
    );
}
