//! `cargo xtask soak`: what takes too long for every change.
//!
//! Each crate's tests alone, because in the whole workspace a crate may borrow a feature that only
//! a sibling asked for; then all tests with `DECNET_SOAK=1`, under which those that ask
//! `webhook_testkit::soak()` run for longer, more often and with more load; then the attack, with a
//! release build, of which alone times are promised.

use anyhow::bail;

use crate::{cargo::cargo, crash, preflight, steps::Steps, tidy::facts};

pub(crate) fn run(flags: &[&str]) -> anyhow::Result<()> {
    let (mut release, mut alone, mut long) = (false, true, true);
    for flag in flags {
        match *flag {
            "--release" => release = true,
            "--alone" => long = false,
            "--long" => alone = false,
            other => bail!("soak knows --release, --alone and --long, not {other}"),
        }
    }
    preflight::check()?;
    let profile: &[&str] = if release { &["--release"] } else { &[] };
    let mut steps = Steps::default();
    if alone {
        for name in facts::workspace_crates()? {
            steps.tests(
                &format!("cargo test -p {name}"),
                cargo()
                    .args(["test", "--locked", "--no-fail-fast", "-p", &name])
                    .args(profile),
            );
        }
    }
    if long {
        steps.tests(
            "cargo test, long variants",
            cargo()
                .args(["test", "--workspace", "--locked", "--no-fail-fast"])
                .args(profile)
                .env("DECNET_SOAK", "1"),
        );
        steps.tests(crash::NAME, crash::tests(profile).env("DECNET_SOAK", "1"));
        steps.tests(
            "adversary, ten minutes at each bus",
            cargo()
                .args(["test", "--workspace", "--locked", "--test", "adversary"])
                // Its times are promised of the program as it is released.
                .arg("--release")
                .args(["--", "--ignored", "--nocapture"])
                .env("DECNET_SOAK", "1"),
        );
    }
    steps.finish(&[])
}
