//! Which events everybody has let go of, wherever in the journal they are: what is not delivered is
//! the last to go.
//!
//! Each event is looked at once, and once more when a consumer has let go of it since: what was looked
//! at and left is owed to somebody.

use std::collections::HashMap;

use rusqlite::{Connection, params};
use webhook_model::Topic;

use super::Lagging;
use crate::journal::ranges::Ranges;

/// The newest events are left alone, as many as these and as much as this part of the bytes: other
/// processes read them from the disk within milliseconds, and the consumer of a subscription that was
/// made just now may not be there yet.
const NEWEST: i64 = 4_096;
const NEWEST_PART: u64 = 8;
/// Most events looked at in one go: a few milliseconds.
const LOOK: usize = 4_096;
/// Most events taken in one transaction.
const TAKE: usize = 1_000;
/// Most holes that are remembered, the latest ones. Each has some ten bytes, and only consumers that
/// begin near the newest event ask.
const HOLES: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// To be looked at.
    open: Ranges,
    /// Everything up to here was looked at, or is to be.
    upto: u64,
    /// What each consumer that is behind had let go of when events were looked at last.
    acked: HashMap<i64, Ranges>,
    /// What was taken from between others.
    taken: Ranges,
}

impl Delivered {
    /// Notes what is to be looked at up to `end`: what is new, and what `consumers`, all that are
    /// behind, have let go of since; whether there is any of the latter.
    pub(super) fn consider(&mut self, consumers: &[Lagging], end: u64) -> bool {
        let mut before = std::mem::take(&mut self.acked);
        let mut any = false;
        for consumer in consumers {
            if let Some(before) = before.remove(&consumer.id) {
                any |= self.reopen(&consumer.acked, &before);
            }
            self.acked.insert(consumer.id, consumer.acked.clone());
        }
        // Those that are gone, or behind no more.
        for before in before.values() {
            any |= self.reopen(&Ranges::up_to(self.upto), before);
        }
        self.open.insert(self.upto + 1, end);
        self.upto = self.upto.max(end);
        any
    }

    fn reopen(&mut self, now: &Ranges, before: &Ranges) -> bool {
        let mut any = false;
        for (lo, hi) in now.minus(before) {
            any |= lo <= self.upto;
            self.open.insert(lo, hi.min(self.upto));
        }
        any
    }

    /// Notes that everything up to `seq` was taken, delivered or not.
    pub(super) fn expire(&mut self, seq: u64) {
        for acked in self.acked.values_mut() {
            acked.insert(1, seq);
        }
    }

    /// Takes the oldest of what is to be looked at, and that nobody is owed, until it comes to that many
    /// bytes, or enough was done for once; answers how many.
    pub(super) fn take(
        &mut self,
        db: &Connection,
        consumers: &[Lagging],
        bytes: u64,
    ) -> rusqlite::Result<usize> {
        let (mut looked, mut left) = (0, bytes);
        let mut free = Vec::new();
        let mut reached = 0;
        let mut statement = db.prepare_cached(
            "SELECT seq, topic, length(body) FROM events WHERE seq >= ?1 AND seq <= ?2 ORDER BY seq",
        )?;
        'open: for (lo, hi) in self.open.all() {
            if looked >= LOOK {
                reached = lo - 1;
                break;
            }
            // A range without events costs as much as one.
            looked += 1;
            let mut rows = statement.query(params![lo.cast_signed(), hi.cast_signed()])?;
            while let Some(row) = rows.next()? {
                let seq = row.get::<_, i64>(0)?.cast_unsigned();
                if looked >= LOOK || free.len() >= TAKE || left == 0 {
                    reached = seq - 1;
                    break 'open;
                }
                looked += 1;
                let topic = Topic::parse(row.get_ref(1)?.as_str()?).ok();
                if !consumers.iter().any(|it| it.is_owed(seq, topic.as_ref())) {
                    left = left.saturating_sub(row.get::<_, i64>(2)?.cast_unsigned());
                    free.push(seq);
                }
            }
            reached = hi;
        }
        let mut delete = db.prepare_cached("DELETE FROM events WHERE seq = ?1")?;
        for seq in &free {
            delete.execute([seq.cast_signed()])?;
            self.taken.insert(*seq, *seq);
        }
        self.forget_holes();
        let rest = self.open.minus(&Ranges::up_to(reached));
        self.open = Ranges::default();
        for (lo, hi) in rest {
            self.open.insert(lo, hi);
        }
        Ok(free.len())
    }

    /// Whether there is anything to be looked at.
    pub(super) fn has_more(&self) -> bool {
        self.open.all().next().is_some()
    }

    /// What was taken from between others, above `seq`, as far as it is remembered.
    pub(super) fn taken_above(&self, seq: u64) -> Vec<(u64, u64)> {
        self.taken.minus(&Ranges::up_to(seq))
    }

    fn forget_holes(&mut self) {
        let count = self.taken.all().count();
        if count <= HOLES {
            return;
        }
        let latest: Vec<_> = self.taken.all().skip(count - HOLES / 2).collect();
        self.taken = Ranges::default();
        for (lo, hi) in latest {
            self.taken.insert(lo, hi);
        }
    }
}

/// Up to where events may be taken out of their turn.
pub(super) fn end(db: &Connection, max_bytes: u64) -> rusqlite::Result<u64> {
    let mut statement =
        db.prepare_cached("SELECT seq, length(body) FROM events ORDER BY seq DESC LIMIT ?1")?;
    let mut rows = statement.query([NEWEST])?;
    let (mut end, mut bytes) = (0, 0);
    while let Some(row) = rows.next()? {
        end = row.get::<_, i64>(0)?.cast_unsigned();
        bytes += row.get::<_, i64>(1)?.cast_unsigned();
        if bytes > max_bytes / NEWEST_PART {
            return Ok(end);
        }
    }
    Ok(end.saturating_sub(1))
}
