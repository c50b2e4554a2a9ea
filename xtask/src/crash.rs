//! The tests that crash the program, which has its crash points for them alone.

use std::process::Command;

use crate::cargo::cargo;

pub(crate) const NAME: &str = "cargo test --features failpoints (crashes)";

/// Of the whole workspace, so that no dependency is compiled once more with other features.
pub(crate) fn tests(profile: &[&str]) -> Command {
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--locked", "--test", "crash"])
        .args(["--features", "decnet-cli/failpoints"])
        .args(profile);
    command
}
