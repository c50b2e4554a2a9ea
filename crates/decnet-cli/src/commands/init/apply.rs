//! Doing what was planned, and showing it.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use anyhow::Context;
use similar::TextDiff;

use super::plan::{Action, Removed, Step};

impl Step {
    /// Whether it does anything.
    pub(super) fn changes(&self) -> bool {
        !matches!(self.action, Action::Current | Action::Keep(_))
    }

    /// Does it.
    pub(super) fn apply(&self) -> anyhow::Result<()> {
        let done = match &self.action {
            Action::Write(text) => self.write(text, false),
            Action::Update { new, .. } => self.write(new, true),
            Action::Link(to) => self.folder().and_then(|_| symlink(to, &self.path)),
            Action::Remove(Removed::Folder) => fs::remove_dir(&self.path),
            Action::Remove(Removed::File(_) | Removed::Link) => fs::remove_file(&self.path),
            Action::Current | Action::Keep(_) => Ok(()),
        };
        done.with_context(|| {
            format!(
                "changing {}; run this as root, or give another --root",
                self.path.display()
            )
        })
    }

    /// What it does to a file's text, as a unified diff.
    pub(super) fn diff(&self) -> Option<String> {
        let (old, new) = match &self.action {
            Action::Write(new) => ("", new.as_str()),
            Action::Update { old, new } => (old.as_str(), new.as_str()),
            Action::Remove(Removed::File(old)) => (old.as_str(), ""),
            _ => return None,
        };
        let path = self.path.display().to_string();
        let name = |text: &str| {
            if text.is_empty() {
                "/dev/null".to_owned()
            } else {
                path.clone()
            }
        };
        let diff = TextDiff::from_lines(old, new);
        Some(
            diff.unified_diff()
                .header(&name(old), &name(new))
                .to_string(),
        )
    }

    /// In one step, so that systemd never reads half a unit; a new one never over a file that
    /// came meanwhile.
    fn write(&self, text: &str, replace: bool) -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".decnet-")
            .permissions(fs::Permissions::from_mode(0o644))
            .tempfile_in(self.folder()?)?;
        file.write_all(text.as_bytes())?;
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        let written = if replace {
            file.persist(&self.path)
        } else {
            file.persist_noclobber(&self.path)
        };
        written.map(drop).map_err(|failed| failed.error)
    }

    fn folder(&self) -> io::Result<&Path> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder)?;
        Ok(folder)
    }
}
