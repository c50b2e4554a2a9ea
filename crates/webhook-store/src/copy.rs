//! A copy of an SQLite database in use, DECNET's tables included, for a backup. A server's own tools
//! copy what is on a server.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    str::FromStr,
};

use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{
        self, ConnectOptions, Connection,
        sqlite::{SqliteConnectOptions, SqliteConnection},
    },
};

use crate::{DatabaseConfig, StoreError, migrations};

/// The file that holds the database; none where a server does.
pub fn database_file(config: &DatabaseConfig) -> Option<PathBuf> {
    if let Some(file) = &config.file {
        return Some(file.clone());
    }
    if !config.url.starts_with("sqlite:") {
        return None;
    }
    let options = SqliteConnectOptions::from_str(&config.url).ok()?;
    Some(options.get_filename().to_owned())
}

/// Copies the database as it is at one moment into `copy`, an empty file, and checks the copy.
/// Whoever uses the database goes on; its tables are left as they are.
pub async fn copy_database(config: &DatabaseConfig, copy: &Path) -> Result<(), StoreError> {
    let Some(file) = database_file(config) else {
        return Err(StoreError::Url {
            url: config.shown_url(),
            reason: "only a database in a file can be copied; use the server's own tools".into(),
        });
    };
    let failed = |source| StoreError::Copy {
        path: file.clone(),
        source,
    };
    let mut connection = open(&file).await.map_err(failed)?;
    refuse_newer(&mut connection, &file).await?;
    let copied = sqlx::query("VACUUM INTO ?")
        .bind(copy.to_string_lossy().into_owned())
        .execute(&mut connection)
        .await;
    copied.map_err(|error| failed(driver(error)))?;
    connection
        .close()
        .await
        .map_err(|error| failed(driver(error)))?;
    check_database(copy).await
}

/// Checks a copy through and through before it is put to use: whether it is whole, and whether this
/// build knows its tables.
pub async fn check_database(file: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Copy {
        path: file.to_owned(),
        source,
    };
    let mut connection = open(file).await.map_err(failed)?;
    let found: String = sqlx::query_scalar("PRAGMA integrity_check(1)")
        .fetch_one(&mut connection)
        .await
        .map_err(|error| failed(driver(error)))?;
    if found != "ok" {
        return Err(StoreError::Damaged {
            path: file.to_owned(),
            found,
        });
    }
    refuse_newer(&mut connection, file).await?;
    connection
        .close()
        .await
        .map_err(|error| failed(driver(error)))
}

async fn refuse_newer(connection: &mut SqliteConnection, file: &Path) -> Result<(), StoreError> {
    let table = "SELECT count(*) FROM sqlite_schema WHERE name = 'webhook_migrations'";
    let versions = "SELECT version FROM webhook_migrations";
    let applied: Result<Vec<String>, sqlx::Error> = async {
        // A database that DECNET made and no server of ours has opened has no such table.
        let tables: i64 = sqlx::query_scalar(table)
            .fetch_one(&mut *connection)
            .await?;
        match tables {
            0 => Ok(Vec::new()),
            _ => sqlx::query_scalar(versions).fetch_all(connection).await,
        }
    }
    .await;
    let applied: BTreeSet<String> = applied
        .map_err(|error| StoreError::Copy {
            path: file.to_owned(),
            source: driver(error),
        })?
        .into_iter()
        .collect();
    migrations::refuse_newer(&file.display().to_string(), &applied)
}

async fn open(file: &Path) -> Result<SqliteConnection, DbErr> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .disable_statement_logging();
    options.connect().await.map_err(driver)
}

fn driver(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}
