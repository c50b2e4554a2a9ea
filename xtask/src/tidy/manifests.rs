//! Manifests of the crates: lints and versions come from the workspace.

use super::{
    Finding,
    facts::{Facts, File},
};

/// Every crate has `[lints] workspace = true`.
pub(super) fn lints(facts: &Facts) -> Vec<Finding> {
    manifests(facts)
        .filter(|file| {
            !lines(file).any(|line| line.section == "lints" && line.text == "workspace = true")
        })
        .map(|file| Finding::new(&file.path, "lacks `[lints] workspace = true`"))
        .collect()
}

/// Versions stand in the root manifest alone.
pub(super) fn versions(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in manifests(facts) {
        let mut depth = 0_usize;
        for line in lines(file) {
            let section = line.section;
            if section.ends_with("dependencies") {
                let starts_entry = depth == 0 && !line.text.is_empty();
                if starts_entry && !line.text.replace(' ', "").contains("workspace=true") {
                    found.push(Finding::new(
                        format!("{}:{}", file.path, line.number),
                        "take the dependency from the workspace (`workspace = true`)",
                    ));
                }
                depth += line.text.matches('[').count();
                depth = depth.saturating_sub(line.text.matches(']').count());
            } else if section.contains("dependencies.") && line.text.starts_with("version") {
                found.push(Finding::new(
                    format!("{}:{}", file.path, line.number),
                    "take the version from the workspace (`workspace = true`)",
                ));
            }
        }
    }
    found
}

fn manifests(facts: &Facts) -> impl Iterator<Item = &File> {
    facts
        .files
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml"))
}

struct Line<'a> {
    section: &'a str,
    number: usize,
    text: &'a str,
}

/// Lines without comments, each with the table it stands in.
fn lines(file: &File) -> impl Iterator<Item = Line<'_>> {
    let mut section = "";
    file.text
        .lines()
        .enumerate()
        .filter_map(move |(index, text)| {
            let text = text.split('#').next().unwrap_or_default().trim();
            match text.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
                Some(header) if !header.contains(['"', ',']) => {
                    section = header;
                    None
                }
                _ => Some(Line {
                    section,
                    number: index + 1,
                    text,
                }),
            }
        })
}

#[cfg(test)]
mod tests {
    use super::{lints, versions};
    use crate::tidy::{
        Finding,
        facts::{Facts, File},
    };

    #[track_caller]
    fn check(rule: fn(&Facts) -> Vec<Finding>, manifest: &str, expected: &[&str]) {
        let path = "crates/a/Cargo.toml".to_owned();
        let facts = Facts {
            files: vec![File {
                path,
                text: manifest.to_owned(),
            }],
            ..Facts::default()
        };
        let found: Vec<String> = rule(&facts).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn lints_come_from_the_workspace() {
        check(lints, "[package]\n[lints]\nworkspace = true\n", &[]);
        check(
            lints,
            "[package]\n[features]\nworkspace = true\n",
            &["crates/a/Cargo.toml: lacks `[lints] workspace = true`"],
        );
    }

    #[test]
    fn versions_come_from_the_workspace() {
        check(
            versions,
            "[dependencies]\na.workspace = true\nb = { workspace = true, features = [\n  \"x\",\n] }\n# c = \"1\"\n\n\
             [features]\nd = []\n",
            &[],
        );
        check(
            versions,
            "[dev-dependencies]\na = \"1\"\n[target.'cfg(unix)'.dependencies]\nb = { path = \"../b\" }\n\
             [dependencies.c]\nversion = \"1\"\n",
            &[
                "crates/a/Cargo.toml:2: take the dependency from the workspace (`workspace = true`)",
                "crates/a/Cargo.toml:4: take the dependency from the workspace (`workspace = true`)",
                "crates/a/Cargo.toml:6: take the version from the workspace (`workspace = true`)",
            ],
        );
    }
}
