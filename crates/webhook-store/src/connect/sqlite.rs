//! SQLite's file is made here, because SQLite itself would make it readable for everybody, and it
//! holds secrets.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    time::Duration,
};

use sea_orm::{
    DatabaseConnection, DbErr, RuntimeErr, SqlxSqliteConnector,
    sqlx::{
        self, ConnectOptions, Connection,
        sqlite::{
            SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions,
            SqliteSynchronous,
        },
    },
};
use tokio::time::{Instant, sleep};

use super::{Connections, OpenFile};
use crate::{DatabaseConfig, StoreError, backend};

/// Pause between attempts to open a file that another process is just turning to WAL.
const OPEN_RETRY: Duration = Duration::from_millis(20);

/// Pages in the WAL before they go to the database itself: 16 MiB, four times the default, since the
/// log's newest pages are written again with every commit.
const WAL_PAGES: &str = "4000";

/// What the writing connection may keep in memory, in KiB (hence the sign): the newest pages of
/// every subscription's part of the indexes, a few thousand subscriptions' worth.
const WRITER_CACHE: &str = "-16000";

pub(super) async fn open(
    config: &DatabaseConfig,
    options: SqliteConnectOptions,
) -> Result<Connections, StoreError> {
    let path = options.get_filename().to_owned();
    let wrong = |source| StoreError::CreateFile {
        path: path.clone(),
        source,
    };
    create_private(&path).map_err(wrong)?;
    let file = OpenFile::at(&path).map_err(wrong)?;
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        // A delivery is acked once it is committed, so a commit has to survive a power cut.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(config.busy_timeout)
        .foreign_keys(false)
        // Statement journals of large INSERTs would go to a temporary file otherwise.
        .pragma("temp_store", "MEMORY")
        .pragma("wal_autocheckpoint", WAL_PAGES)
        .disable_statement_logging();
    let writing = (options.clone().pragma("cache_size", WRITER_CACHE))
        // A secret that was deleted or rotated must not stay in the file's free space.
        .pragma("secure_delete", "ON");
    Ok(Connections {
        writer: pool(config, writing, 1).await?,
        readers: pool(
            config,
            options.pragma("query_only", "ON"),
            config.max_connections.saturating_sub(1).max(1),
        )
        .await?,
        file: Some(file),
    })
}

async fn pool(
    config: &DatabaseConfig,
    options: SqliteConnectOptions,
    max_connections: u32,
) -> Result<DatabaseConnection, StoreError> {
    let deadline = Instant::now() + config.busy_timeout;
    loop {
        let attempt = SqlitePoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(config.acquire_timeout)
            // A local file: nothing to gain from closing or testing connections.
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .before_acquire(|connection, _| Box::pin(is_sound(connection)))
            .connect_with(options.clone())
            .await;
        match attempt {
            // Turning a new file to WAL does not wait for others who are doing the same.
            Err(error) if backend::is_busy(&error) && Instant::now() < deadline => {
                sleep(OPEN_RETRY).await;
            }
            Err(error) => {
                return Err(StoreError::Open {
                    url: config.shown_url(),
                    source: DbErr::Conn(RuntimeErr::SqlxError(error.into())),
                });
            }
            Ok(pool) => return Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool)),
        }
    }
}

/// Whether a connection came back without a transaction. SQLite ends one by itself when the disk is
/// full, and the driver, whose ROLLBACK then fails, believes in it for ever.
async fn is_sound(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // One that was given up is still being rolled back.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

/// Makes the file for its owner alone, and its folder if that is missing. What exists is left as
/// it is: it may be DECNET's.
fn create_private(path: &Path) -> io::Result<()> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop),
    }
}
