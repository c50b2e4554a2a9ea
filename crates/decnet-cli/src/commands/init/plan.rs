//! What to do with each file, decided before anything is touched.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{
    master::{self, Master},
    units::{self, Unit, Values},
};
use crate::systemd::{Folders, MARKER};

/// Where shells find programs that administrators installed.
const COMMANDS: &str = "usr/local/bin";
/// This program there, beside an installed DECNET, whose own program is `decnet`.
const COMMAND: &str = "decnet-webhook";

/// The directories that matter.
pub(super) struct Place {
    /// What the system's own paths are below.
    pub(super) root: PathBuf,
    pub(super) folders: Folders,
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
    Update { old: String, new: String },
    /// A link to this.
    Link(PathBuf),
    /// It is ours, and nothing wants it.
    Remove(Removed),
    /// It is as it should be.
    Current,
    /// It is somebody else's.
    Keep(String),
}

/// What is taken away.
#[derive(Debug)]
pub(super) enum Removed {
    File(String),
    Link,
    /// A directory in which nothing else is.
    Folder,
}

impl Step {
    /// The program that a unit runs which is taken away.
    fn removed_program(&self) -> Option<PathBuf> {
        let Action::Remove(Removed::File(text)) = &self.action else {
            return None;
        };
        let command = text
            .lines()
            .filter_map(|line| line.strip_prefix("ExecStart="))
            .find(|command| !command.is_empty())?;
        command.split_whitespace().next().map(PathBuf::from)
    }

    /// Whether somebody else's file stands where a drop-in of ours would.
    pub(super) fn is_kept_drop_in(&self) -> bool {
        let folder = self.path.parent().and_then(Path::extension);
        matches!(self.action, Action::Keep(_)) && folder.is_some_and(|it| it == "d")
    }
}

impl Place {
    /// Below a root directory, or a unit directory itself.
    pub(super) fn below(root: &Path) -> Self {
        Self {
            root: root.into(),
            folders: Folders::below(root),
        }
    }

    /// A path below the root as those see it for whom the root is `/`.
    pub(super) fn inside(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.root) {
            Ok(rest) => Path::new("/").join(rest),
            Err(_) => path.into(),
        }
    }

    /// The name of this program on the PATH; none where only a unit directory was named.
    fn command(&self) -> Option<PathBuf> {
        let is_root = self.folders.units != self.root;
        is_root.then(|| self.root.join(COMMANDS).join(COMMAND))
    }

    fn unit(&self, name: &str) -> PathBuf {
        self.folders.units.join(name)
    }

    fn wanted_by(&self, target: &str, name: &str) -> PathBuf {
        self.unit(&format!("{target}.wants")).join(name)
    }
}

/// Installs: a step a unit, a link for each of our services that a foreign target does not know of,
/// drop-ins for DECNET's worker, and this program's name on the PATH beside DECNET's.
pub(super) fn install(place: &Place, values: &Values) -> anyhow::Result<Vec<Step>> {
    let units = units::rendered(values)?;
    let mut steps = Vec::new();
    let mut foreign_targets = Vec::new();
    for unit in &units {
        let name = match &values.master {
            Some(master) => name_beside(place, master, unit, values, &mut steps)?,
            None => Some(unit.name.as_str()),
        };
        let Some(name) = name else { continue };
        let step = for_unit(place, name, &unit.text)?;
        let is_foreign = matches!(step.action, Action::Keep(_));
        steps.push(step);
        if unit.is_target() {
            if is_foreign {
                foreign_targets.push(&unit.name);
            }
        } else if !is_foreign {
            for target in &foreign_targets {
                let path = place.wanted_by(target, name);
                steps.push(for_link(path, Path::new("..").join(name), name)?);
            }
        }
    }
    if values.master.is_some()
        && let Some(path) = place.command()
        && place.inside(&path) != Path::new(&values.program)
    {
        steps.push(for_link(
            path,
            values.program.clone().into(),
            &values.program,
        )?);
    }
    // What an earlier installation left that this one does without.
    let stale = uninstall(place, values)?;
    let planned: Vec<PathBuf> = steps.iter().map(|step| step.path.clone()).collect();
    let is_planned = |path: &Path| planned.iter().any(|planned| planned.starts_with(path));
    steps.extend(stale.into_iter().filter(|step| !is_planned(&step.path)));
    Ok(steps)
}

/// The name of our unit beside DECNET's; none where a drop-in changes DECNET's own.
fn name_beside<'a>(
    place: &Place,
    master: &Master,
    unit: &'a Unit,
    values: &Values,
    steps: &mut Vec<Step>,
) -> anyhow::Result<Option<&'a str>> {
    let name = master.name_of(&unit.name);
    if name != Some(unit.name.as_str()) {
        let why = match name {
            Some(name) => format!("it is DECNET's; ours is {name}"),
            None => "it is DECNET's; a drop-in has it run this program".into(),
        };
        let path = place.unit(&unit.name);
        let action = Action::Keep(why);
        steps.push(Step { path, action });
    }
    if name.is_none() {
        for drop_in in units::drop_ins(&unit.name, values)? {
            steps.push(for_file(place.unit(&drop_in.name), &drop_in.text)?);
        }
    }
    Ok(name)
}

/// Takes back everything that [`install`] can have written.
pub(super) fn uninstall(place: &Place, values: &Values) -> anyhow::Result<Vec<Step>> {
    let units = units::rendered(values)?;
    let mut steps = Vec::new();
    for unit in &units {
        for name in master::names(&unit.name) {
            steps.extend(without_file(place.unit(name))?);
        }
        let before = steps.len();
        for drop_in in units::drop_ins(&unit.name, values)? {
            steps.extend(without_file(place.unit(&drop_in.name))?);
        }
        let folder = place.unit(&format!("{}.d", unit.name));
        without_folder(folder, before, &mut steps)?;
    }
    for target in units.iter().filter(|unit| unit.is_target()) {
        let before = steps.len();
        for name in units.iter().flat_map(|unit| master::names(&unit.name)) {
            let path = place.wanted_by(&target.name, name);
            steps.extend(without_link(path, &Path::new("..").join(name))?);
        }
        let folder = place.unit(&format!("{}.wants", target.name));
        without_folder(folder, before, &mut steps)?;
    }
    if let Some(path) = place.command() {
        // What was installed may run from elsewhere than this program.
        let mut programs: Vec<PathBuf> = steps.iter().filter_map(Step::removed_program).collect();
        programs.push((&values.program).into());
        for program in programs {
            let step = without_link(path.clone(), &program)?;
            let is_new = step.is_some() && steps.iter().all(|step| step.path != path);
            steps.extend(step.filter(|_| is_new));
        }
    }
    Ok(steps)
}

fn for_unit(place: &Place, name: &str, text: &str) -> anyhow::Result<Step> {
    let step = for_file(place.unit(name), text)?;
    if matches!(step.action, Action::Write(_))
        && let Some(other) = packaged(place, name)?
    {
        let why = format!(
            "{} is not from decnet init, and one here would hide it",
            other.display()
        );
        let action = Action::Keep(why);
        return Ok(Step { action, ..step });
    }
    Ok(step)
}

fn for_file(path: PathBuf, text: &str) -> anyhow::Result<Step> {
    let new = text.to_owned();
    let action = match found(&path)? {
        Found::Nothing => Action::Write(new),
        Found::File(old) if old == new => Action::Current,
        Found::File(old) if old.starts_with(MARKER) => Action::Update { old, new },
        Found::File(_) => Action::Keep("it is not from decnet init".into()),
        Found::Link(to) => Action::Keep(format!("it is a link to {}", to.display())),
        Found::Other => Action::Keep("it is no file".into()),
    };
    Ok(Step { path, action })
}

fn for_link(path: PathBuf, to: PathBuf, name: &str) -> anyhow::Result<Step> {
    let action = match found(&path)? {
        Found::Nothing => Action::Link(to),
        // `systemctl enable` writes the absolute form.
        Found::Link(found) if found == to || found.ends_with(name) => Action::Current,
        Found::Link(found) => Action::Keep(format!("it is a link to {}", found.display())),
        Found::File(_) | Found::Other => Action::Keep("it is not from decnet init".into()),
    };
    Ok(Step { path, action })
}

fn without_file(path: PathBuf) -> anyhow::Result<Option<Step>> {
    Ok(match found(&path)? {
        Found::File(text) if text.starts_with(MARKER) => Some(Step {
            path,
            action: Action::Remove(Removed::File(text)),
        }),
        _ => None,
    })
}

fn without_link(path: PathBuf, to: &Path) -> anyhow::Result<Option<Step>> {
    Ok(match found(&path)? {
        Found::Link(found) if found == to => Some(Step {
            path,
            action: Action::Remove(Removed::Link),
        }),
        _ => None,
    })
}

/// The directory goes with the last that is in it, if that is among the steps from `before` on.
fn without_folder(path: PathBuf, before: usize, steps: &mut Vec<Step>) -> anyhow::Result<()> {
    let removed = &steps[before..];
    if removed.is_empty() {
        return Ok(());
    }
    let entries = fs::read_dir(&path).with_context(|| format!("reading {}", path.display()))?;
    let others = entries
        .flatten()
        .any(|entry| removed.iter().all(|step| step.path != entry.path()));
    if !others {
        let action = Action::Remove(Removed::Folder);
        steps.push(Step { path, action });
    }
    Ok(())
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
    for folder in &place.folders.packaged {
        let path = folder.join(name);
        match found(&path)? {
            Found::Nothing => {}
            Found::File(text) if text.starts_with(MARKER) => {}
            _ => return Ok(Some(path)),
        }
    }
    Ok(None)
}
