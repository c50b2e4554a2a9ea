//! A group commit: everything that was queued goes to the disk in one transaction.

use std::collections::HashSet;

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use webhook_model::UtcTime;

use super::{
    command::{Publish, Reply},
    cursor::Save,
    queries::{self, ConsumerRow},
};
use crate::{Consumer, ConsumerSpec};

/// What is to be committed together.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) publishes: Vec<Publish>,
    pub(crate) consumes: Vec<(ConsumerSpec, Reply<Consumer>)>,
    pub(crate) ends: Vec<(String, Reply<()>)>,
    pub(crate) saves: Vec<Save>,
}

/// What the commit gave.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    /// The sequence numbers of each publish, in order.
    pub(crate) seqs: Vec<Vec<u64>>,
    /// Those of them that are new.
    pub(crate) new: HashSet<u64>,
    pub(crate) consumers: Vec<Option<ConsumerRow>>,
}

impl Group {
    pub(crate) fn is_empty(&self) -> bool {
        self.publishes.is_empty()
            && self.consumes.is_empty()
            && self.ends.is_empty()
            && self.saves.is_empty()
    }

    /// All of it, or nothing.
    pub(crate) fn commit(
        &self,
        connection: &Connection,
        incarnation: &str,
        at: UtcTime,
    ) -> rusqlite::Result<Committed> {
        in_transaction(connection, || self.write(connection, incarnation, at))
    }

    fn write(
        &self,
        connection: &Connection,
        incarnation: &str,
        at: UtcTime,
    ) -> rusqlite::Result<Committed> {
        let mut committed = Committed::default();
        let mut appender = Appender::new(connection, at)?;
        for publish in &self.publishes {
            let mut seqs = Vec::with_capacity(publish.batch.len());
            for publication in &publish.batch {
                let (seq, new) = appender.append(publication)?;
                seqs.push(seq);
                if new {
                    committed.new.insert(seq);
                }
            }
            committed.seqs.push(seqs);
        }
        if !self.publishes.is_empty() {
            crate::failpoints::crash_point!(WRITING, Err(crate::failpoints::full_disk()));
        }
        for (spec, _) in &self.consumes {
            let made = make(connection, spec, incarnation)?;
            let row = queries::consumer(connection, &spec.name)?;
            committed
                .consumers
                .push(row.map(|row| ConsumerRow { made, ..row }));
        }
        for save in &self.saves {
            write_save(connection, save)?;
        }
        for (name, _) in &self.ends {
            remove(connection, name)?;
        }
        Ok(committed)
    }
}

/// Runs `write` between BEGIN and COMMIT; whatever fails is rolled back.
pub(crate) fn in_transaction<T>(
    connection: &Connection,
    write: impl FnOnce() -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let written = write().and_then(|written| {
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(written)
    });
    // Some failures roll back by themselves.
    if written.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    written
}

struct Appender<'c> {
    connection: &'c Connection,
    insert: CachedStatement<'c>,
    known: CachedStatement<'c>,
    at: i64,
}

impl<'c> Appender<'c> {
    fn new(connection: &'c Connection, at: UtcTime) -> rusqlite::Result<Self> {
        Ok(Self {
            connection,
            insert: connection.prepare_cached(
                "INSERT INTO events (topic, at, dedup, body) VALUES (?1, ?2, ?3, ?4)",
            )?,
            known: connection.prepare_cached("SELECT seq FROM events WHERE dedup = ?1")?,
            at: at.micros(),
        })
    }

    fn append(&mut self, publication: &crate::Publication) -> rusqlite::Result<(u64, bool)> {
        if let Some(key) = &publication.dedup {
            let known = self
                .known
                .query_row([key], |row| row.get::<_, i64>(0))
                .optional()?;
            if let Some(seq) = known {
                return Ok((seq.cast_unsigned(), false));
            }
        }
        self.insert.execute(params![
            publication.topic.as_str(),
            self.at,
            publication.dedup,
            &publication.bytes[..],
        ])?;
        Ok((self.connection.last_insert_rowid().cast_unsigned(), true))
    }
}

/// Makes a consumer unless there is one; whether it did.
fn make(connection: &Connection, spec: &ConsumerSpec, incarnation: &str) -> rusqlite::Result<bool> {
    let floor = if spec.incarnation == incarnation {
        spec.start_seq.saturating_sub(1)
    } else {
        0
    };
    let made = connection
        .prepare_cached(
            "INSERT INTO consumers (name, filter, floor) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO NOTHING",
        )?
        .execute(params![
            spec.name,
            spec.filter.as_str(),
            floor.cast_signed()
        ])?;
    if made == 1 && spec.incarnation != incarnation {
        tracing::warn!(
            consumer = spec.name,
            "the journal was made anew since this consumer was wanted: it starts at the beginning"
        );
    }
    Ok(made == 1)
}

fn write_save(connection: &Connection, save: &Save) -> rusqlite::Result<()> {
    let there = connection
        .prepare_cached("UPDATE consumers SET floor = ?2 WHERE id = ?1")?
        .execute(params![save.id, save.next.floor.cast_signed()])?;
    if there == 0 {
        // Another process ended it.
        return Ok(());
    }
    for lo in &save.removed {
        connection
            .prepare_cached("DELETE FROM acked WHERE consumer = ?1 AND lo = ?2")?
            .execute(params![save.id, lo.cast_signed()])?;
    }
    for (lo, hi) in &save.put {
        connection
            .prepare_cached(
                "INSERT INTO acked (consumer, lo, hi) VALUES (?1, ?2, ?3)
                 ON CONFLICT (consumer, lo) DO UPDATE SET hi = excluded.hi",
            )?
            .execute(params![save.id, lo.cast_signed(), hi.cast_signed()])?;
    }
    Ok(())
}

fn remove(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM acked WHERE consumer = (SELECT id FROM consumers WHERE name = ?1)",
        )?
        .execute([name])?;
    connection
        .prepare_cached("DELETE FROM consumers WHERE name = ?1")?
        .execute([name])?;
    Ok(())
}
