//! A copy of a journal in use, for a backup.
//!
//! A database that counts on the journal is copied after it, so that every outcome whose message the
//! copied journal holds as acknowledged is in that database. But then the database may speak of
//! messages that are younger than the copy. Their numbers must not be given again: new events would
//! pass for delivered ones. So the copy's numbering goes on where the journal stands once the
//! database has been copied.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, params};

use super::{queries, schema, worker_lock};
use crate::{BusError, Position};

/// A journal's copy in the making.
#[derive(Debug)]
pub struct JournalCopy {
    journal: PathBuf,
    copy: PathBuf,
}

impl JournalCopy {
    /// Copies the journal as it is at one moment to a file that must not exist yet; whoever uses the
    /// journal goes on.
    pub async fn make(journal: PathBuf, copy: PathBuf) -> Result<Self, BusError> {
        blocking(move || {
            let connection = schema::open_existing(&journal)?;
            // SQLite takes an empty file, and this one only its owner can read.
            schema::create_private(&copy)?;
            let text = copy.to_str().ok_or_else(|| not_text(&copy))?;
            connection
                .execute("VACUUM INTO ?1", [text])
                .map_err(|error| schema::failed("copy", &journal, error))?;
            Ok(Self { journal, copy })
        })
        .await
    }

    /// Has the copy's numbering go on where the journal stands now, `margin` further, and checks the
    /// copy. A margin is for a database that is copied later still.
    pub async fn finish(self, margin: u64) -> Result<Position, BusError> {
        blocking(move || {
            let reading = |error| schema::failed("read", &self.journal, error);
            let journal = schema::open_reader(&self.journal).map_err(reading)?;
            let head = queries::head(&journal).map_err(reading)?;
            let copy = schema::open_existing(&self.copy)?;
            raise(&copy, head + margin)
                .map_err(|error| schema::failed("write", &self.copy, error))?;
            let incarnation = check(&copy, &self.copy)?;
            drop(copy);
            let synced = File::open(&self.copy).and_then(|file| file.sync_all());
            synced.map_err(|error| BusError::File {
                path: self.copy,
                source: Arc::new(error),
            })?;
            Ok(Position {
                incarnation,
                next_seq: head + margin + 1,
            })
        })
        .await
    }
}

/// Checks a copy through and through before it is put to use.
pub async fn check_journal(path: PathBuf) -> Result<(), BusError> {
    blocking(move || check(&schema::open_existing(&path)?, &path).map(drop)).await
}

/// Keeps every worker from a journal as long as it lives; fails while one runs. The journal itself
/// need not exist.
#[derive(Debug)]
pub struct JournalLock {
    _file: File,
}

impl JournalLock {
    /// Takes it.
    pub fn take(journal: &Path) -> Result<Self, BusError> {
        Ok(Self {
            _file: worker_lock(journal)?,
        })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BusError> + Send + 'static,
) -> Result<T, BusError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| BusError::Closed)?
}

fn raise(copy: &Connection, head: u64) -> rusqlite::Result<()> {
    let head = head.cast_signed();
    let known = copy.execute(
        "UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'events'",
        [head],
    )?;
    if known == 0 {
        copy.execute(
            "INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?1)",
            params![head],
        )?;
    }
    Ok(())
}

fn check(connection: &Connection, path: &Path) -> Result<String, BusError> {
    let wrong = |error| schema::failed("check", path, error);
    let found: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(wrong)?;
    if found != "ok" {
        return Err(BusError::Damaged {
            path: path.to_owned(),
            found,
        });
    }
    let incarnation = connection.query_row("SELECT incarnation FROM meta", [], |row| row.get(0));
    incarnation.map_err(wrong)
}

fn not_text(path: &Path) -> BusError {
    BusError::File {
        path: path.to_owned(),
        source: Arc::new(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "the path is not valid UTF-8",
        )),
    }
}
