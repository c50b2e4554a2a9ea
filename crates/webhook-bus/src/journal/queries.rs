//! What is read from the journal's tables. Every query ends before it returns, and reads a bounded
//! number of rows.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use webhook_model::{Filter, Topic, TopicPattern, UtcTime};

use super::{cursor::Saved, hub::Search, ranges::Ranges, shared::Shared};
use crate::message::Entry;

/// Most rows of a search by topic: a few milliseconds, also where nothing matches.
const SEARCH_ROWS: i64 = 4_096;
/// Most rows read into the ring at once.
const CHUNK_ROWS: i64 = 1_024;
/// Most bytes read at once, whatever for; one event may exceed it.
pub(crate) const CHUNK_BYTES: usize = 4 << 20;
/// How far back [`recent`] looks where no index helps, and most that it finds.
const RECENT_ROWS: u64 = 100_000;
const RECENT_FOUND: usize = 1_000;

/// An event as the journal has it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) seq: u64,
    pub(crate) topic: Topic,
    pub(crate) at: UtcTime,
    pub(crate) bytes: Bytes,
}

impl Stored {
    pub(crate) fn entry(self, shared: &Shared) -> Arc<Entry> {
        let incarnation = shared.incarnation.clone();
        let Self {
            seq,
            topic,
            at,
            bytes,
        } = self;
        Arc::new(Entry::new(seq, topic, bytes, at, None, incarnation))
    }
}

/// A topic that is none; nothing but a foreign hand writes one.
fn topic(seq: u64, text: &str) -> Option<Topic> {
    Topic::parse(text)
        .inspect_err(|error| tracing::warn!(seq, %error, "skipping an event in the journal"))
        .ok()
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Option<Stored>> {
    let seq = seq(row, 0)?;
    let Some(topic) = topic(seq, row.get_ref(1)?.as_str()?) else {
        return Ok(None);
    };
    Ok(Some(Stored {
        seq,
        topic,
        at: UtcTime::from_micros(row.get(2)?),
        bytes: Bytes::copy_from_slice(row.get_ref(3)?.as_blob()?),
    }))
}

fn seq(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(index)?.cast_unsigned())
}

/// The newest sequence number ever given; survives retention.
pub(crate) fn head(connection: &Connection) -> rusqlite::Result<u64> {
    let head = connection
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'events'")?
        .query_row([], |row| seq(row, 0))
        .optional()?;
    Ok(head.unwrap_or(0))
}

/// Every consumer's id, and below what it has let go of everything.
pub(crate) fn floors(connection: &Connection) -> rusqlite::Result<Vec<(i64, u64)>> {
    connection
        .prepare_cached("SELECT id, floor FROM consumers")?
        .query_map([], |row| Ok((row.get(0)?, seq(row, 1)?)))?
        .collect()
}

/// The oldest event that is still there.
pub(crate) fn oldest(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT seq FROM events ORDER BY seq LIMIT 1")?
        .query_row([], |row| seq(row, 0))
        .optional()
}

/// The next events above `after` and below `before`, and whether those are all.
pub(crate) fn above(
    connection: &Connection,
    after: u64,
    before: u64,
) -> rusqlite::Result<(Vec<Stored>, bool)> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, topic, at, body FROM events WHERE seq > ?1 AND seq < ?2 ORDER BY seq LIMIT ?3",
    )?;
    let before = before.min(i64::MAX as u64);
    let mut rows = statement.query(params![
        after.cast_signed(),
        before.cast_signed(),
        CHUNK_ROWS
    ])?;
    let (mut found, mut count, mut bytes) = (Vec::new(), 0, 0);
    while let Some(row) = rows.next()? {
        count += 1;
        if let Some(event) = stored(row)? {
            bytes += event.bytes.len();
            found.push(event);
        }
        if bytes >= CHUNK_BYTES {
            return Ok((found, false));
        }
    }
    Ok((found, count < CHUNK_ROWS))
}

/// Finds what matches by topic alone; bodies are not read. Returns how far it came, too.
pub(crate) fn search(
    connection: &Connection,
    search: &Search,
) -> rusqlite::Result<(Vec<u64>, u64)> {
    let wanted = |topic: &Topic| search.filter.matches(topic);
    scan(connection, search.after, search.end, search.room, wanted)
}

/// The first `room` of the next events above `after`, up to `end`, whose topic is wanted.
fn scan(
    connection: &Connection,
    after: u64,
    end: u64,
    room: usize,
    wanted: impl Fn(&Topic) -> bool,
) -> rusqlite::Result<(Vec<u64>, u64)> {
    let (mut matching, mut count, mut reached) = (Vec::new(), 0, after);
    let mut statement = connection.prepare_cached(
        "SELECT seq, topic FROM events WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = statement.query(params![after.cast_signed(), end.cast_signed(), SEARCH_ROWS])?;
    while let Some(row) = rows.next()? {
        count += 1;
        reached = seq(row, 0)?;
        let topic = topic(reached, row.get_ref(1)?.as_str()?);
        if topic.is_some_and(|topic| wanted(&topic)) {
            matching.push(reached);
            if matching.len() >= room {
                return Ok((matching, reached));
            }
        }
    }
    let end = if count < SEARCH_ROWS { end } else { reached };
    Ok((matching, end))
}

/// Reads these events, as many as [`CHUNK_BYTES`] allow and at least one; none for those gone.
pub(crate) fn fetch(
    connection: &Connection,
    seqs: &[u64],
) -> rusqlite::Result<Vec<(u64, Option<Stored>)>> {
    // One transaction: beginning and ending one costs as much as a row.
    let reading = connection.unchecked_transaction()?;
    let mut statement =
        reading.prepare_cached("SELECT seq, topic, at, body FROM events WHERE seq = ?1")?;
    let (mut found, mut bytes) = (Vec::with_capacity(seqs.len()), 0);
    for &seq in seqs {
        let event = statement
            .query_row([seq.cast_signed()], stored)
            .optional()?
            .flatten();
        bytes += event.as_ref().map_or(0, |event| event.bytes.len());
        found.push((seq, event));
        if bytes >= CHUNK_BYTES {
            break;
        }
    }
    Ok(found)
}

/// The newest events that match, oldest first.
pub(crate) fn recent(
    connection: &Connection,
    pattern: &TopicPattern,
    since: UtcTime,
) -> rusqlite::Result<Vec<Stored>> {
    let literal = Topic::parse(pattern.as_str()).is_ok();
    let seqs = if literal
        && pattern
            .as_str()
            .starts_with(webhook_model::topics::RESERVED_PREFIX)
    {
        let mut statement = connection.prepare_cached(
            "SELECT seq FROM events WHERE substr(topic, 1, 15) = 'system.webhook.'
             AND topic = ?1 AND at >= ?2 ORDER BY seq DESC LIMIT ?3",
        )?;
        let limit = RECENT_FOUND as i64;
        statement
            .query_map(params![pattern.as_str(), since.micros(), limit], |row| {
                seq(row, 0)
            })?
            .collect::<Result<Vec<u64>, _>>()?
    } else {
        look_back(connection, pattern, since)?
    };
    let mut found = Vec::new();
    for seq in seqs.into_iter().rev() {
        found.extend(fetch(connection, &[seq])?.into_iter().filter_map(|it| it.1));
    }
    Ok(found)
}

/// The newest event that matches.
pub(crate) fn newest(connection: &Connection, filter: &Filter) -> rusqlite::Result<Option<Stored>> {
    let lowest = head(connection)?.saturating_sub(RECENT_ROWS);
    let mut statement = connection
        .prepare_cached("SELECT seq, topic FROM events WHERE seq > ?1 ORDER BY seq DESC")?;
    let mut rows = statement.query([lowest.cast_signed()])?;
    while let Some(row) = rows.next()? {
        let seq = seq(row, 0)?;
        if topic(seq, row.get_ref(1)?.as_str()?).is_some_and(|it| filter.matches(&it)) {
            let found = fetch(connection, &[seq])?.into_iter().next();
            return Ok(found.and_then(|(_, stored)| stored));
        }
    }
    Ok(None)
}

fn look_back(
    connection: &Connection,
    pattern: &TopicPattern,
    since: UtcTime,
) -> rusqlite::Result<Vec<u64>> {
    let lowest = head(connection)?.saturating_sub(RECENT_ROWS);
    let mut statement = connection
        .prepare_cached("SELECT seq, topic, at FROM events WHERE seq > ?1 ORDER BY seq DESC")?;
    let mut rows = statement.query([lowest.cast_signed()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(2)? < since.micros() || found.len() == RECENT_FOUND {
            break;
        }
        let seq = seq(row, 0)?;
        if topic(seq, row.get_ref(1)?.as_str()?).is_some_and(|it| pattern.matches(&it)) {
            found.push(seq);
        }
    }
    Ok(found)
}

/// A consumer's row.
#[derive(Debug)]
pub(crate) struct ConsumerRow {
    /// Whether it was made just now.
    pub(crate) made: bool,
    pub(crate) id: i64,
    pub(crate) filter: String,
    pub(crate) saved: Saved,
}

pub(crate) fn consumer(
    connection: &Connection,
    name: &str,
) -> rusqlite::Result<Option<ConsumerRow>> {
    let row = connection
        .prepare_cached("SELECT id, filter, floor FROM consumers WHERE name = ?1")?
        .query_row([name], |row| {
            Ok(ConsumerRow {
                made: false,
                id: row.get(0)?,
                filter: row.get(1)?,
                saved: Saved {
                    floor: seq(row, 2)?,
                    ranges: Vec::new(),
                },
            })
        })
        .optional()?;
    let Some(mut row) = row else {
        return Ok(None);
    };
    row.saved.ranges = acked(connection, row.id)?;
    Ok(Some(row))
}

/// The acknowledged ranges above a consumer's floor, ascending.
pub(crate) fn acked(connection: &Connection, id: i64) -> rusqlite::Result<Vec<(u64, u64)>> {
    connection
        .prepare_cached("SELECT lo, hi FROM acked WHERE consumer = ?1 ORDER BY lo")?
        .query_map([id], |row| Ok((seq(row, 0)?, seq(row, 1)?)))?
        .collect()
}

/// Counts what a consumer has not acknowledged among the next events above `after`. Returns where
/// it stopped, too; none when that is the end.
pub(crate) fn pending(
    connection: &Connection,
    acked: &Ranges,
    filter: &Filter,
    after: u64,
) -> rusqlite::Result<(u64, Option<u64>)> {
    let end = i64::MAX.cast_unsigned();
    let wanted = |topic: &Topic| filter.matches(topic);
    let (matching, reached) = scan(connection, after, end, usize::MAX, wanted)?;
    let count = matching.iter().filter(|&&seq| !acked.contains(seq)).count() as u64;
    Ok((count, (reached < end).then_some(reached)))
}
