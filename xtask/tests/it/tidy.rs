use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

/// The smallest workspace that keeps the house rules: two crates and the files a clone must have.
struct Workspace(TempDir);

impl Workspace {
    fn new() -> Self {
        let workspace = Self(tempfile::tempdir().unwrap());
        workspace.write(
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n\n\
             [workspace.lints.rust]\nunsafe_code = \"forbid\"\n\n[workspace.dependencies]\n\
             webhook-model = { path = \"crates/webhook-model\" }\n\
             webhook-store = { path = \"crates/webhook-store\" }\n",
        );
        workspace.member("webhook-model", "");
        workspace.member("webhook-store", "webhook-model");
        for path in [
            "ARCHITECTURE.md",
            "CHANGELOG.md",
            "LICENSE-APACHE",
            "LICENSE-MIT",
        ] {
            workspace.write(path, "text\n");
        }
        workspace.write(
            "README.md",
            "    cargo run --release -- serve --demo\n    cargo xtask test\n",
        );
        for unit in [
            "decnet-api.service",
            "decnet-webhook.service",
            "decnet.target",
        ] {
            workspace.write(&format!("systemd/{unit}"), "[Service]\nTimeoutStopSec=30\n");
        }
        workspace
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn member(&self, name: &str, dependency: &str) {
        let dependency = match dependency {
            "" => String::new(),
            name => format!("{name}.workspace = true\n"),
        };
        self.write(
            &format!("crates/{name}/Cargo.toml"),
            &format!(
                "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
                 [lints]\nworkspace = true\n\n[dependencies]\n{dependency}"
            ),
        );
        self.write(&format!("crates/{name}/src/lib.rs"), "//! A crate.\n");
    }

    fn tidy(&self) -> Output {
        let cargo = option_env!("CARGO").unwrap_or("cargo");
        let locked = Command::new(cargo)
            .current_dir(self.0.path())
            .args(["generate-lockfile", "--offline"])
            .output()
            .unwrap();
        assert!(
            locked.status.success(),
            "{}",
            String::from_utf8_lossy(&locked.stderr)
        );
        tidy(self.0.path())
    }
}

fn tidy(root: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["tidy", "--root"])
        .arg(root)
        .output()
        .unwrap()
}

#[track_caller]
fn check(workspace: &Workspace, expected: Result<(), &str>) {
    let output = workspace.tidy();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    match expected {
        Ok(()) => assert!(output.status.success(), "{said}"),
        Err(breach) => {
            assert!(!output.status.success(), "{said}");
            assert!(said.contains(breach), "{said}");
        }
    }
}

#[test]
fn a_workspace_that_keeps_the_rules_passes() {
    check(&Workspace::new(), Ok(()));
}

#[test]
fn a_forbidden_arrow_fails() {
    let workspace = Workspace::new();
    workspace.member("webhook-delivery", "webhook-store");
    check(
        &workspace,
        Err("webhook-delivery: must not depend on webhook-store (forbidden arrow)"),
    );
}

#[test]
fn a_second_binary_fails() {
    let workspace = Workspace::new();
    workspace.write("crates/webhook-store/src/bin/tool.rs", "fn main() {}\n");
    check(&workspace, Err("webhook-store: must have no binary tool"));
}

#[test]
fn a_crate_without_the_lints_fails() {
    let workspace = Workspace::new();
    workspace.write(
        "crates/webhook-model/Cargo.toml",
        "[package]\nname = \"webhook-model\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
    );
    check(
        &workspace,
        Err("crates/webhook-model/Cargo.toml: lacks `[lints] workspace = true`"),
    );
}

#[test]
fn a_missing_unit_fails() {
    let workspace = Workspace::new();
    fs::remove_file(workspace.0.path().join("systemd/decnet.target")).unwrap();
    check(&workspace, Err("systemd/decnet.target: is missing"));
}
