//! How this program calls cargo and the programs it built.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

/// The workspace this program was compiled in.
pub(crate) fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies inside the workspace")
        .to_owned()
}

/// `cargo` in the workspace, in the environment that the user's own shell would give it.
pub(crate) fn cargo() -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(workspace_root());
    clean_environment(&mut command);
    command
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> anyhow::Result<PathBuf> {
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let directory = metadata["target_directory"]
        .as_str()
        .context("no target directory")?;
    Ok(directory.into())
}

/// Takes away what must not reach a child: settings of an installed `decnet`, and what `cargo run`
/// set for this program (build scripts that watch those would run again on every change of hands).
pub(crate) fn clean_environment(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(must_not_reach_children) {
            command.env_remove(&name);
        }
    }
}

fn must_not_reach_children(name: &str) -> bool {
    ["DECNET_", "CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"].contains(&name)
}

/// Whether a program can be started and answers with success.
pub(crate) fn answers(program: impl AsRef<OsStr>, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .output()
        .is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::must_not_reach_children;

    #[test]
    fn keeps_what_the_user_set_for_cargo() {
        assert!(must_not_reach_children("DECNET_DATA_DIR"));
        assert!(must_not_reach_children("CARGO_MANIFEST_DIR"));
        assert!(!must_not_reach_children("CARGO_TARGET_DIR"));
        assert!(!must_not_reach_children("CARGO_HOME"));
    }
}
