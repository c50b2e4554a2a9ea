//! `cargo xtask test`: everything that must pass before a change is taken.
//!
//! The workspace is linted and tested as a whole, so that each dependency is compiled once for
//! checking and once for running, with one set of features.

use crate::{
    cargo::{cargo, workspace_root},
    crash, preflight,
    steps::Steps,
    tidy,
};

const LEFT_OUT: &[&str] = &[
    "long variants, and each crate's tests alone (cargo xtask soak)",
    "benchmarks (cargo xtask bench)",
];

pub(crate) fn run() -> anyhow::Result<()> {
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
        cargo().args(["test", "--workspace", "--locked", "--no-fail-fast"]),
    );
    steps.tests(crash::NAME, &mut crash::tests(&[]));
    steps.finish(LEFT_OUT)
}
