//! The journal's file and tables.

use std::{
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use crate::BusError;

/// The tables below. A journal with a higher number is refused.
const SCHEMA: i64 = 1;
/// How long a statement waits for another process's commit. Commits take milliseconds; what takes
/// longer is a process that was stopped, and publishers need an answer before their time-outs.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages of the write-ahead log at which it is folded into the file: 16 MiB. Fewer fold-ins mean
/// fewer syncs, more of them a shorter log to read back after a crash.
const CHECKPOINT_PAGES: i64 = 4_096;
/// What the log file is cut back to after it once grew longer.
const LOG_LIMIT_BYTES: i64 = 64 << 20;
/// Prepared statements kept by each connection: all of ours fit.
const STATEMENTS: usize = 48;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS meta (
        incarnation TEXT NOT NULL,
        schema INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        topic TEXT NOT NULL,
        at INTEGER NOT NULL,
        dedup BLOB,
        body BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX IF NOT EXISTS events_dedup ON events (dedup) WHERE dedup IS NOT NULL;
    CREATE INDEX IF NOT EXISTS events_own ON events (topic, seq)
        WHERE substr(topic, 1, 15) = 'system.webhook.';
    CREATE TABLE IF NOT EXISTS consumers (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        filter TEXT NOT NULL,
        floor INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS acked (
        consumer INTEGER NOT NULL,
        lo INTEGER NOT NULL,
        hi INTEGER NOT NULL,
        PRIMARY KEY (consumer, lo)
    ) STRICT, WITHOUT ROWID;
";

/// Opens the file for writing, makes it and its tables if need be, and returns the incarnation.
pub(crate) fn open(path: &Path) -> Result<(Connection, String), BusError> {
    create_private(path)?;
    let wrong = |error| failed("open", path, error);
    let mut connection = connect(path).map_err(wrong)?;
    // Before anything is written: a newer version's file stays as it is.
    refuse_newer(path, schema_of(&connection).map_err(wrong)?)?;
    let pragmas = format!(
        "PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
         PRAGMA journal_size_limit = {LOG_LIMIT_BYTES};"
    );
    connection.execute_batch(&pragmas).map_err(wrong)?;
    // Only before the first table: lets retention give space back to the disk.
    connection
        .execute_batch("PRAGMA auto_vacuum = INCREMENTAL")
        .map_err(wrong)?;
    write_ahead(&connection).map_err(wrong)?;
    let (incarnation, found) = tables(&mut connection).map_err(wrong)?;
    refuse_newer(path, Some(found))?;
    Ok((connection, incarnation))
}

/// Opens a journal that exists and is understood, without touching it.
pub(crate) fn open_existing(path: &Path) -> Result<Connection, BusError> {
    let wrong = |error| failed("open", path, error);
    let connection = connect(path).map_err(wrong)?;
    let schema = connection.query_row("SELECT schema FROM meta", [], |row| row.get(0));
    refuse_newer(path, Some(schema.map_err(wrong)?))?;
    Ok(connection)
}

/// The schema that a file has; none before its tables are made.
fn schema_of(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    if !has_meta(connection)? {
        return Ok(None);
    }
    connection
        .query_row("SELECT schema FROM meta", [], |row| row.get(0))
        .optional()
}

fn has_meta(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare("SELECT 1 FROM sqlite_schema WHERE name = 'meta'")?
        .exists([])
}

fn refuse_newer(path: &Path, found: Option<i64>) -> Result<(), BusError> {
    match found {
        Some(found) if found > SCHEMA => Err(BusError::NewerSchema {
            path: path.to_owned(),
            found,
            known: SCHEMA,
        }),
        _ => Ok(()),
    }
}

/// Opens one more connection to a journal that exists, for queries alone.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Events may hold anything, so nobody else reads them. SQLite's further files inherit the mode.
pub(crate) fn create_private(path: &Path) -> Result<(), BusError> {
    let created = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    created.map(drop).map_err(|error| BusError::File {
        path: path.to_owned(),
        source: Arc::new(error),
    })
}

/// Two processes that switch a new file over at once get in each other's way without SQLite
/// waiting for either.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    const TRIES: u32 = 100;
    let mut tries = 0;
    loop {
        tries += 1;
        let switched = connection.pragma_update(None, "journal_mode", "WAL");
        match switched {
            Err(error)
                if tries < TRIES && error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

fn tables(connection: &mut Connection) -> rusqlite::Result<(String, i64)> {
    let read = |connection: &Connection| {
        connection
            .query_row("SELECT incarnation, schema FROM meta", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
    };
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    if has_meta(&transaction)?
        && let Some(meta) = read(&transaction)?
    {
        return Ok(meta);
    }
    transaction.execute_batch(TABLES)?;
    let incarnation = hex::encode(rand::random::<[u8; 16]>());
    transaction.execute(
        "INSERT INTO meta VALUES (?1, ?2)",
        params![incarnation, SCHEMA],
    )?;
    transaction.commit()?;
    Ok((incarnation, SCHEMA))
}

/// What an operator sees when SQLite fails.
pub(crate) fn failed(doing: &'static str, path: &Path, error: rusqlite::Error) -> BusError {
    let advice = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full: make room",
        Some(ErrorCode::ReadOnly) => "make the file and its directory writable",
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "check that its directory exists and may be written"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process has been writing to it for seconds: look for a stopped or stuck one"
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            "it is damaged or no journal: move it away, and a new one is made"
        }
        Some(ErrorCode::SystemIoFailure) => "the disk reports errors: check it",
        _ => "the cause says more",
    };
    BusError::Journal {
        doing,
        path: PathBuf::from(path),
        advice,
        source: Arc::new(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_journal_is_private_and_keeps_its_incarnation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        let (connection, first) = open(&path).unwrap();
        for suffix in ["", "-wal", "-shm"] {
            let file = format!("{}{suffix}", path.display());
            let mode = std::fs::metadata(file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let mode: String = connection
            .query_row("PRAGMA journal_mode", [], |it| it.get(0))
            .unwrap();
        assert_eq!(mode, "wal");
        let level: i64 = connection
            .query_row("PRAGMA synchronous", [], |it| it.get(0))
            .unwrap();
        assert_eq!(level, 2);
        let vacuum: i64 = connection
            .query_row("PRAGMA auto_vacuum", [], |it| it.get(0))
            .unwrap();
        assert_eq!(vacuum, 2);
        let (_, second) = open(&path).unwrap();
        assert_eq!(first, second);
        assert_eq!(first.len(), 32);
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        let (connection, _) = open(&path).unwrap();
        connection
            .execute("UPDATE meta SET schema = 99", [])
            .unwrap();
        let error = open(&path).unwrap_err();
        assert!(
            matches!(error, BusError::NewerSchema { found: 99, .. }),
            "{error}"
        );
    }

    #[test]
    fn errors_say_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let error = open(&dir.path().join("no/journal.db"))
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with("check that its directory exists and may be written"),
            "{error}"
        );
        let path = dir.path().join("journal.db");
        std::fs::write(
            &path,
            "no database, but long enough to have a header of one",
        )
        .unwrap();
        let error = open(&path).unwrap_err().to_string();
        assert!(error.contains("move it away"), "{error}");
    }

    #[test]
    fn many_open_a_new_one_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        let opened: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| open(&path).unwrap().1))
                .collect();
            threads.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert!(opened.iter().all(|it| *it == opened[0]), "{opened:?}");
    }
}
