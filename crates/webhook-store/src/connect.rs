//! Opening the database.

mod file;
mod fitness;
mod server;
mod sqlite;

use std::str::FromStr;

use sea_orm::{
    DatabaseConnection,
    sqlx::{mysql::MySqlConnectOptions, postgres::PgConnectOptions, sqlite::SqliteConnectOptions},
};

use crate::{DatabaseConfig, StoreError};
pub(crate) use file::OpenFile;

/// The connections of one process.
pub(crate) struct Connections {
    pub(crate) readers: DatabaseConnection,
    /// SQLite has one write lock. One connection that queues for it is fair, which SQLite's own
    /// waiting is not, and it finds the pages it wrote last in its cache. Servers have one pool for
    /// both.
    pub(crate) writer: DatabaseConnection,
    /// SQLite's file.
    pub(crate) file: Option<OpenFile>,
}

pub(crate) async fn connect(config: &DatabaseConfig) -> Result<Connections, StoreError> {
    if let Some(file) = &config.file {
        if file.to_str().is_none() {
            let reason = "SQLite's driver takes paths of UTF-8 alone; use another directory";
            return Err(misunderstood(config, reason));
        }
        return sqlite::open(config, SqliteConnectOptions::new().filename(file)).await;
    }
    let Some((scheme, rest)) = config.url.split_once(':') else {
        return Err(misunderstood(config, "it has no scheme"));
    };
    match scheme {
        "sqlite" => {
            if rest.contains(":memory:") || rest.contains("mode=memory") {
                let reason = "a database in memory would forget what was delivered";
                return Err(misunderstood(config, reason));
            }
            sqlite::open(config, parsed::<SqliteConnectOptions>(config)?).await
        }
        "postgres" | "postgresql" => {
            server::postgres(config, parsed::<PgConnectOptions>(config)?).await
        }
        "mysql" | "mariadb" => server::mysql(config, parsed::<MySqlConnectOptions>(config)?).await,
        other => Err(misunderstood(
            config,
            &format!("this build does not speak {other}"),
        )),
    }
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(config: &DatabaseConfig) -> Result<T, StoreError> {
    T::from_str(&config.url).map_err(|error| misunderstood(config, &error.to_string()))
}

fn misunderstood(config: &DatabaseConfig, reason: &str) -> StoreError {
    StoreError::Url {
        url: config.shown_url(),
        reason: reason.to_owned(),
    }
}
