//! `cargo xtask test`: everything that must pass before a change is taken.
//!
//! The workspace is linted and tested as a whole, so that each dependency is compiled once for
//! checking and once for running, with one set of features.

use anyhow::bail;

use crate::{
    cargo::{cargo, workspace_root},
    crash, preflight,
    steps::Steps,
    tidy,
};

/// What not even the full run does.
const LEFT_OUT: &[&str] = &[
    "long variants, and each crate's tests alone (cargo xtask soak)",
    "benchmarks (cargo xtask bench)",
];
/// What the full run adds: the tests that are ignored with it for a reason.
const ONLY_IN_FULL: &str =
    "MariaDB, the oldest nats-server, and the longest tests (cargo xtask test --full)";
/// Those that are ignored because others start them.
const HALVES: [&str; 5] = [
    "kill::child",
    "memory::child",
    "local::a_process_without_descriptors",
    "hostile::another_user_publishes",
    "member::attacks",
];

pub(crate) fn run(flags: &[&str]) -> anyhow::Result<()> {
    let full = match flags {
        [] => false,
        ["--full"] => true,
        other => bail!("test knows --full, not {}", other.join(" ")),
    };
    let with_ignored: Vec<&str> = if full {
        let skipped = HALVES.iter().flat_map(|half| ["--skip", half]);
        ["--", "--include-ignored"]
            .into_iter()
            .chain(skipped)
            .collect()
    } else {
        Vec::new()
    };
    preflight::check()?;
    let mut steps = Steps::default();
    steps.command(
        "cargo fmt --check",
        cargo().args(["fmt", "--all", "--check"]),
    );
    steps.run("cargo xtask tidy", || tidy::run(&workspace_root()));
    steps.command(
        "cargo clippy -D warnings",
        cargo()
            .args(["clippy", "--workspace", "--all-targets", "--locked"])
            .args(["--keep-going", "--", "-D", "warnings"]),
    );
    steps.command(
        "cargo doc -D warnings",
        // The program's doc comments are its help, written for terminals.
        cargo()
            .args(["doc", "--workspace", "--lib", "--no-deps"])
            .args(["--locked", "--quiet"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    );
    steps.tests(
        "cargo test (unit, integration, doc)",
        cargo()
            .args(["test", "--workspace", "--locked", "--no-fail-fast"])
            .args(&with_ignored),
    );
    steps.tests(crash::NAME, crash::tests(&[]).args(&with_ignored));
    let mut left_out = LEFT_OUT.to_vec();
    if !full {
        left_out.insert(0, ONLY_IN_FULL);
    }
    steps.finish(&left_out)
}
