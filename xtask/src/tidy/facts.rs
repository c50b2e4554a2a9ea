//! What the rules are checked against, gathered once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::cargo::cargo;

/// Text files above this are data, not something a person wrote and a rule should read.
const MAX_TEXT_BYTES: u64 = 512 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The workspace's own crates.
    pub(crate) crates: Vec<Crate>,
    /// Package name → names of its normal and build dependencies, as resolved for this machine.
    pub(crate) tree: BTreeMap<String, BTreeSet<String>>,
    /// Every package of Cargo.lock, also those that no build of this workspace compiles.
    pub(crate) locked: Vec<Locked>,
    /// Name → versions of what is compiled into the crates on this machine.
    pub(crate) built: BTreeMap<String, BTreeSet<String>>,
    /// Every tracked text file, its path relative to the root with `/`.
    pub(crate) files: Vec<File>,
}

#[derive(Debug, Default)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) binaries: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Only tests, examples and benches see it.
    pub(crate) dev: bool,
}

#[derive(Debug)]
pub(crate) struct Locked {
    pub(crate) name: String,
    /// None for the workspace's own.
    pub(crate) source: Option<String>,
}

#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Facts {
    pub(crate) fn gather(root: &Path) -> anyhow::Result<Self> {
        let metadata = metadata(root)?;
        let lock = fs::read_to_string(root.join("Cargo.lock")).context("no Cargo.lock")?;
        Ok(Self {
            crates: crates(&metadata),
            tree: tree(&metadata),
            locked: locked(&lock),
            built: built(&cargo_tree(root)?),
            files: files(root)?,
        })
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    pub(crate) fn rust_files(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }
}

/// The names of all crates of this workspace but xtask.
pub(crate) fn workspace_crates() -> anyhow::Result<Vec<String>> {
    let names = crates(&metadata(&crate::cargo::workspace_root())?)
        .into_iter()
        .map(|it| it.name);
    Ok(names.filter(|name| name != "xtask").collect())
}

fn metadata(root: &Path) -> anyhow::Result<Value> {
    // Only what this machine compiles: on a clean clone nothing else need be downloaded.
    let output = cargo()
        .current_dir(root)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
        ])
        .arg(host()?)
        .output()
        .context("cannot start cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn host() -> anyhow::Result<String> {
    let output = cargo().arg("-vV").output().context("cannot start cargo")?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("host: ").map(str::to_owned))
        .context("cargo -vV names no host")
}

fn crates(metadata: &Value) -> Vec<Crate> {
    let members: BTreeSet<&str> = list(metadata, "workspace_members").map(text).collect();
    list(metadata, "packages")
        .filter(|package| members.contains(text(&package["id"])))
        .map(|package| Crate {
            name: text(&package["name"]).to_owned(),
            dependencies: list(package, "dependencies")
                .map(|dependency| Dependency {
                    name: text(&dependency["name"]).to_owned(),
                    dev: dependency["kind"] == "dev",
                })
                .collect(),
            binaries: list(package, "targets")
                .filter(|target| list(target, "kind").any(|kind| kind == "bin"))
                .map(|target| text(&target["name"]).to_owned())
                .collect(),
        })
        .collect()
}

fn tree(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let names: BTreeMap<&str, &str> = list(metadata, "packages")
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    let mut tree = BTreeMap::<String, BTreeSet<String>>::new();
    for node in list(&metadata["resolve"], "nodes") {
        let Some(name) = names.get(text(&node["id"])) else {
            continue;
        };
        // Several versions of one name are one node here: stricter, and all that names can tell.
        let edges = tree.entry((*name).to_owned()).or_default();
        for dependency in list(node, "deps") {
            let dev_only = list(dependency, "dep_kinds").all(|kind| kind["kind"] == "dev");
            if let (false, Some(name)) = (dev_only, names.get(text(&dependency["pkg"]))) {
                edges.insert((*name).to_owned());
            }
        }
    }
    tree
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Reads `[[package]]` tables: cargo writes them one `key = "value"` a line.
pub(super) fn locked(lock: &str) -> Vec<Locked> {
    lock.split("[[package]]")
        .skip(1)
        .filter_map(|table| {
            let field = |key: &str| {
                table.lines().find_map(|line| {
                    let value = line.strip_prefix(key)?.strip_prefix(" = \"")?;
                    value.strip_suffix('"').map(str::to_owned)
                })
            };
            Some(Locked {
                name: field("name")?,
                source: field("source"),
            })
        })
        .collect()
}

fn cargo_tree(root: &Path) -> anyhow::Result<String> {
    let output = cargo()
        .current_dir(root)
        .args([
            "tree",
            "--workspace",
            "--locked",
            "--edges",
            "no-dev",
            "--prefix",
            "none",
        ])
        .output()
        .context("cannot start cargo tree")?;
    ensure!(
        output.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Reads lines like `syn v2.0.1 (proc-macro) (*)`.
fn built(tree: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut built = BTreeMap::<String, BTreeSet<String>>::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            let version = version.trim_start_matches('v').to_owned();
            built.entry(name.to_owned()).or_default().insert(version);
        }
    }
    built
}

fn files(root: &Path) -> anyhow::Result<Vec<File>> {
    let mut paths = match tracked(root) {
        Some(paths) => paths,
        None => walk(root)?,
    };
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let whole = root.join(&path);
        // Git lists what was deleted but not yet committed, and links.
        let Ok(meta) = fs::symlink_metadata(&whole) else {
            continue;
        };
        if !meta.is_file() || meta.len() > MAX_TEXT_BYTES {
            continue;
        }
        if let Ok(text) = String::from_utf8(fs::read(&whole)?) {
            files.push(File {
                path: path.replace('\\', "/"),
                text,
            });
        }
    }
    Ok(files)
}

/// What git tracks or would track. None where there is no repository that it will read.
fn tracked(root: &Path) -> Option<Vec<String>> {
    if !root.join(".git").exists() {
        return None;
    }
    let output = Command::new("git")
        .current_dir(root)
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let names = String::from_utf8_lossy(&output.stdout);
    Some(
        names
            .split('\0')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
    )
}

fn walk(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut left: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                if entry.file_name() != ".git" && entry.file_name() != "target" {
                    left.push(path);
                }
            } else if let Some(path) = path.strip_prefix(root)?.to_str() {
                found.push(path.to_owned());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
