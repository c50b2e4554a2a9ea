//! What to do with each unit, decided before anything is touched.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::units::{MARKER, Unit};

/// Where units of packages are; one of the same name in /etc would hide it.
const PACKAGED: [&str; 3] = [
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];
const INSTALLED: &str = "etc/systemd/system";

/// The directories that matter.
pub(super) struct Place {
    /// Where units are written.
    units: PathBuf,
    /// Where others may have theirs.
    packaged: Vec<PathBuf>,
}

/// One file and what becomes of it.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) path: PathBuf,
    pub(super) action: Action,
}

#[derive(Debug)]
pub(super) enum Action {
    /// It is new.
    Write(String),
    /// It is ours, of another version or with other values.
    Update(String),
    /// A link to this.
    Link(PathBuf),
    /// It is as it should be.
    Current,
    /// It is somebody else's.
    Keep(String),
}

impl Place {
    /// Below a root directory, or a unit directory itself.
    pub(super) fn below(root: &Path) -> Self {
        if root.ends_with("systemd/system") || holds_units(root) {
            return Self {
                units: root.into(),
                packaged: Vec::new(),
            };
        }
        Self {
            units: root.join(INSTALLED),
            packaged: PACKAGED.iter().map(|folder| root.join(folder)).collect(),
        }
    }
}

impl Place {
    /// What the unit of this name says, drop-ins aside, wherever systemd would find it.
    pub(super) fn unit(&self, name: &str) -> anyhow::Result<Option<String>> {
        for folder in [&self.units].into_iter().chain(&self.packaged) {
            let path = folder.join(name);
            match fs::read_to_string(&path) {
                Ok(text) => return Ok(Some(text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("reading {}", path.display()));
                }
            }
        }
        Ok(None)
    }
}

/// Whether units of this name are in it, which no root directory has.
fn holds_units(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name == "decnet.target" || name.starts_with("decnet-") && name.ends_with(".service")
        })
    })
}

/// A step a unit, and a link for each of our services that a foreign target does not know of.
pub(super) fn plan(place: &Place, units: &[Unit]) -> anyhow::Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut foreign_targets = Vec::new();
    for unit in units {
        let step = for_unit(place, unit)?;
        let is_foreign = matches!(step.action, Action::Keep(_));
        steps.push(step);
        if unit.is_target() {
            if is_foreign {
                foreign_targets.push(&unit.name);
            }
        } else if !is_foreign {
            for target in &foreign_targets {
                steps.push(for_link(place, target, unit)?);
            }
        }
    }
    Ok(steps)
}

fn for_unit(place: &Place, unit: &Unit) -> anyhow::Result<Step> {
    let path = place.units.join(&unit.name);
    let action = match found(&path)? {
        Found::Nothing => match packaged(place, &unit.name)? {
            None => Action::Write(unit.text.clone()),
            Some(other) => Action::Keep(format!(
                "{} is not from decnet init, and one here would hide it",
                other.display()
            )),
        },
        Found::File(text) if text == unit.text => Action::Current,
        Found::File(text) if text.starts_with(MARKER) => Action::Update(unit.text.clone()),
        Found::File(_) => Action::Keep("it is not from decnet init".into()),
        Found::Link(to) => Action::Keep(format!("it is a link to {}", to.display())),
        Found::Other => Action::Keep("it is no file".into()),
    };
    Ok(Step { path, action })
}

fn for_link(place: &Place, target: &str, unit: &Unit) -> anyhow::Result<Step> {
    let path = place.units.join(format!("{target}.wants")).join(&unit.name);
    let to = Path::new("..").join(&unit.name);
    let action = match found(&path)? {
        Found::Nothing => Action::Link(to),
        // `systemctl enable` writes the absolute form.
        Found::Link(found) if found == to || found.ends_with(&unit.name) => Action::Current,
        Found::Link(_) | Found::File(_) | Found::Other => {
            Action::Keep("it is not from decnet init".into())
        }
    };
    Ok(Step { path, action })
}

enum Found {
    Nothing,
    File(String),
    Link(PathBuf),
    Other,
}

/// What stands at a path. Links are not followed: behind them is somebody else's file.
fn found(path: &Path) -> anyhow::Result<Found> {
    let reading = || format!("reading {}", path.display());
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error).with_context(reading),
    };
    if metadata.is_symlink() {
        return Ok(Found::Link(fs::read_link(path).with_context(reading)?));
    }
    if !metadata.is_file() {
        return Ok(Found::Other);
    }
    let bytes = fs::read(path).with_context(reading)?;
    Ok(Found::File(String::from_utf8_lossy(&bytes).into_owned()))
}

fn packaged(place: &Place, name: &str) -> anyhow::Result<Option<PathBuf>> {
    for folder in &place.packaged {
        let path = folder.join(name);
        match found(&path)? {
            Found::Nothing => {}
            Found::File(text) if text.starts_with(MARKER) => {}
            _ => return Ok(Some(path)),
        }
    }
    Ok(None)
}

impl Step {
    /// Whether it does anything.
    pub(super) fn changes(&self) -> bool {
        !matches!(self.action, Action::Current | Action::Keep(_))
    }

    /// Does it.
    pub(super) fn apply(&self) -> anyhow::Result<()> {
        let done = match &self.action {
            Action::Write(text) => self.write(text, false),
            Action::Update(text) => self.write(text, true),
            Action::Link(to) => self.folder().and_then(|_| symlink(to, &self.path)),
            Action::Current | Action::Keep(_) => Ok(()),
        };
        done.with_context(|| {
            format!(
                "writing {}; run this as root, or give another --root",
                self.path.display()
            )
        })
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
