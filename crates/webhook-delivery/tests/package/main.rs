//! Another team's view: a crate outside the workspace, built and run against what
//! `cargo package` makes of this crate. A test binary of its own, because it compiles every
//! dependency once more.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const MANIFEST: &str = r#"
[package]
name = "outside"
version = "0.0.0"
edition = "2024"

[dependencies]
http = "1"
tokio = { version = "1", features = ["io-util", "macros", "net", "rt-multi-thread"] }
webhook-delivery = "VERSION"
webhook-model = "VERSION"

[patch.crates-io]
webhook-delivery = { path = "PACKAGES/webhook-delivery-VERSION" }
webhook-model = { path = "PACKAGES/webhook-model-VERSION" }

[workspace]
"#;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Cargo with a target directory of its own, kept between runs. What was just built needs
/// nothing from the network; a machine that cleaned its cache may.
fn cargo(directory: &Path, target: &Path, args: &[&str]) -> Output {
    let run = |offline: bool| {
        Command::new(env!("CARGO"))
            .args(args)
            .args(offline.then_some("--offline"))
            .current_dir(directory)
            .env("CARGO_TARGET_DIR", target)
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env_remove("CARGO_MANIFEST_DIR")
            .output()
            .unwrap()
    };
    let output = run(true);
    if output.status.success() {
        output
    } else {
        run(false)
    }
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_crate_outside_the_workspace_delivers() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package");
    let package = [
        "package",
        "-p",
        "webhook-model",
        "-p",
        "webhook-delivery",
        "--allow-dirty",
    ];
    succeeded(&cargo(&workspace, &target, &package));

    let outside = tempfile::tempdir().unwrap();
    let packages = target.join("package");
    let manifest = MANIFEST
        .replace("VERSION", VERSION)
        .replace("PACKAGES", packages.to_str().unwrap());
    fs::write(outside.path().join("Cargo.toml"), manifest).unwrap();
    // The same versions of everything as here.
    let lock = fs::read(workspace.join("Cargo.lock")).unwrap();
    fs::write(outside.path().join("Cargo.lock"), lock).unwrap();
    fs::create_dir(outside.path().join("src")).unwrap();
    let main = include_str!("outside.rs");
    fs::write(outside.path().join("src/main.rs"), main).unwrap();

    let output = cargo(outside.path(), &target, &["run", "--quiet"]);
    assert_eq!(succeeded(&output), "delivered and verified\n");
}
