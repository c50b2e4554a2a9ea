//! Brings committed events into the ring, in order: this process's own straight from memory, those
//! of other processes from the disk.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::{
    queries::{self, Stored},
    shared::Shared,
};
use crate::message::Entry;

/// Most events pushed under one hold of the hub's lock: a fraction of a millisecond.
const PUSH: usize = 256;
/// Least time between two looks that are asked for: a busy appender would have one with each commit,
/// and the worker many small batches.
const APART: Duration = Duration::from_millis(5);
/// Most own events that wait because what lies before them cannot be read. Beyond that they are
/// read from the disk as well, some day.
const STRANDED: usize = 4_096;

#[derive(Debug)]
pub(crate) struct Tail {
    /// How often to look for what other processes did.
    pub(super) every: Duration,
    /// Committed here, not yet in the ring.
    own: VecDeque<Arc<Entry>>,
    /// SQLite's mark of what others have committed.
    data_version: i64,
    /// Whether the disk is known to have more than the ring.
    behind: bool,
    /// Whether another process has said that it appended.
    told: bool,
    last_look: Instant,
    failing: bool,
}

impl Tail {
    pub(crate) fn new(every: Duration) -> Self {
        Self {
            every,
            own: VecDeque::new(),
            data_version: 0,
            behind: false,
            told: false,
            last_look: Instant::now(),
            failing: false,
        }
    }

    pub(crate) fn due_in(&self) -> Duration {
        if self.behind && !self.failing {
            Duration::ZERO
        } else {
            let pause = if self.told { APART } else { self.every };
            pause.saturating_sub(self.last_look.elapsed())
        }
    }

    /// Another process has appended.
    pub(crate) fn told(&mut self) {
        self.told = true;
    }

    /// Starts the ring at the newest event; if it runs already, brings it up to date.
    pub(crate) fn activate(&mut self, db: &Connection, shared: &Shared) -> rusqlite::Result<()> {
        if shared.hub().active() {
            return self.look(db, shared);
        }
        self.own.clear();
        self.behind = false;
        // The mark first: what comes in between is looked for once more, not missed.
        self.data_version = data_version(db)?;
        let head = queries::head(db)?;
        self.last_look = Instant::now();
        shared.hub().activate(head);
        Ok(())
    }

    /// Takes note of an event that this process has committed.
    pub(crate) fn committed(&mut self, entry: Arc<Entry>) {
        if self.own.len() < STRANDED {
            self.own.push_back(entry);
        } else {
            self.own.clear();
            self.behind = true;
        }
    }

    /// Looks for what others have appended, if it is time.
    pub(crate) fn follow(&mut self, db: &Connection, shared: &Shared) {
        if shared.hub().active() && self.due_in().is_zero() {
            let looked = self.look(db, shared);
            self.note(looked);
        }
    }

    /// Pushes what was committed here, after whatever others have committed before it.
    pub(crate) fn push_own(&mut self, db: &Connection, shared: &Shared) {
        if !self.own.is_empty() {
            let pushed = self.try_push_own(db, shared);
            self.note(pushed);
        }
    }

    fn note(&mut self, result: rusqlite::Result<()>) {
        if let (Err(error), false) = (&result, self.failing) {
            tracing::error!(%error, "cannot read new events from the journal; trying again");
        }
        self.failing = result.is_err();
    }

    fn try_push_own(&mut self, db: &Connection, shared: &Shared) -> rusqlite::Result<()> {
        loop {
            let before = {
                let mut hub = shared.hub();
                for _ in 0..PUSH {
                    let head = hub.ring.head();
                    match self.own.front() {
                        Some(entry) if entry.seq <= head => drop(self.own.pop_front()),
                        Some(entry) if entry.seq == head + 1 => {
                            hub.push(entry.clone());
                            self.own.pop_front();
                        }
                        _ => break,
                    }
                }
                let Some(next) = self.own.front() else {
                    return Ok(());
                };
                if next.seq == hub.ring.head() + 1 {
                    continue;
                }
                next.seq
            };
            let head = shared.hub().ring.head();
            let (events, all) = queries::above(db, head, before)?;
            push(shared, events);
            if all {
                shared.hub().skip_to(before - 1);
            }
        }
    }

    fn look(&mut self, db: &Connection, shared: &Shared) -> rusqlite::Result<()> {
        self.last_look = Instant::now();
        self.told = false;
        self.try_push_own(db, shared)?;
        let version = data_version(db)?;
        if version != self.data_version {
            self.data_version = version;
            self.behind = true;
        }
        if self.behind {
            let head = shared.hub().ring.head();
            let (events, all) = queries::above(db, head, u64::MAX)?;
            push(shared, events);
            self.behind = !all;
        }
        Ok(())
    }
}

fn push(shared: &Shared, events: Vec<Stored>) {
    let entries = events.into_iter().map(|event| event.entry(shared));
    let entries: Vec<Arc<Entry>> = entries.collect();
    for chunk in entries.chunks(PUSH) {
        let mut hub = shared.hub();
        for entry in chunk {
            hub.push(entry.clone());
        }
    }
}

/// Changes when another connection has committed, never by this one's own commits.
fn data_version(db: &Connection) -> rusqlite::Result<i64> {
    db.prepare_cached("PRAGMA data_version")?
        .query_row([], |row| row.get(0))
}
