//! Reading single variables. What they mean together is decided in `settings`.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use super::decnet::Installation;

/// Where variables come from: the process in production, a map in tests.
pub(crate) trait Lookup: Send + Sync {
    /// The variable's value, if it is set.
    fn var(&self, name: &str) -> Option<OsString>;

    /// The file that says so, where it is not the process's environment.
    fn source(&self, _name: &str) -> Option<PathBuf> {
        None
    }

    /// The DECNET of this machine.
    fn decnet(&self) -> Option<&Installation> {
        None
    }

    /// Every variable that comes from a file, and the file.
    fn borrowed(&self) -> Vec<(String, PathBuf)> {
        Vec::new()
    }
}

/// The environment of this process.
pub(crate) struct ProcessEnv;

impl Lookup for ProcessEnv {
    fn var(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }
}

/// An environment with nothing in it.
pub(crate) struct Nothing;

impl Lookup for Nothing {
    fn var(&self, _: &str) -> Option<OsString> {
        None
    }
}

#[cfg(test)]
impl<const N: usize> Lookup for [(&'static str, &str); N] {
    fn var(&self, name: &str) -> Option<OsString> {
        self.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.into())
    }
}

/// Why a setting cannot be used: which one, its value, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingError {
    /// A value outside what the setting takes.
    #[error("{name}={value:?} is not {expected}; {remedy}")]
    Invalid {
        name: String,
        value: String,
        expected: String,
        remedy: String,
    },
    /// A secret that is wrong; its value is never shown.
    #[error("{name} {problem}; {remedy}")]
    Secret {
        name: String,
        problem: String,
        remedy: String,
    },
    /// The environment holds bytes that are no text.
    #[error("{0} is not valid UTF-8; set it to plain text")]
    NotUtf8(String),
    /// Both forms of a secret are set, and nobody can say which one counts.
    #[error("{0} and {0}_FILE are both set; unset one of them")]
    Twice(String),
    /// The file of a `_FILE` variable.
    #[error(
        "{name}={path:?} cannot be read ({source}); point it at a file that this user can read, or unset it"
    )]
    File {
        name: String,
        path: PathBuf,
        source: io::Error,
    },
    /// A directory that should hold the data.
    #[error(
        "data directory {path:?} cannot be written; set DECNET_DATA_DIR (or --data-dir) to a directory that this user owns"
    )]
    DataDir { path: PathBuf, source: io::Error },
    /// A database file that somebody named and that is not there.
    #[error(
        "{name} names the database file {path:?}, which is not there; correct it, or make a new database with --create"
    )]
    NoDatabaseFile { name: String, path: PathBuf },
    /// A machine with a DECNET, whose bus or database cannot be found.
    #[error("a DECNET is here ({evidence}) and nothing says where its {what} is; {remedy}")]
    NoWay {
        what: &'static str,
        evidence: String,
        remedy: String,
    },
    /// Nowhere to put the data.
    #[error(
        "there is no place for data: /var/lib/decnet cannot be written and neither XDG_DATA_HOME nor HOME is set; set DECNET_DATA_DIR"
    )]
    NoDataDir,
}

/// Reads variables and turns what is wrong with them into [`SettingError`]s.
#[derive(Clone, Copy)]
pub(crate) struct Env<'a>(pub(crate) &'a dyn Lookup);

impl Env<'_> {
    /// A variable's text. Set but empty counts as not set, as container tools make them.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, SettingError> {
        match self.0.var(name) {
            None => Ok(None),
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => value
                .into_string()
                .map(Some)
                .map_err(|_| SettingError::NotUtf8(name.into())),
        }
    }

    /// A path, which need not be UTF-8.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.0
            .var(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    }

    /// A variable that `parse` understands.
    pub(crate) fn parsed<T>(
        &self,
        name: &str,
        expected: &str,
        remedy: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingError> {
        self.text(name)?
            .map(|value| parse_setting(&self.label(name), &value, expected, remedy, parse))
            .transpose()
    }

    /// A variable's name, with the file that sets it where that is not the environment.
    pub(crate) fn label(&self, name: &str) -> String {
        match self.0.source(name) {
            Some(path) => format!("{name} in {}", path.display()),
            None => name.to_owned(),
        }
    }

    /// A variable that DECNET reads, too, and as it reads it: true only as `true`, in any case.
    pub(crate) fn decnet_flag(&self, name: &str) -> Result<Option<bool>, SettingError> {
        let value = self.text(name)?;
        if let Some(value) = &value
            && !["true", "false"]
                .iter()
                .any(|it| value.eq_ignore_ascii_case(it))
        {
            tracing::warn!(
                "{}={value:?} counts as false, as it does for DECNET; write `true` or `false`",
                self.label(name)
            );
        }
        Ok(value.map(|value| value.eq_ignore_ascii_case("true")))
    }

    /// `true` or `false` (also 1/0, yes/no, on/off).
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, SettingError> {
        self.parsed(
            name,
            "true or false",
            "set it to `true` or `false`, or unset it",
            |value| match value.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Some(true),
                "false" | "0" | "no" | "off" => Some(false),
                _ => None,
            },
        )
    }

    /// A secret: the variable itself, or the file that `<name>_FILE` points at, without the line
    /// break at its end.
    pub(crate) fn secret(&self, name: &str) -> Result<Option<String>, SettingError> {
        let file_name = format!("{name}_FILE");
        match (self.text(name)?, self.path(&file_name)) {
            (Some(_), Some(_)) => Err(SettingError::Twice(name.into())),
            (Some(value), None) => Ok(Some(value)),
            (None, Some(path)) => read_secret(&file_name, &path).map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// Parses a value that came from a variable or a flag called `name`.
pub(crate) fn parse_setting<T>(
    name: &str,
    value: &str,
    expected: &str,
    remedy: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, SettingError> {
    parse(value).ok_or_else(|| SettingError::Invalid {
        name: name.into(),
        value: value.into(),
        expected: expected.into(),
        remedy: remedy.into(),
    })
}

fn read_secret(name: &str, path: &Path) -> Result<String, SettingError> {
    let text = fs::read_to_string(path).map_err(|source| SettingError::File {
        name: name.into(),
        path: path.into(),
        source,
    })?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(SettingError::Secret {
            name: format!("{name}={}", path.display()),
            problem: "is an empty file".into(),
            remedy: "write the secret into it, or unset the variable".into(),
        });
    }
    Ok(text.to_owned())
}
