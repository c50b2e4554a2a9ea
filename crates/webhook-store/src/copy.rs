//! A copy of an SQLite database in use, DECNET's tables included, for a backup. A server's own tools
//! copy what is on a server.

use std::{
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

use crate::{DatabaseConfig, StoreError};

/// The file that holds the database; none where a server does.
pub fn database_file(config: &DatabaseConfig) -> Option<PathBuf> {
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

/// Checks a copy through and through before it is put to use.
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
    connection
        .close()
        .await
        .map_err(|error| failed(driver(error)))?;
    if found == "ok" {
        Ok(())
    } else {
        Err(StoreError::Damaged {
            path: file.to_owned(),
            found,
        })
    }
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
