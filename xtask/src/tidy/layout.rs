//! Where things are and how long they get.

use super::{Finding, facts::Facts};

/// A file past this is usually two ideas: it is listed.
const LONG: usize = 400;
/// A file past this fails, unless [`LONG_FOR_A_REASON`] says why.
const TOO_LONG: usize = 600;
const LONG_FOR_A_REASON: &[(&str, &str)] = &[];

const REQUIRED: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "systemd/decnet-api.service",
    "systemd/decnet-webhook.service",
    "systemd/decnet.target",
];

const TWO_COMMANDS: [&str; 2] = ["cargo run --release -- serve --demo", "cargo xtask test"];
/// They stand before anything a reader must scroll to.
const TOP_LINES: usize = 25;

/// What a worker's shutdown may take (10 s for what is in flight, then commit and close): systemd
/// must not kill it earlier.
const DRAIN_SECONDS: u64 = 15;
const DRAINING_UNITS: [&str; 2] = [
    "systemd/decnet-api.service",
    "systemd/decnet-webhook.service",
];

/// `foo.rs` and `foo/`, never `foo/mod.rs`: a tab named `mod.rs` tells nothing.
pub(super) fn no_mod_rs(facts: &Facts) -> Vec<Finding> {
    facts
        .rust_files()
        .filter(|file| file.path.ends_with("/mod.rs"))
        .map(|file| Finding::new(&file.path, "name the file after its module"))
        .collect()
}

/// No file is longer than [`TOO_LONG`] without a reason.
pub(super) fn short_files(facts: &Facts) -> Vec<Finding> {
    over(facts, TOO_LONG)
        .filter(|(path, _)| !LONG_FOR_A_REASON.iter().any(|(allowed, _)| allowed == path))
        .map(|(path, lines)| {
            Finding::new(
                path,
                format!("{lines} lines: split it, or give the reason in {}", file!()),
            )
        })
        .collect()
}

/// Files that may want to be split: a note, not a breach.
pub(super) fn long_files(facts: &Facts) -> Vec<Finding> {
    over(facts, LONG)
        .map(|(path, lines)| Finding::new(path, format!("{lines} lines")))
        .collect()
}

fn over(facts: &Facts, limit: usize) -> impl Iterator<Item = (&str, usize)> {
    facts
        .rust_files()
        .map(|file| (file.path.as_str(), file.text.lines().count()))
        .filter(move |(_, lines)| *lines > limit)
}

/// What a clone must contain.
pub(super) fn required_files(facts: &Facts) -> Vec<Finding> {
    REQUIRED
        .iter()
        .filter(|path| facts.file(path).is_none())
        .map(|path| Finding::new(*path, "is missing"))
        .collect()
}

/// The README opens with the command that runs the main job and the one that runs the tests.
pub(super) fn two_commands(facts: &Facts) -> Vec<Finding> {
    let Some(readme) = facts.file("README.md") else {
        return Vec::new();
    };
    let top: Vec<&str> = readme.text.lines().take(TOP_LINES).collect();
    TWO_COMMANDS
        .iter()
        .filter(|command| !top.iter().any(|line| line.contains(*command)))
        .map(|command| {
            Finding::new(
                "README.md",
                format!("lacks `{command}` in its first {TOP_LINES} lines"),
            )
        })
        .collect()
}

/// Every relative link of a document leads to something that is tracked.
pub(super) fn links(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in facts.files.iter().filter(|file| file.path.ends_with(".md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for target in file
            .text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains(':') {
                continue;
            }
            let path = resolve(folder, path);
            let leads_somewhere = facts.files.iter().any(|file| {
                let rest = file.path.strip_prefix(path.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            if !leads_somewhere {
                found.push(Finding::new(
                    &file.path,
                    format!("links to {target}, which is not there"),
                ));
            }
        }
    }
    found
}

fn resolve(folder: &str, path: &str) -> String {
    let mut whole: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(whole.pop()),
            part => whole.push(part),
        }
    }
    whole.join("/")
}

/// `TimeoutStopSec` is above what a drain may take.
pub(super) fn unit_deadlines(facts: &Facts) -> Vec<Finding> {
    DRAINING_UNITS
        .iter()
        .filter_map(|path| facts.file(path))
        .filter(|file| {
            let seconds = file.text.lines().find_map(|line| {
                line.strip_prefix("TimeoutStopSec=")?
                    .trim_end_matches('s')
                    .parse::<u64>()
                    .ok()
            });
            seconds.is_none_or(|seconds| seconds <= DRAIN_SECONDS)
        })
        .map(|file| {
            Finding::new(
                &file.path,
                format!("needs TimeoutStopSec above {DRAIN_SECONDS} s"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{
        DRAINING_UNITS, REQUIRED, TOO_LONG, links, long_files, no_mod_rs, required_files,
        short_files, two_commands, unit_deadlines,
    };
    use crate::tidy::facts::{Facts, File};

    fn facts(files: &[(&str, &str)]) -> Facts {
        let files = files.iter().map(|(path, text)| File {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        });
        Facts {
            files: files.collect(),
            ..Facts::default()
        }
    }

    #[test]
    fn modules_are_named() {
        assert_eq!(no_mod_rs(&facts(&[("crates/a/src/model.rs", "")])), []);
        assert_eq!(no_mod_rs(&facts(&[("crates/a/src/b/mod.rs", "")])).len(), 1);
    }

    #[test]
    fn length_is_noted_then_refused() {
        let (noted, refused) = ("\n".repeat(TOO_LONG), "\n".repeat(TOO_LONG + 1));
        let facts = facts(&[("a.rs", &noted), ("b.rs", &refused), ("c.json", &refused)]);
        assert_eq!(long_files(&facts).len(), 2);
        assert_eq!(short_files(&facts).len(), 1);
        assert_eq!(short_files(&facts)[0].place, "b.rs");
    }

    #[test]
    fn a_missing_unit_is_named() {
        let all: Vec<(&str, &str)> = REQUIRED.iter().map(|path| (*path, "")).collect();
        assert_eq!(required_files(&facts(&all)), []);
        assert_eq!(required_files(&facts(&all[1..]))[0].place, REQUIRED[0]);
    }

    #[test]
    fn the_readme_opens_with_both_commands() {
        let both = "# decnet\n\n    cargo run --release -- serve --demo\n    cargo xtask test\n";
        assert_eq!(two_commands(&facts(&[("README.md", both)])), []);
        let late = format!("{}{both}", "\n".repeat(30));
        assert_eq!(two_commands(&facts(&[("README.md", &late)])).len(), 2);
    }

    #[test]
    fn links_lead_somewhere() {
        let page = "[a](docs/b.md#part) [c](https://example.org) [d](#here) [e](docs/)\n";
        let back = "[up](../README.md)\n";
        assert_eq!(
            links(&facts(&[("README.md", page), ("docs/b.md", back)])),
            []
        );
        let found = links(&facts(&[("README.md", page)]));
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0].what, "links to docs/b.md#part, which is not there");
    }

    #[test]
    fn systemd_waits_for_the_drain() {
        let unit = DRAINING_UNITS[0];
        assert_eq!(
            unit_deadlines(&facts(&[(unit, "[Service]\nTimeoutStopSec=30\n")])),
            []
        );
        assert_eq!(
            unit_deadlines(&facts(&[(unit, "TimeoutStopSec=30s\n")])),
            []
        );
        assert_eq!(
            unit_deadlines(&facts(&[(unit, "TimeoutStopSec=10\n")])).len(),
            1
        );
        assert_eq!(unit_deadlines(&facts(&[(unit, "[Service]\n")])).len(), 1);
    }
}
