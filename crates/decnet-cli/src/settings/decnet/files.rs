//! DECNET's two files of settings: `decnet.ini`, and the file of variables that its units read.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use configparser::ini::Ini;

/// Which variable a key of `decnet.ini` gives its default to, by section. Others are for roles and
/// programs that are not here.
const KEYS: &[(&str, &str, &str)] = &[
    ("decnet", "mode", "DECNET_MODE"),
    ("decnet", "disallow-master", "DECNET_DISALLOW_MASTER"),
    ("api", "host", "DECNET_API_HOST"),
    ("api", "port", "DECNET_API_PORT"),
    ("web", "host", "DECNET_WEB_HOST"),
    ("web", "port", "DECNET_WEB_PORT"),
    ("web", "cors-origins", "DECNET_CORS_ORIGINS"),
    ("database", "type", "DECNET_DB_TYPE"),
    ("database", "url", "DECNET_DB_URL"),
    ("database", "host", "DECNET_DB_HOST"),
    ("database", "port", "DECNET_DB_PORT"),
    ("database", "name", "DECNET_DB_NAME"),
    ("database", "user", "DECNET_DB_USER"),
    ("bus", "enabled", "DECNET_BUS_ENABLED"),
    ("bus", "type", "DECNET_BUS_TYPE"),
    ("bus", "socket", "DECNET_BUS_SOCKET"),
    ("bus", "group", "DECNET_BUS_GROUP"),
    ("logging", "system-log", "DECNET_SYSTEM_LOGS"),
];
/// Variables of other programs are nobody's business here.
const OURS: &str = "DECNET_";

/// A file and the variables that it sets.
#[derive(Debug)]
pub(super) struct Variables {
    pub(super) path: PathBuf,
    values: BTreeMap<String, String>,
}

impl Variables {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }
}

/// `decnet.ini`, if it is there; else why it cannot be used.
pub(super) fn ini(path: &Path) -> Result<Option<Variables>, String> {
    let Some(text) = read(path)? else {
        return Ok(None);
    };
    let values = ini_values(&text)
        .map_err(|error| format!("{} is not understood and not used: {error}", path.display()))?;
    Ok(Some(Variables {
        path: path.into(),
        values,
    }))
}

/// A file of variables, if it is there and may be read.
pub(super) fn environment(path: &Path) -> Result<Option<Variables>, String> {
    Ok(read(path)?.map(|text| Variables {
        path: path.into(),
        values: environment_values(&text),
    }))
}

fn read(path: &Path) -> Result<Option<String>, String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!(
            "{} cannot be read ({error}), so that what it sets does not count here",
            path.display()
        )),
    }
}

fn ini_values(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut defaults = Ini::new().defaults();
    // As the configparser of Python has it: a `#` in a password is part of it.
    defaults.enable_inline_comments = false;
    defaults.multiline = true;
    let mut ini = Ini::new_from_defaults(defaults);
    ini.read(text.to_owned())?;
    Ok(KEYS
        .iter()
        .filter_map(|(section, key, name)| {
            let value = ini.get(section, key)?;
            Some(((*name).to_owned(), value.trim().to_owned()))
        })
        .filter(|(_, value)| !value.is_empty())
        .collect())
}

/// `NAME=value` a line, the value perhaps in quotes (systemd.exec(5), EnvironmentFile=).
fn environment_values(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with(['#', ';']))
        .filter_map(|line| line.strip_prefix("export ").unwrap_or(line).split_once('='))
        .map(|(name, value)| (name.trim(), unquoted(value.trim())))
        .filter(|(name, value)| name.starts_with(OURS) && !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn unquoted(value: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_ini_become_variables() {
        let text = "# DECNET\n[decnet]\nmode = master\n[database]\ntype: mysql\n\
                    url = mysql+asyncmy://u:p#1@db/decnet ; kept\n[web]\nPort = 8080\n[agent]\nhost = x\n[bus]\nsocket =\n";
        let values = ini_values(text).unwrap();
        let shown: Vec<String> = values.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            shown,
            [
                "DECNET_DB_TYPE=mysql",
                "DECNET_DB_URL=mysql+asyncmy://u:p#1@db/decnet ; kept",
                "DECNET_MODE=master",
                "DECNET_WEB_PORT=8080",
            ]
        );
    }

    #[test]
    fn files_of_variables_are_read_as_systemd_reads_them() {
        let text = "# secrets\nDECNET_JWT_SECRET=\"a b=c\"\nexport DECNET_DB_PASSWORD='p$w'\nPATH=/x\n\
                    ;DECNET_API_PORT=1\nDECNET_API_HOST=\nnonsense\n";
        let values = environment_values(text);
        let shown: Vec<String> = values.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(shown, ["DECNET_DB_PASSWORD=p$w", "DECNET_JWT_SECRET=a b=c"]);
    }
}
