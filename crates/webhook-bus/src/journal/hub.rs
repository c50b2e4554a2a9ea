//! What the tasks of this process share: the ring, and who is to get what is in it. One lock, held
//! for microseconds, never across a wait or the disk.

mod consumers;
mod feeds;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{cursor::Cursor, feed::Feed, ring::Ring, trie::Trie};
use crate::message::Entry;

pub(crate) use consumers::{Search, Step};
pub(crate) use feeds::Fed;

/// Who gets an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Cursor(i64),
    Feed(u64),
}

#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) ring: Ring,
    trie: Trie<Target>,
    /// Every consumer that was opened since the start, by its row.
    cursors: HashMap<i64, Cursor>,
    names: HashMap<String, i64>,
    feeds: HashMap<u64, Feed>,
    /// Feeds and openings are counted, so that none is taken for another.
    next: u64,
    /// Consumers with acknowledgements that are not on the disk.
    dirty: BTreeSet<i64>,
    /// Consumers that wait for the head to pass their end.
    awaited: Vec<(u64, i64)>,
    /// Whether new events reach the ring. Nobody pays for it in a process that only publishes.
    active: bool,
    /// Those who need the ring to be kept though they read nothing themselves.
    holds: usize,
    closed: bool,
    scratch: Vec<Target>,
}

impl Hub {
    pub(crate) fn new(ring: Ring) -> Self {
        Self {
            ring,
            trie: Trie::default(),
            cursors: HashMap::new(),
            names: HashMap::new(),
            feeds: HashMap::new(),
            next: 0,
            dirty: BTreeSet::new(),
            awaited: Vec::new(),
            active: false,
            holds: 0,
            closed: false,
            scratch: Vec::new(),
        }
    }

    pub(crate) fn active(&self) -> bool {
        self.active
    }

    /// From now on every event above `head` is pushed.
    pub(crate) fn activate(&mut self, head: u64) {
        self.ring.restart(head);
        self.active = true;
    }

    /// Empties the ring if nobody reads it.
    pub(crate) fn rest(&mut self) {
        let read = self.cursors.values().any(|cursor| cursor.open.is_some());
        if self.active && self.holds == 0 && self.feeds.is_empty() && !read {
            self.active = false;
            self.ring.restart(0);
        }
    }

    pub(crate) fn hold(&mut self) {
        self.holds += 1;
    }

    pub(crate) fn unhold(&mut self) {
        self.holds -= 1;
    }

    pub(crate) fn push(&mut self, entry: Arc<Entry>) {
        let mut targets = std::mem::take(&mut self.scratch);
        self.trie.visit(&entry.topic, |target| targets.push(target));
        for target in targets.drain(..) {
            match target {
                Target::Cursor(id) => {
                    if let Some(cursor) = self.cursors.get_mut(&id) {
                        cursor.offer(entry.seq);
                    }
                }
                Target::Feed(id) => {
                    if let Some(feed) = self.feeds.get_mut(&id) {
                        feed.offer(entry.seq, entry.origin);
                    }
                }
            }
        }
        self.scratch = targets;
        self.ring.push(entry);
        self.head_moved();
    }

    pub(crate) fn skip_to(&mut self, seq: u64) {
        self.ring.skip_to(seq);
        self.head_moved();
    }

    fn head_moved(&mut self) {
        if self.awaited.is_empty() {
            return;
        }
        let head = self.ring.head();
        let (past, waiting) = (self.awaited.drain(..)).partition(|&(end, _)| end <= head);
        self.awaited = waiting;
        let past: Vec<(u64, i64)> = past;
        for (_, id) in past {
            if let Some(open) = self.cursors.get(&id).and_then(|it| it.open.as_ref()) {
                open.wake.notify_one();
            }
        }
    }

    pub(crate) fn close(&mut self) {
        self.closed = true;
        for feed in self.feeds.values() {
            feed.wake.notify_one();
        }
        for open in self.cursors.values().filter_map(|it| it.open.as_ref()) {
            open.wake.notify_one();
        }
    }
}
