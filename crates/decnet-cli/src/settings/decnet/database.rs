//! Which database is DECNET's, by its own settings.

use std::path::Path;

use url::Url;
use webhook_store::DatabaseConfig;

use super::super::env::{Env, SettingError};

/// Wins over the parts.
const URL: &str = "DECNET_DB_URL";
const TYPE: &str = "DECNET_DB_TYPE";
/// Of SQLite, in its install directory.
const DEFAULT_FILE: &str = "decnet.db";
const MYSQL_PORT: u16 = 3306;
const REMEDY: &str = "set DECNET_DATABASE_URL, e.g. to sqlite:///opt/decnet/decnet.db or mysql://user:password@host/database";

/// Our form of the URL, where DECNET's settings say which one it is.
pub(crate) fn found(env: Env<'_>) -> Result<Option<String>, SettingError> {
    if let Some(url) = env.secret(URL)? {
        return ours(env, &url).map(Some);
    }
    let kind = env.text(TYPE)?;
    match kind.as_deref() {
        Some("mysql") => by_parts(env).map(Some),
        Some("sqlite") => default_file(env).map(Some),
        None if env.0.decnet().is_some() => default_file(env).map(Some),
        None => Ok(None),
        Some(other) => Err(SettingError::Invalid {
            name: env.label(TYPE),
            value: other.into(),
            expected: "a type of database that DECNET has".into(),
            remedy: "use `sqlite` or `mysql`, or set DECNET_DATABASE_URL".into(),
        }),
    }
}

/// Who says so, for people.
pub(in crate::settings) fn origin(env: Env<'_>) -> Option<String> {
    for name in [URL, TYPE] {
        let file_name = format!("{name}_FILE");
        if env.path(name).is_some() || env.path(&file_name).is_some() {
            return Some(env.label(name));
        }
    }
    let installation = env.0.decnet()?;
    Some(format!("DECNET's own, by {}", installation.evidence()))
}

/// Whether a database that our own settings name may be DECNET's: on a machine with a DECNET it may,
/// unless it is of a kind that DECNET does not use.
pub(in crate::settings) fn may_be_decnets(env: Env<'_>, config: &DatabaseConfig) -> bool {
    let kinds = ["sqlite:", "mysql:", "mariadb:"];
    env.0.decnet().is_some() && kinds.iter().any(|kind| config.url.starts_with(kind))
}

fn default_file(env: Env<'_>) -> Result<String, SettingError> {
    let directory = env.0.decnet().and_then(|decnet| decnet.directory());
    directory
        .map(|directory| sqlite(&directory.join(DEFAULT_FILE)))
        .ok_or_else(|| no_way(env))
}

fn no_way(env: Env<'_>) -> SettingError {
    SettingError::NoWay {
        what: "database",
        evidence: match env.0.decnet() {
            Some(decnet) => decnet.evidence(),
            None => env.label(TYPE),
        },
        remedy: REMEDY.into(),
    }
}

fn sqlite(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

/// A URL of SQLAlchemy's: it names a driver, and a path of SQLite with one slash more.
fn ours(env: Env<'_>, url: &str) -> Result<String, SettingError> {
    let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
    let kind = scheme.split('+').next().unwrap_or_default();
    let invalid = |expected: &str, remedy: &str| SettingError::Invalid {
        name: env.label(URL),
        value: DatabaseConfig::new(url).shown_url(),
        expected: expected.into(),
        remedy: remedy.into(),
    };
    match kind {
        "mysql" | "mariadb" if !rest.is_empty() => Ok(format!("mysql://{rest}")),
        "postgres" | "postgresql" if !rest.is_empty() => Ok(format!("postgres://{rest}")),
        "sqlite" => {
            let path = rest.split('?').next().unwrap_or_default();
            let path = path.strip_prefix('/').unwrap_or_default();
            if path.is_empty() || path == ":memory:" {
                return Err(invalid("a database that is kept", REMEDY));
            }
            let directory = env.0.decnet().and_then(|decnet| decnet.directory());
            match directory {
                _ if path.starts_with('/') => Ok(sqlite(Path::new(path))),
                Some(directory) => Ok(sqlite(&directory.join(path))),
                None => Err(invalid(
                    "an absolute path, and nothing says what it is relative to",
                    "write sqlite+aiosqlite:////the/whole/path.db with four slashes",
                )),
            }
        }
        _ => Err(invalid(
            "a database URL",
            "use `mysql+asyncmy://user:password@host/database` or `sqlite+aiosqlite:////path`",
        )),
    }
}

fn by_parts(env: Env<'_>) -> Result<String, SettingError> {
    let required = |name: &'static str| {
        env.text(name)?.ok_or_else(|| SettingError::NoWay {
            what: "database",
            evidence: format!("{}=mysql", env.label(TYPE)),
            remedy: format!("set {name}, or DECNET_DB_URL, or DECNET_DATABASE_URL"),
        })
    };
    let host = env.text("DECNET_DB_HOST")?;
    let host = match host.unwrap_or_else(|| "localhost".into()) {
        address if address.contains(':') && !address.starts_with('[') => format!("[{address}]"),
        host => host,
    };
    let port = env.parsed(
        "DECNET_DB_PORT",
        "a port number 1..65535",
        "set it to e.g. 3306, or unset it",
        |text| text.parse::<u16>().ok().filter(|&port| port > 0),
    )?;
    let user = required("DECNET_DB_USER")?;
    let name = required("DECNET_DB_NAME")?;
    let password = env.secret("DECNET_DB_PASSWORD")?;
    let bad_host = || SettingError::Invalid {
        name: env.label("DECNET_DB_HOST"),
        value: host.clone(),
        expected: "a host".into(),
        remedy: "use a name or an address, e.g. db.example or 127.0.0.1".into(),
    };
    let mut url = Url::parse("mysql://host/").map_err(|_| bad_host())?;
    url.set_host(Some(&host)).map_err(|_| bad_host())?;
    let done = url
        .set_port(Some(port.unwrap_or(MYSQL_PORT)))
        .and_then(|()| url.set_username(&user))
        .and_then(|()| url.set_password(password.as_deref()));
    done.map_err(|()| bad_host())?;
    url.path_segments_mut()
        .map_err(|()| bad_host())?
        .clear()
        .push(&name);
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlalchemys_urls_become_ours() {
        for (url, expected) in [
            (
                "mysql+asyncmy://u:p%40w@db:3307/decnet?charset=utf8mb4",
                "mysql://u:p%40w@db:3307/decnet?charset=utf8mb4",
            ),
            ("mysql://u@db/decnet", "mysql://u@db/decnet"),
            (
                "sqlite+aiosqlite:////opt/decnet/decnet.db",
                "sqlite:///opt/decnet/decnet.db",
            ),
        ] {
            let vars = [(URL, url), (TYPE, "sqlite")];
            assert_eq!(found(Env(&vars)).unwrap().as_deref(), Some(expected));
        }
        for url in [
            "sqlite:///decnet.db",
            "sqlite://",
            "oracle://u:hunter2@db/x",
        ] {
            let error = found(Env(&[(URL, url)])).unwrap_err().to_string();
            assert!(error.starts_with("DECNET_DB_URL="), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn parts_make_a_url_with_what_must_be_escaped() {
        let vars = [
            (TYPE, "mysql"),
            ("DECNET_DB_HOST", "10.0.0.5"),
            ("DECNET_DB_NAME", "decnet"),
            ("DECNET_DB_USER", "decnet"),
            ("DECNET_DB_PASSWORD", "p@ss/w:rd#"),
        ];
        assert_eq!(
            found(Env(&vars)).unwrap().as_deref(),
            Some("mysql://decnet:p%40ss%2Fw%3Ard%23@10.0.0.5:3306/decnet")
        );
        let error = found(Env(&[(TYPE, "mysql")])).unwrap_err().to_string();
        assert!(error.contains("set DECNET_DB_USER"), "{error}");
        let error = found(Env(&[(TYPE, "oracle")])).unwrap_err().to_string();
        assert!(error.contains("`sqlite` or `mysql`"), "{error}");
    }
}
