//! Which crate may know which: design as data.

use std::collections::{BTreeSet, VecDeque};

use super::{Finding, facts::Facts};

/// A crate, and those of the workspace that it may use. Every crate has a row.
const ARROWS: &[(&str, &[&str])] = &[
    ("webhook-model", &[]),
    ("webhook-delivery", &["webhook-model"]),
    ("webhook-store", &["webhook-model"]),
    ("webhook-bus", &["webhook-model"]),
    (
        "webhook-worker",
        &[
            "webhook-model",
            "webhook-delivery",
            "webhook-store",
            "webhook-bus",
        ],
    ),
    (
        "webhook-api",
        &[
            "webhook-model",
            "webhook-delivery",
            "webhook-store",
            "webhook-bus",
        ],
    ),
    (TESTKIT, &["webhook-model"]),
    (
        "decnet-cli",
        &[
            "webhook-model",
            "webhook-delivery",
            "webhook-store",
            "webhook-bus",
            "webhook-worker",
            "webhook-api",
        ],
    ),
    (
        FUZZ,
        &[
            "webhook-model",
            "webhook-delivery",
            "webhook-bus",
            "webhook-api",
        ],
    ),
    ("xtask", &[]),
];

/// Open to every crate's tests; its own tests and examples may use every crate.
const TESTKIT: &str = "webhook-testkit";

/// For tests only: its binaries are what libFuzzer runs, and no crate may use it.
const FUZZ: &str = "webhook-fuzz";

/// A library, and the crates whose shipped code may call it. An absence a reader can rely on.
const CONFINED: &[(&str, &[&str])] = &[
    ("actix-http", &["webhook-api"]),
    ("actix-service", &["webhook-api"]),
    ("actix-web", &["webhook-api"]),
    ("anyhow", &["decnet-cli", "xtask"]),
    ("async-nats", &["webhook-bus"]),
    ("backoff", &["webhook-delivery"]),
    ("clap", &["decnet-cli"]),
    ("jsonwebtoken", &["webhook-api"]),
    ("reqwest", &["decnet-cli"]),
    ("rusqlite", &["webhook-bus"]),
    ("sea-orm", &["webhook-store"]),
    ("sea-orm-migration", &["webhook-store"]),
    ("tracing-subscriber", &["decnet-cli"]),
];

/// Errors that tests see are typed, too: these stay out of dev-dependencies as well.
const CONFINED_IN_TESTS: &[&str] = &["anyhow"];

/// Another team embeds webhook-delivery; none of these may come with it.
const DELIVERY_WITHOUT: &[&str] = &["actix-web", "async-nats", "rusqlite", "sea-orm"];

/// Dependencies between the workspace's own crates follow [`ARROWS`].
pub(super) fn arrows(facts: &Facts) -> Vec<Finding> {
    let own: BTreeSet<&str> = facts.crates.iter().map(|it| it.name.as_str()).collect();
    let mut found = Vec::new();
    for krate in &facts.crates {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == krate.name) else {
            found.push(Finding::new(
                &krate.name,
                "has no row in xtask's table of arrows",
            ));
            continue;
        };
        for to in krate
            .dependencies
            .iter()
            .filter(|to| own.contains(to.name.as_str()))
        {
            let for_tests = to.dev && (to.name == TESTKIT || krate.name == TESTKIT);
            if !for_tests && !allowed.contains(&to.name.as_str()) {
                found.push(Finding::new(
                    &krate.name,
                    format!("must not depend on {} (forbidden arrow)", to.name),
                ));
            }
        }
    }
    found
}

/// Libraries of [`CONFINED`] are used where the table says.
pub(super) fn confined(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for krate in &facts.crates {
        for to in &krate.dependencies {
            let Some((_, homes)) = CONFINED.iter().find(|(name, _)| *name == to.name) else {
                continue;
            };
            let counts = !to.dev || CONFINED_IN_TESTS.contains(&to.name.as_str());
            if counts && !homes.contains(&krate.name.as_str()) {
                found.push(Finding::new(
                    &krate.name,
                    format!(
                        "must not depend on {}: only {} may",
                        to.name,
                        homes.join(" and ")
                    ),
                ));
            }
        }
    }
    found
}

/// Nothing of [`DELIVERY_WITHOUT`] is reachable from webhook-delivery by normal dependencies.
pub(super) fn delivery_alone(facts: &Facts) -> Vec<Finding> {
    let start = "webhook-delivery";
    let mut left = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::from([start]);
    let mut found = Vec::new();
    while let Some(path) = left.pop_front() {
        let last = path[path.len() - 1];
        if DELIVERY_WITHOUT.contains(&last) {
            found.push(Finding::new(
                start,
                format!("brings {last}: {}", path.join(" -> ")),
            ));
        }
        for next in facts.tree.get(last).into_iter().flatten() {
            if seen.insert(next) {
                left.push_back(path.iter().copied().chain([next.as_str()]).collect());
            }
        }
    }
    found
}

/// Only decnet-cli has a binary, so that `cargo run` is `decnet`; xtask and the programs for
/// libFuzzer are none of the product.
pub(super) fn one_binary(facts: &Facts) -> Vec<Finding> {
    let outside = ["xtask", FUZZ];
    let others = facts
        .crates
        .iter()
        .filter(|it| !outside.contains(&it.name.as_str()));
    others
        .flat_map(|krate| krate.binaries.iter().map(move |binary| (krate, binary)))
        .filter(|(krate, binary)| {
            (krate.name.as_str(), binary.as_str()) != ("decnet-cli", "decnet")
        })
        .map(|(krate, binary)| Finding::new(&krate.name, format!("must have no binary {binary}")))
        .collect()
}

#[cfg(test)]
mod tests;
