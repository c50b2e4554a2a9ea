//! What says that a directory is a backup, and a whole one: it is written last.

use std::{fs, io, path::Path};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

pub(super) const NAME: &str = "backup.json";
pub(super) const JOURNAL: &str = "journal.db";
pub(super) const DATABASE: &str = "decnet.db";
pub(super) const KEY: &str = "jwt.secret";

/// The layout below. A higher one is refused.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    /// Of the program that made it.
    version: String,
    files: Vec<String>,
}

impl Manifest {
    pub(super) fn of(files: Vec<String>) -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            files,
        }
    }

    pub(super) fn text(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// Reads that of a backup.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
                "{} is no backup, or not a whole one: it has no {NAME}",
                folder.display()
            ),
            Err(error) => {
                return Err(error).with_context(|| format!("reading {}", path.display()));
            }
        };
        let manifest: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is not what `decnet backup` wrote", path.display()))?;
        if manifest.format > FORMAT {
            bail!(
                "{} was made by decnet {}, which this version does not understand; restore with that one",
                folder.display(),
                manifest.version
            );
        }
        Ok(manifest)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.files.iter().any(|file| file == name)
    }
}
