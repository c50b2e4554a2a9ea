use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

/// Where the database is and how it is waited for.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseConfig {
    /// `sqlite:///path/to/decnet.db`, `postgres://user:password@host/database` or the same with
    /// `mysql`. From `DECNET_DATABASE_URL`.
    pub url: String,
    /// The SQLite file, where it is known by its path: the URL is then only shown. A path may hold
    /// what means something else in a URL.
    pub file: Option<PathBuf>,
    /// Most connections of this process, at least 2: one writes. Default 8.
    pub max_connections: u32,
    /// Longest wait for a connection, i.e. also for this process's turn to write. Default 10 s.
    pub acquire_timeout: Duration,
    /// Longest wait for another process's write to end (SQLite). Default 5 s.
    pub busy_timeout: Duration,
    /// The database is to be DECNET's: its tables are DECNET's to make, and until they are there
    /// opening fails with [`StoreError::AwaitsDecnet`](crate::StoreError::AwaitsDecnet). Otherwise the
    /// shared table is made where it is missing, and DECNET's first start would fail on it. Default
    /// false.
    pub awaits_decnet: bool,
}

impl DatabaseConfig {
    /// The defaults with this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            file: None,
            max_connections: 8,
            acquire_timeout: Duration::from_secs(10),
            busy_timeout: Duration::from_secs(5),
            awaits_decnet: false,
        }
    }

    /// The defaults with this SQLite file.
    pub fn at(file: &Path) -> Self {
        Self {
            file: Some(file.to_owned()),
            ..Self::new(format!("sqlite://{}", file.display()))
        }
    }

    /// The URL as logs may show it: a password is replaced by `…`.
    pub fn shown_url(&self) -> String {
        match self.file {
            Some(_) => self.url.clone(),
            None => without_password(&self.url),
        }
    }
}

impl fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseConfig")
            .field("url", &self.shown_url())
            .field("max_connections", &self.max_connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("busy_timeout", &self.busy_timeout)
            .field("awaits_decnet", &self.awaits_decnet)
            .finish()
    }
}

/// Cuts a password out textually, so that it also works on URLs that do not parse. Query
/// parameters go too: PostgreSQL takes `?password=`.
fn without_password(url: &str) -> String {
    let (url, query) = url
        .split_once('?')
        .map_or((url, ""), |(url, _)| (url, "?…"));
    let Some((scheme, rest)) = url.split_once("://") else {
        return format!("{url}{query}");
    };
    match rest.rsplit_once('@') {
        Some((userinfo, host)) => {
            let user = userinfo.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:…@{host}{query}")
        }
        None => format!("{scheme}://{rest}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_never_shown() {
        for (url, shown) in [
            (
                "sqlite:///var/lib/decnet/decnet.db",
                "sqlite:///var/lib/decnet/decnet.db",
            ),
            (
                "postgres://decnet:hunter2@db/decnet",
                "postgres://decnet:…@db/decnet",
            ),
            (
                "postgres://decnet:p@ss:w@db/decnet",
                "postgres://decnet:…@db/decnet",
            ),
            (
                "postgres://db/decnet?password=hunter2",
                "postgres://db/decnet?…",
            ),
            ("nonsense", "nonsense"),
        ] {
            let config = DatabaseConfig::new(url);
            assert_eq!(config.shown_url(), shown);
            assert!(!format!("{config:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_path_is_shown_whole() {
        let config = DatabaseConfig::at(Path::new("/data/a?b@c/decnet.db"));
        assert_eq!(config.shown_url(), "sqlite:///data/a?b@c/decnet.db");
    }
}
