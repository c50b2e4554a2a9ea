//! Takes the oldest events when they are too old, and some when they are too many: what is delivered
//! first, and what is not when nothing else is left, saying whose it was.

mod delivered;

use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use tokio::sync::mpsc;
use webhook_model::{Topic, TopicPattern, UtcTime};

use super::{
    cursor::Saved, group::in_transaction, queries, ranges::Ranges, schema, writer::Writer,
};
use crate::{BusError, Crowded, Gap};
use delivered::Delivered;

/// From the start to the first look: the consumers of what was subscribed meanwhile are made first.
const START: Duration = Duration::from_secs(5);
/// How often to see whether there is anything to take.
const EVERY: Duration = Duration::from_secs(30);
/// Pause between two batches, so that publishers come first.
const PAUSE: Duration = Duration::from_millis(20);
/// Most events taken in one transaction: a few milliseconds.
const BATCH: i64 = 1_000;
/// Free pages within the file are kept for new events up to this much, or a quarter of the file.
const SPARE_BYTES: u64 = 64 << 20;
/// From this part of the bytes on, in percent, it is told that undelivered events will go.
const NEARLY_FULL: u64 = 80;
/// Most pages given back to the disk in one go.
const VACUUM_PAGES: u32 = 1_000;

#[derive(Debug)]
pub(crate) struct Retention {
    pub(crate) age: Duration,
    pub(crate) max_bytes: u64,
    pub(crate) gaps: Option<mpsc::Sender<Gap>>,
    next: Instant,
    delivered: Delivered,
    failing: bool,
    /// Whether it was told that undelivered events will go.
    warned: bool,
}

impl Retention {
    pub(crate) fn new(age: Duration, max_bytes: u64, gaps: Option<mpsc::Sender<Gap>>) -> Self {
        Self {
            age,
            max_bytes,
            gaps,
            next: Instant::now() + START,
            delivered: Delivered::default(),
            failing: false,
            warned: false,
        }
    }

    pub(crate) fn due_in(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }
}

/// The oldest events, as far as they are to go.
#[derive(Debug, Default)]
struct Oldest {
    events: Vec<(u64, Option<Topic>)>,
}

impl Oldest {
    fn last(&self) -> Option<u64> {
        self.events.last().map(|it| it.0)
    }
}

/// A consumer that had not acknowledged everything that goes.
#[derive(Debug)]
struct Lagging {
    id: i64,
    name: String,
    filter: TopicPattern,
    acked: Ranges,
}

impl Writer {
    pub(super) fn sweep_if_due(&mut self) {
        let due = (self.retention.as_ref()).is_some_and(|it| it.due_in().is_zero());
        if !due {
            return;
        }
        let swept = self.sweep();
        let Some(retention) = &mut self.retention else {
            return;
        };
        retention.next = Instant::now()
            + if matches!(swept, Ok(true)) {
                PAUSE
            } else {
                EVERY
            };
        if let (Err(error), false) = (&swept, retention.failing) {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::error!(%error, cause, "cannot take old events out of the journal; trying again");
        }
        retention.failing = swept.is_err();
        self.warn_if_nearly_full();
    }

    /// Says, once each time that it comes to that, that the oldest events are soon to go though they
    /// are not delivered.
    fn warn_if_nearly_full(&mut self) {
        let Some(max_bytes) = self.retention.as_ref().map(|it| it.max_bytes) else {
            return;
        };
        let Ok(used) = used_bytes(&self.connection) else {
            return;
        };
        let full = used > max_bytes / 100 * NEARLY_FULL;
        let oldest = queries::oldest(&self.connection).ok().flatten();
        let waiting = full
            && oldest.is_some_and(|oldest| self.lagging(oldest).is_ok_and(|it| !it.is_empty()));
        if let Some(retention) = &mut self.retention {
            if waiting && !retention.warned {
                tracing::warn!(
                    used,
                    max_bytes,
                    "the bus is nearly full and its oldest events are not delivered yet: they go once no delivered ones are left; mend their receivers, delete their subscriptions, or raise --bus-max-bytes"
                );
            }
            retention.warned = waiting;
        }
    }

    /// Says what was gone before a consumer was made.
    pub(super) fn report_late_start(&self, name: &str, floor: u64) -> Result<(), BusError> {
        let oldest = queries::oldest(&self.connection);
        let oldest = oldest.map_err(|error| schema::failed("read", &self.shared.path, error))?;
        let (Some(oldest), true, Some(retention)) = (oldest, floor > 0, &self.retention) else {
            return Ok(());
        };
        let before = (floor + 1 < oldest).then_some((floor + 1, oldest - 1));
        let among = retention.delivered.taken_above(floor.max(oldest));
        let gone: Vec<(u64, u64)> = before.into_iter().chain(among).collect();
        if let (Some(&(from, _)), Some(&(_, to))) = (gone.first(), gone.last()) {
            let gap = Gap {
                consumer: name.to_owned(),
                from,
                to,
                count: gone.iter().map(|(lo, hi)| hi - lo + 1).sum(),
            };
            report(gap, retention.gaps.as_ref());
        }
        Ok(())
    }

    /// Takes one batch; whether there is more to take.
    fn sweep(&mut self) -> Result<bool, BusError> {
        let taken = self.sweep_delivered();
        if taken.map_err(|error| schema::failed("write", &self.shared.path, error))? {
            return Ok(true);
        }
        let Some(retention) = &self.retention else {
            return Ok(false);
        };
        let wrong = |error| schema::failed("write", &self.shared.path, error);
        let in_hand = self.shared.hub().oldest_out();
        let oldest = oldest(
            &self.connection,
            retention.age,
            retention.max_bytes,
            in_hand,
        )
        .map_err(wrong)?;
        let Some(last) = oldest.last() else {
            return vacuum(&self.connection).map_err(wrong);
        };
        let full = used_bytes(&self.connection).map_err(wrong)? > retention.max_bytes;
        let (lagging, gaps) = in_transaction(&self.connection, || {
            let lagging = self.lagging(last)?;
            take(&self.connection, last, &lagging)?;
            let gaps: Vec<Gap> = lagging.iter().filter_map(|it| it.gap(&oldest)).collect();
            Ok((lagging, gaps))
        })
        .map_err(wrong)?;
        let mut hub = self.shared.hub();
        for consumer in &lagging {
            hub.expire(consumer.id, last);
        }
        drop(hub);
        if full && !gaps.is_empty() {
            self.shared.set_crowded(Some(Crowded {
                max_bytes: retention.max_bytes,
                oldest: last + 1,
            }));
        }
        for gap in gaps {
            report(gap, retention.gaps.as_ref());
        }
        if let Some(retention) = &mut self.retention {
            retention.delivered.expire(last);
        }
        Ok(true)
    }

    /// Where there are too many events: looks at some, and takes those that everybody has let go of.
    /// Whether there is more to look at, or they are too many still.
    fn sweep_delivered(&mut self) -> rusqlite::Result<bool> {
        let Some(max_bytes) = self.retention.as_ref().map(|it| it.max_bytes) else {
            return Ok(false);
        };
        let used = used_bytes(&self.connection)?;
        let excess = used.saturating_sub(max_bytes);
        if used <= max_bytes / 100 * NEARLY_FULL {
            self.shared.set_crowded(None);
        }
        if excess == 0 && self.shared.crowded().is_none() {
            return Ok(false);
        }
        let end = delivered::end(&self.connection, max_bytes)?;
        let consumers = self.lagging(end)?;
        let Some(retention) = &mut self.retention else {
            return Ok(false);
        };
        // After a failure everything is looked at anew.
        let mut delivered = std::mem::take(&mut retention.delivered);
        if delivered.consider(&consumers, end) {
            self.shared.set_crowded(None);
        }
        let mut taken = 0;
        if excess > 0 {
            taken = in_transaction(&self.connection, || {
                delivered.take(&self.connection, &consumers, excess)
            })?;
        }
        let more = excess > 0 && (taken > 0 || delivered.has_more());
        retention.delivered = delivered;
        Ok(more)
    }

    /// The consumers with a floor below `last`. What this process knows of them is newer than what
    /// the disk has.
    fn lagging(&self, last: u64) -> rusqlite::Result<Vec<Lagging>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT id, name, filter, floor FROM consumers WHERE floor < ?1")?;
        let rows = statement.query_map([last.cast_signed()], |row| {
            let floor: i64 = row.get(3)?;
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get::<_, String>(2)?,
                floor.cast_unsigned(),
            ))
        })?;
        let mut lagging = Vec::new();
        for row in rows {
            let (id, name, filter, floor) = row?;
            let Ok(filter) = TopicPattern::parse(&filter) else {
                continue;
            };
            let known = self.shared.hub().up_to_date(id);
            let acked = match known {
                Some(acked) => acked,
                None => {
                    let ranges = queries::acked(&self.connection, id)?;
                    Saved { floor, ranges }.acked()
                }
            };
            lagging.push(Lagging {
                id,
                name,
                filter,
                acked,
            });
        }
        Ok(lagging)
    }
}

impl Lagging {
    /// Whether it has still to let go of an event.
    fn is_owed(&self, seq: u64, topic: Option<&Topic>) -> bool {
        !self.acked.contains(seq) && topic.is_some_and(|topic| self.filter.matches(topic))
    }

    fn gap(&self, oldest: &Oldest) -> Option<Gap> {
        let mut lost =
            (oldest.events.iter()).filter(|(seq, topic)| self.is_owed(*seq, topic.as_ref()));
        let from = lost.next()?.0;
        let (mut to, mut count) = (from, 1);
        for (seq, _) in lost {
            to = *seq;
            count += 1;
        }
        Some(Gap {
            consumer: self.name.clone(),
            from,
            to,
            count,
        })
    }
}

fn oldest(
    db: &Connection,
    age: Duration,
    max_bytes: u64,
    in_hand: Option<u64>,
) -> rusqlite::Result<Oldest> {
    let mut excess = used_bytes(db)?.saturating_sub(max_bytes);
    let before = (UtcTime::now() - age).micros();
    let mut statement =
        db.prepare_cached("SELECT seq, topic, at, length(body) FROM events ORDER BY seq LIMIT ?1")?;
    let mut rows = statement.query([BATCH])?;
    let mut oldest = Oldest::default();
    while let Some(row) = rows.next()? {
        let seq = row.get::<_, i64>(0)?.cast_unsigned();
        // What somebody is working on may stay, as long as there is room.
        let old = row.get::<_, i64>(2)? < before && in_hand.is_none_or(|in_hand| seq < in_hand);
        if excess == 0 && !old {
            break;
        }
        excess = excess.saturating_sub(row.get::<_, i64>(3)?.cast_unsigned());
        oldest
            .events
            .push((seq, Topic::parse(row.get_ref(1)?.as_str()?).ok()));
    }
    Ok(oldest)
}

fn take(db: &Connection, last: u64, lagging: &[Lagging]) -> rusqlite::Result<()> {
    let last = last.cast_signed();
    db.prepare_cached("DELETE FROM events WHERE seq <= ?1")?
        .execute([last])?;
    for consumer in lagging {
        // A range across the end joins the floor when it is read.
        db.prepare_cached("UPDATE consumers SET floor = ?2 WHERE id = ?1 AND floor < ?2")?
            .execute(params![consumer.id, last])?;
        db.prepare_cached("DELETE FROM acked WHERE consumer = ?1 AND hi <= ?2")?
            .execute(params![consumer.id, last])?;
    }
    Ok(())
}

fn report(gap: Gap, to: Option<&mpsc::Sender<Gap>>) {
    tracing::warn!(
        consumer = gap.consumer,
        from = gap.from,
        to = gap.to,
        count = gap.count,
        "retention took events that were not delivered yet"
    );
    if let Some(to) = to
        && to.try_send(gap).is_err()
    {
        tracing::warn!("nobody takes note of that gap but this log");
    }
}

fn pragma(db: &Connection, query: &str) -> rusqlite::Result<u64> {
    db.prepare_cached(query)?
        .query_row([], |row| row.get::<_, i64>(0))
        .map(i64::cast_unsigned)
}

/// What the events occupy, without the pages that wait to be used again.
fn used_bytes(db: &Connection) -> rusqlite::Result<u64> {
    let pages = pragma(db, "PRAGMA page_count")? - pragma(db, "PRAGMA freelist_count")?;
    Ok(pages * pragma(db, "PRAGMA page_size")?)
}

/// Gives some of the file back to the disk if far more than needed is free in it; whether more
/// could be.
fn vacuum(db: &Connection) -> rusqlite::Result<bool> {
    let page = pragma(db, "PRAGMA page_size")?;
    let free = pragma(db, "PRAGMA freelist_count")? * page;
    let total = pragma(db, "PRAGMA page_count")? * page;
    if free <= SPARE_BYTES.max(total / 4) {
        return Ok(false);
    }
    let mut statement = db.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(true)
}

#[cfg(test)]
mod tests;
