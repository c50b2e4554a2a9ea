//! What the dependencies bring in.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, facts::Facts};

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// TLS is rustls with ring: a second stack is a second set of roots, bugs and build tools.
const OTHER_TLS: &[&str] = &[
    "aws-lc-rs",
    "aws-lc-sys",
    "boring",
    "boring-sys",
    "native-tls",
    "openssl",
    "openssl-sys",
];

/// Crates that are compiled in several versions, and why that cannot be helped.
const SEVERAL_VERSIONS: &[(&str, &str)] = &[
    ("base64", "0.22 of jsonwebtoken and sqlx"),
    ("block-buffer", "of digest 0.10, see sha2"),
    ("const-oid", "of digest 0.10, see sha2"),
    ("cpufeatures", "of sha2 0.10, see sha2"),
    ("crypto-common", "of digest 0.10, see sha2"),
    ("digest", "of sha2 0.10, see sha2"),
    ("getrandom", "0.2 of ring, jsonwebtoken and backoff"),
    ("hashbrown", "0.16 of sqlx"),
    ("heck", "0.4 of sea-orm's derives: build time only"),
    ("http", "0.2 of actix-web 4"),
    ("rand", "0.8 of backoff"),
    ("rand_chacha", "of rand 0.8 and 0.9"),
    ("rand_core", "of rand 0.8 and 0.9"),
    ("sha2", "0.10 of sqlx"),
    (
        "syn",
        "half of all derives have not moved to 3: build time only",
    ),
];

/// One version of each crate, but for those of [`SEVERAL_VERSIONS`].
pub(super) fn duplicates(facts: &Facts) -> Vec<Finding> {
    several(facts)
        .into_iter()
        .filter(|(name, _)| !SEVERAL_VERSIONS.iter().any(|(allowed, _)| allowed == name))
        .map(|(name, versions)| {
            let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
            Finding::new(
                "the build",
                format!(
                    "{name} in versions {}: unite them, or give the reason in {}",
                    versions.join(", "),
                    file!()
                ),
            )
        })
        .collect()
}

/// Allowances that are no longer needed.
pub(super) fn stale_allowances(facts: &Facts) -> Vec<Finding> {
    let several = several(facts);
    SEVERAL_VERSIONS
        .iter()
        .filter(|(name, _)| !several.contains_key(name))
        .map(|(name, _)| Finding::new(file!(), format!("{name} has one version again")))
        .collect()
}

fn several(facts: &Facts) -> BTreeMap<&str, &BTreeSet<String>> {
    let several = facts
        .built
        .iter()
        .filter(|(_, versions)| versions.len() > 1);
    several
        .map(|(name, versions)| (name.as_str(), versions))
        .collect()
}

/// Everything comes from crates.io, and one TLS stack with it.
pub(super) fn sources(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for package in &facts.locked {
        if OTHER_TLS.contains(&package.name.as_str()) {
            found.push(Finding::new(
                "Cargo.lock",
                format!(
                    "{} is a second TLS stack beside rustls with ring",
                    package.name
                ),
            ));
        }
        if let Some(source) = package
            .source
            .as_deref()
            .filter(|source| *source != REGISTRY)
        {
            found.push(Finding::new(
                "Cargo.lock",
                format!("{} comes from {source}", package.name),
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{REGISTRY, duplicates, sources};
    use crate::tidy::facts::{Facts, locked};

    fn facts(packages: &[(&str, &str)]) -> Facts {
        let mut facts = Facts::default();
        for (name, version) in packages {
            facts
                .built
                .entry((*name).to_owned())
                .or_default()
                .insert((*version).to_owned());
        }
        let lock: String = packages
            .iter()
            .map(|(name, version)| {
                format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"{REGISTRY}\"\n\n")
            })
            .collect();
        facts.locked = locked(&lock);
        facts
    }

    #[test]
    fn a_second_version_is_found() {
        assert_eq!(
            duplicates(&facts(&[("tokio", "1.0.0"), ("url", "2.0.0")])),
            []
        );
        let found = duplicates(&facts(&[("tokio", "1.0.0"), ("tokio", "2.0.0")]));
        assert!(
            found[0].what.starts_with("tokio in versions 1.0.0, 2.0.0:"),
            "{found:?}"
        );
    }

    #[test]
    fn a_second_tls_stack_and_a_foreign_source_are_found() {
        assert_eq!(
            sources(&facts(&[("rustls", "0.23.0"), ("ring", "0.17.0")])),
            []
        );
        assert_eq!(sources(&facts(&[("openssl-sys", "0.9.0")])).len(), 1);
        let mut elsewhere = facts(&[("tokio", "1.0.0")]);
        elsewhere.locked[0].source = Some("git+https://example.org/tokio".to_owned());
        assert_eq!(
            sources(&elsewhere)[0].what,
            "tokio comes from git+https://example.org/tokio"
        );
    }
}
