//! The DECNET that is installed on this machine, if one is: what its own configuration says counts
//! where ours says nothing.
//!
//! It is known by its units and by its `decnet.ini`. Its files are read, never written.

mod database;
mod files;

use std::{
    collections::BTreeSet,
    ffi::OsString,
    path::{Path, PathBuf},
};

pub(crate) use self::database::found as database_url;
pub(super) use self::database::{may_be_decnets, origin as database_origin};
use self::files::Variables;
use super::env::{Lookup, ProcessEnv};
use crate::systemd::{Folders, UnitFile, plain_path};

/// Below which directory the system's files are looked for; `/` by default, another one for images.
pub(crate) const ROOT: &str = "DECNET_SYSTEM_ROOT";
/// DECNET's own settings.
const INI: &str = "/etc/decnet/decnet.ini";
/// Its install directory unless a unit names another.
const DIRECTORY: &str = "/opt/decnet";
/// Its units, in the order in which they are asked where it lives.
const UNITS: [&str; 3] = [WORKER_UNIT, API_UNIT, BROKER_UNIT];
pub(crate) const WORKER_UNIT: &str = "decnet-webhook.service";
pub(crate) const API_UNIT: &str = "decnet-api.service";
pub(crate) const BROKER_UNIT: &str = "decnet-bus.service";
/// Where its broker listens unless something says otherwise.
pub(crate) const BROKER_SOCKET: &str = "/run/decnet/bus.sock";

/// What is installed.
#[derive(Debug, Default)]
pub(crate) struct Installation {
    /// What showed that it is there, for people.
    evidence: Vec<PathBuf>,
    /// Where it lives, with its default database.
    directory: Option<PathBuf>,
    /// Where its broker listens.
    socket: Option<PathBuf>,
    /// The program that its units run.
    program: Option<PathBuf>,
    /// Its settings, the last file counts.
    files: Vec<Variables>,
    /// What could not be read or understood.
    complaints: Vec<String>,
}

impl Installation {
    /// Looks for it below a root directory.
    pub(crate) fn find(root: &Path) -> Option<Self> {
        let mut found = Self::default();
        let ini = at(root, Path::new(INI));
        found.read(files::ini(&ini));
        let folders = Folders::below(root);
        for name in UNITS {
            match folders.foreign(name) {
                Ok(Some(unit)) if !unit.command().is_empty() => found.take(root, name, &unit),
                Ok(_) => {}
                Err(error) => found.complaints.push(format!("{error:#}")),
            }
        }
        if found.evidence.is_empty() {
            return None;
        }
        let usual = at(root, Path::new(DIRECTORY));
        found.directory = found.directory.or_else(|| usual.is_dir().then_some(usual));
        Some(found)
    }

    fn take(&mut self, root: &Path, name: &str, unit: &UnitFile) {
        self.evidence.push(name.into());
        let directory = unit.directory().map(|path| at(root, &path));
        self.directory = self.directory.take().or(directory);
        let program = unit.command().first().and_then(|path| plain_path(path));
        self.program = self.program.take().or(program);
        if name == BROKER_UNIT {
            self.socket = Some(at(root, &broker_socket(unit)));
        }
        for path in unit.environment_files() {
            let path = at(root, &path);
            if self.files.iter().all(|file| file.path != path) {
                self.read(files::environment(&path));
            }
        }
    }

    fn read(&mut self, file: Result<Option<Variables>, String>) {
        match file {
            Ok(Some(file)) => {
                self.evidence.push(file.path.clone());
                self.files.push(file);
            }
            Ok(None) => {}
            Err(complaint) => self.complaints.push(complaint),
        }
    }

    /// Where its broker listens, as its unit says.
    pub(crate) fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// The program that its units run.
    pub(crate) fn program(&self) -> Option<&Path> {
        self.program.as_deref()
    }

    /// Where it lives.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// What showed that it is there.
    pub(crate) fn evidence(&self) -> String {
        let first = self.evidence.first().map(|path| path.display().to_string());
        first.unwrap_or_default()
    }

    /// What could not be read or understood.
    pub(crate) fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// A variable, and the file that sets it.
    fn variable(&self, name: &str) -> Option<(&str, &Path)> {
        let files = self.files.iter().rev();
        let mut set = files.filter_map(|file| Some((file.get(name)?, file.path.as_path())));
        set.next()
    }
}

/// What its own files say, whatever the environment does.
impl Lookup for Installation {
    fn var(&self, name: &str) -> Option<OsString> {
        self.variable(name).map(|(value, _)| value.into())
    }

    fn source(&self, name: &str) -> Option<PathBuf> {
        self.variable(name).map(|(_, path)| path.to_owned())
    }

    fn decnet(&self) -> Option<&Installation> {
        Some(self)
    }
}

/// Where a broker's unit has it listen.
pub(crate) fn broker_socket(unit: &UnitFile) -> PathBuf {
    const FLAG: &str = "--socket";
    let command = unit.command();
    let after = command
        .windows(2)
        .find(|it| it[0] == FLAG)
        .map(|it| &*it[1]);
    let joined = command
        .iter()
        .find_map(|it| it.strip_prefix(FLAG)?.strip_prefix('='));
    let variable = unit.variable("DECNET_BUS_SOCKET");
    let named = joined.or(after).or(variable.as_deref());
    named
        .and_then(plain_path)
        .unwrap_or_else(|| BROKER_SOCKET.into())
}

/// A path of the system, below `root`.
fn at(root: &Path, path: &Path) -> PathBuf {
    if path.starts_with(root) {
        return path.to_owned();
    }
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The environment of this process, and below it what DECNET's files say.
pub(crate) struct Layers {
    installation: Option<Installation>,
}

impl Layers {
    /// Of this machine.
    pub(crate) fn here() -> Self {
        let root = ProcessEnv.var(ROOT).filter(|root| !root.is_empty());
        let root = root.map_or_else(|| PathBuf::from("/"), PathBuf::from);
        Self {
            installation: Installation::find(&root),
        }
    }

    fn below(&self, name: &str) -> Option<(&str, &Path)> {
        // The other form of a secret, set above, hides this one.
        let twin = match name.strip_suffix("_FILE") {
            Some(base) => base.to_owned(),
            None => format!("{name}_FILE"),
        };
        let set = |name: &str| ProcessEnv.var(name).is_some_and(|it| !it.is_empty());
        if set(name) || set(&twin) {
            return None;
        }
        self.installation.as_ref()?.variable(name)
    }
}

impl Lookup for Layers {
    fn var(&self, name: &str) -> Option<OsString> {
        match self.below(name) {
            Some((value, _)) => Some(value.into()),
            None => ProcessEnv.var(name),
        }
    }

    fn source(&self, name: &str) -> Option<PathBuf> {
        self.below(name).map(|(_, path)| path.to_owned())
    }

    fn decnet(&self) -> Option<&Installation> {
        self.installation.as_ref()
    }

    fn borrowed(&self) -> Vec<(String, PathBuf)> {
        let files = self.installation.iter().flat_map(|it| &it.files);
        let names: BTreeSet<&str> = files.flat_map(Variables::names).collect();
        names
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), self.source(name)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_names_its_socket_in_several_ways() {
        for (unit, expected) in [
            ("ExecStart=/opt/d/bin/decnet bus", BROKER_SOCKET),
            (
                "Environment=A=1 DECNET_BUS_SOCKET=/run/x.sock",
                "/run/x.sock",
            ),
            (
                "Environment=\"DECNET_BUS_SOCKET=/run/x.sock\"",
                "/run/x.sock",
            ),
            ("ExecStart=/d bus --socket /run/y.sock -v", "/run/y.sock"),
            (
                "ExecStart=/d bus \\\n  --socket /run/y.sock \\\n  --group d",
                "/run/y.sock",
            ),
            ("ExecStart=/d bus --socket=/run/y.sock", "/run/y.sock"),
            ("ExecStart=/d bus --socket=%t/y.sock", BROKER_SOCKET),
            ("# Environment=DECNET_BUS_SOCKET=/run/x.sock", BROKER_SOCKET),
        ] {
            let parsed = UnitFile::parse(&format!("[Service]\n{unit}\n"));
            assert_eq!(broker_socket(&parsed), Path::new(expected), "{unit}");
        }
    }
}
