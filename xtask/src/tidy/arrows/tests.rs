use super::{arrows, confined, delivery_alone, one_binary};
use crate::tidy::{
    Finding,
    facts::{Crate, Dependency, Facts},
};

/// `("webhook-api", "webhook-store, dev webhook-testkit")`
fn facts(crates: &[(&str, &str)]) -> Facts {
    let crates = crates.iter().map(|(name, dependencies)| Crate {
        name: (*name).to_owned(),
        dependencies: dependencies
            .split(", ")
            .filter(|it| !it.is_empty())
            .map(|it| match it.strip_prefix("dev ") {
                Some(name) => Dependency {
                    name: name.to_owned(),
                    dev: true,
                },
                None => Dependency {
                    name: it.to_owned(),
                    dev: false,
                },
            })
            .collect(),
        binaries: Vec::new(),
    });
    Facts {
        crates: crates.collect(),
        ..Facts::default()
    }
}

#[track_caller]
fn check(rule: fn(&Facts) -> Vec<Finding>, crates: &[(&str, &str)], expected: &[&str]) {
    let found: Vec<String> = rule(&facts(crates))
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(found, expected);
}

const QUIET: [(&str, &str); 4] = [
    ("webhook-model", ""),
    ("webhook-store", ""),
    ("webhook-api", ""),
    ("webhook-testkit", ""),
];

fn with(row: (&'static str, &'static str)) -> Vec<(&'static str, &'static str)> {
    QUIET
        .into_iter()
        .filter(|(name, _)| *name != row.0)
        .chain([row])
        .collect()
}

#[test]
fn arrows_of_the_design_pass() {
    check(
        arrows,
        &with(("webhook-worker", "webhook-model, webhook-store, tokio")),
        &[],
    );
    check(
        arrows,
        &with(("webhook-model", "serde, dev webhook-testkit")),
        &[],
    );
    check(
        arrows,
        &with(("webhook-testkit", "webhook-model, dev webhook-store")),
        &[],
    );
}

#[test]
fn every_other_arrow_is_found() {
    let forbidden =
        |from: &str, to: &str| format!("{from}: must not depend on {to} (forbidden arrow)");
    check(
        arrows,
        &with(("webhook-model", "webhook-store")),
        &[&forbidden("webhook-model", "webhook-store")],
    );
    check(
        arrows,
        &with(("webhook-worker", "webhook-api")),
        &[&forbidden("webhook-worker", "webhook-api")],
    );
    // Not by way of a test, either.
    check(
        arrows,
        &with(("webhook-bus", "dev webhook-store")),
        &[&forbidden("webhook-bus", "webhook-store")],
    );
    // The testkit never ships.
    check(
        arrows,
        &with(("webhook-worker", "webhook-testkit")),
        &[&forbidden("webhook-worker", "webhook-testkit")],
    );
    check(
        arrows,
        &with(("webhook-extra", "")),
        &["webhook-extra: has no row in xtask's table of arrows"],
    );
}

#[test]
fn libraries_stay_in_their_crates() {
    check(
        confined,
        &[("webhook-store", "sea-orm"), ("decnet-cli", "anyhow, clap")],
        &[],
    );
    check(
        confined,
        &[("webhook-worker", "dev reqwest, dev rusqlite")],
        &[],
    );
    check(
        confined,
        &[("webhook-api", "sea-orm, dev anyhow")],
        &[
            "webhook-api: must not depend on sea-orm: only webhook-store may",
            "webhook-api: must not depend on anyhow: only decnet-cli and xtask may",
        ],
    );
}

#[test]
fn names_the_path_by_which_delivery_would_bring_a_framework() {
    let mut facts = Facts::default();
    for (from, to) in [
        ("webhook-delivery", "webhook-model"),
        ("webhook-model", "helper"),
        ("helper", "webhook-model"),
    ] {
        facts
            .tree
            .entry(from.to_owned())
            .or_default()
            .insert(to.to_owned());
    }
    assert_eq!(delivery_alone(&facts), []);
    facts
        .tree
        .entry("helper".to_owned())
        .or_default()
        .insert("sea-orm".to_owned());
    assert_eq!(
        delivery_alone(&facts)[0].to_string(),
        "webhook-delivery: brings sea-orm: webhook-delivery -> webhook-model -> helper -> sea-orm"
    );
}

#[test]
fn only_decnet_and_xtask_are_programs() {
    let mut facts = facts(&[("decnet-cli", ""), ("webhook-api", ""), ("xtask", "")]);
    facts.crates[0].binaries.push("decnet".to_owned());
    facts.crates[2].binaries.push("xtask".to_owned());
    assert_eq!(one_binary(&facts), []);
    facts.crates[1].binaries.push("server".to_owned());
    assert_eq!(
        one_binary(&facts)[0].to_string(),
        "webhook-api: must have no binary server"
    );
}
