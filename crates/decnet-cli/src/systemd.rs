//! Unit files as systemd reads them, as far as it takes to know what DECNET installed: which command
//! a unit runs, as whom, with which files of variables. Nothing here asks systemd itself.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// First line of everything that `decnet init` writes, by which it is known again.
pub(crate) const MARKER: &str =
    "# Written by `decnet init`, which replaces it; put changes into a drop-in (systemctl edit).";

/// Where administrators and installers have their units.
const INSTALLED: &str = "etc/systemd/system";
/// Where units of packages are; one of the same name in /etc would hide it.
const PACKAGED: [&str; 3] = [
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

/// The directories that units are found in, the first that has one counts.
#[derive(Debug)]
pub(crate) struct Folders {
    /// Where units are written.
    pub(crate) units: PathBuf,
    /// Where others may have theirs.
    pub(crate) packaged: Vec<PathBuf>,
}

impl Folders {
    /// Below a root directory, or a unit directory itself.
    pub(crate) fn below(root: &Path) -> Self {
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

    /// The unit of this name as its maker has it: what `decnet init` wrote is left out, as a unit and
    /// as a drop-in.
    pub(crate) fn foreign(&self, name: &str) -> anyhow::Result<Option<UnitFile>> {
        let folders = || [&self.units].into_iter().chain(&self.packaged);
        let mut found = None;
        for folder in folders() {
            if let Some(text) = read(&folder.join(name))? {
                found = Some(text);
                break;
            }
        }
        let Some(text) = found.filter(|text| !text.starts_with(MARKER)) else {
            return Ok(None);
        };
        let mut unit = UnitFile::default();
        unit.add(&text);
        let mut drop_ins = Vec::new();
        for folder in folders() {
            let entries = fs::read_dir(folder.join(format!("{name}.d")));
            drop_ins.extend(entries.into_iter().flatten().flatten().map(|it| it.path()));
        }
        drop_ins.retain(|path| path.extension().is_some_and(|it| it == "conf"));
        // In the order of their names, whichever folder they are in.
        drop_ins.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
        for path in drop_ins {
            if let Some(text) = read(&path)?.filter(|text| !text.starts_with(MARKER)) {
                unit.add(&text);
            }
        }
        Ok(Some(unit))
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

fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// What a unit and its drop-ins say, in their order.
#[derive(Debug, Default)]
pub(crate) struct UnitFile {
    /// Of the section `[Service]`, which is all that is asked for.
    service: Vec<(String, String)>,
}

impl UnitFile {
    #[cfg(test)]
    pub(crate) fn parse(text: &str) -> Self {
        let mut unit = Self::default();
        unit.add(text);
        unit
    }

    /// What a further file says.
    fn add(&mut self, text: &str) {
        let mut section = String::new();
        for line in logical_lines(text) {
            if let Some(name) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
                section = name.to_owned();
            } else if section == "Service"
                && let Some((key, value)) = line.split_once('=')
            {
                self.service
                    .push((key.trim_end().to_owned(), value.trim_start().to_owned()));
            }
        }
    }

    /// Every value of a directive that may be repeated; an empty one takes back those before it.
    pub(crate) fn values(&self, key: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for (_, value) in self.service.iter().filter(|(found, _)| found == key) {
            if value.is_empty() {
                values.clear();
            } else {
                values.push(value.as_str());
            }
        }
        values
    }

    /// The value of a directive of which the last counts.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.values(key).pop()
    }

    /// The command it runs: its program and arguments. Empty when it runs none.
    pub(crate) fn command(&self) -> Vec<String> {
        let mut command = self.value("ExecStart").map(words).unwrap_or_default();
        if let Some(program) = command.first_mut() {
            // Prefixes such as `-` and `!` change how it is run, not what.
            *program = program.trim_start_matches(['-', '@', ':', '+', '!']).into();
        }
        command
    }

    /// Whether its command has this word as its first argument, i.e. runs that command of a program.
    pub(crate) fn runs(&self, subcommand: &str) -> bool {
        self.command().get(1).is_some_and(|word| word == subcommand)
    }

    /// What it sets a variable to; the last assignment counts.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.values("Environment")
            .into_iter()
            .flat_map(words)
            .filter_map(|word| {
                let (found, value) = word.split_once('=')?;
                (found == name).then(|| value.to_owned())
            })
            .next_back()
    }

    /// Its files of variables, in their order, whether or not they have to exist.
    pub(crate) fn environment_files(&self) -> Vec<PathBuf> {
        self.values("EnvironmentFile")
            .into_iter()
            .map(|path| path.trim_start_matches('-'))
            .filter_map(plain_path)
            .collect()
    }

    /// The directory it runs in.
    pub(crate) fn directory(&self) -> Option<PathBuf> {
        let path = self.value("WorkingDirectory")?;
        plain_path(path.trim_start_matches('-'))
    }
}

/// An absolute path without anything in it that systemd would expand and we cannot.
pub(crate) fn plain_path(text: &str) -> Option<PathBuf> {
    let is_plain = text.starts_with('/') && !text.contains(['%', '$', '\\']);
    is_plain.then(|| text.into())
}

/// Lines with their continuations joined, without comments; a comment may stand between the parts of
/// a continued line (systemd.syntax(7)).
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut begun: Option<String> = None;
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            continue;
        }
        let (part, goes_on) = match line.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        let whole = match begun.take() {
            Some(before) => format!("{before} {part}"),
            None => part.to_owned(),
        };
        if goes_on {
            begun = Some(whole);
        } else {
            lines.push(whole);
        }
    }
    lines.extend(begun);
    lines.iter().map(|line| line.trim().to_owned()).collect()
}

/// The words of a value: parted by blanks, of which quotes keep some.
pub(crate) fn words(value: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in value.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continued_lines_are_one_and_comments_are_none() {
        let unit = UnitFile::parse(
            "[Service]\nExecStart=/venv/bin/decnet bus \\\n# in between\n    --socket /run/d/bus.sock \\\n    --group decnet\n",
        );
        assert_eq!(
            unit.command(),
            [
                "/venv/bin/decnet",
                "bus",
                "--socket",
                "/run/d/bus.sock",
                "--group",
                "decnet"
            ]
        );
        assert!(unit.runs("bus") && !unit.runs("api"));
    }

    #[test]
    fn later_values_count_and_empty_ones_take_back() {
        let unit = UnitFile::parse(
            "[Unit]\nUser=nobody\n[Service]\nUser=a\nUser = b\nExecStart=/old\nExecStart=\nExecStart=-/new web\n\
             Environment=A=1 \"B=two words\"\nEnvironment=A=3\nEnvironmentFile=-/opt/decnet/.env.local\nEnvironmentFile=/x/%i\n",
        );
        assert_eq!(unit.value("User"), Some("b"));
        assert_eq!(unit.command(), ["/new", "web"]);
        assert_eq!(unit.variable("A").as_deref(), Some("3"));
        assert_eq!(unit.variable("B").as_deref(), Some("two words"));
        assert_eq!(
            unit.environment_files(),
            [Path::new("/opt/decnet/.env.local")]
        );
    }

    #[test]
    fn drop_ins_of_others_count_and_those_of_init_do_not() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(INSTALLED);
        let drop_ins = folder.join("x.service.d");
        fs::create_dir_all(&drop_ins).unwrap();
        fs::write(folder.join("x.service"), "[Service]\nUser=a\nGroup=a\n").unwrap();
        fs::write(drop_ins.join("10.conf"), "[Service]\nUser=b\n").unwrap();
        let ours = format!("{MARKER}\n[Service]\nGroup=c\n");
        fs::write(drop_ins.join("50.conf"), ours).unwrap();
        let folders = Folders::below(root.path());
        let unit = folders.foreign("x.service").unwrap().unwrap();
        assert_eq!(unit.value("User"), Some("b"));
        assert_eq!(unit.value("Group"), Some("a"));
        fs::write(folder.join("x.service"), MARKER).unwrap();
        assert!(folders.foreign("x.service").unwrap().is_none());
    }
}
