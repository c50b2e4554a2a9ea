//! What the tasks of this process share: the ring, and who is to get what is in it. One lock, held
//! for microseconds, never across a wait or the disk.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use tokio::sync::Notify;
use webhook_model::TopicPattern;

use super::{
    cursor::{Cursor, Save, Saved},
    feed::Feed,
    ranges::Ranges,
    ring::Ring,
    trie::Trie,
};
use crate::{
    BusError, Ready,
    message::{Entry, Origin},
};

/// Most ring entries searched under one hold of the lock: well below a millisecond.
const SEARCH: usize = 2_048;

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

/// What a consumer has to do next.
#[derive(Debug)]
pub(crate) enum Step {
    Ready(Ready),
    /// Nothing yet.
    Wait(Arc<Notify>),
    /// Read the disk first.
    Search(Search),
}

/// What to look for on the disk.
#[derive(Debug)]
pub(crate) struct Search {
    generation: u64,
    pub(crate) filter: TopicPattern,
    pub(crate) after: u64,
    /// Up to and including; above it the ring has everything.
    pub(crate) end: u64,
    /// Most matches that are of use.
    pub(crate) room: usize,
}

impl Search {
    /// Everything above `after`, for nobody's cursor.
    pub(crate) fn all(filter: TopicPattern, after: u64) -> Self {
        Self {
            generation: 0,
            filter,
            after,
            end: i64::MAX as u64,
            room: usize::MAX,
        }
    }
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

    // The ring.

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

    // Consumers.

    /// Opens a consumer whose row is known. What an earlier opening acknowledged counts, even if
    /// the disk does not have it yet.
    pub(crate) fn open(
        &mut self,
        id: i64,
        name: &str,
        filter: &TopicPattern,
        saved: Saved,
    ) -> Result<u64, BusError> {
        let cursor = self
            .cursors
            .entry(id)
            .or_insert_with(|| Cursor::new(filter.clone(), saved));
        if cursor.open.is_some() {
            return Err(BusError::ConsumerOpen(name.to_owned()));
        }
        self.next += 1;
        cursor.open(self.next);
        self.names.insert(name.to_owned(), id);
        self.trie.insert(filter, Target::Cursor(id));
        Ok(self.ring.head())
    }

    /// Gives back what an open consumer holds.
    pub(crate) fn shut(&mut self, id: i64) {
        let head = self.ring.head();
        let Some(cursor) = self.cursors.get_mut(&id) else {
            return;
        };
        if cursor.open.as_ref().is_some_and(|open| open.live) {
            cursor.nothing_up_to(head);
        }
        cursor.shut();
        let filter = cursor.filter.clone();
        self.trie.remove(&filter, Target::Cursor(id));
    }

    /// Forgets a consumer that is no longer on the disk.
    pub(crate) fn end(&mut self, name: &str) {
        let Some(id) = self.names.remove(name) else {
            return;
        };
        if let Some(cursor) = self.cursors.remove(&id)
            && let Some(open) = &cursor.open
        {
            open.wake.notify_one();
            self.trie.remove(&cursor.filter, Target::Cursor(id));
        }
        self.dirty.remove(&id);
    }

    /// What a consumer that wants a message, or to come past `end`, has to do.
    pub(crate) fn step(&mut self, id: i64, name: &str, end: Option<u64>) -> Result<Step, BusError> {
        if self.closed {
            return Err(BusError::Closed);
        }
        let (base, head) = (self.ring.base(), self.ring.head());
        let Some(cursor) = self.cursors.get_mut(&id) else {
            return Err(BusError::NoConsumer(name.to_owned()));
        };
        loop {
            let room = cursor.room();
            let Some(open) = &mut cursor.open else {
                return Err(BusError::NoConsumer(name.to_owned()));
            };
            if let Some(first) = open.first() {
                let past = end.is_some_and(|end| first > end);
                return Ok(Step::Ready(if past {
                    Ready::Past
                } else {
                    Ready::Available
                }));
            }
            let reached = if open.live { head } else { open.examined() };
            if let Some(end) = end
                && reached >= end
            {
                return Ok(Step::Ready(Ready::Past));
            }
            if open.live || open.scanning {
                let wake = open.wake.clone();
                if let (true, Some(end)) = (open.live, end)
                    && !self.awaited.contains(&(end, id))
                {
                    self.awaited.push((end, id));
                }
                return Ok(Step::Wait(wake));
            }
            let after = open.examined();
            if after >= head {
                open.live = true;
                continue;
            }
            if after < base {
                open.scanning = true;
                return Ok(Step::Search(Search {
                    generation: open.generation,
                    filter: cursor.filter.clone(),
                    after,
                    end: base,
                    room,
                }));
            }
            let mut matching = Vec::new();
            let mut searched = head;
            for (count, entry) in self.ring.above(after).enumerate() {
                if count == SEARCH || matching.len() == room {
                    break;
                }
                searched = entry.seq;
                if cursor.filter.matches(&entry.topic) {
                    matching.push(entry.seq);
                }
            }
            cursor.found(&matching, searched);
        }
    }

    /// Takes note of what a search of the disk found; none when it failed.
    pub(crate) fn searched(&mut self, id: i64, search: &Search, found: Option<(Vec<u64>, u64)>) {
        let Some(cursor) = self.cursors.get_mut(&id) else {
            return;
        };
        let generation = cursor.open.as_ref().map(|open| open.generation);
        if generation != Some(search.generation) {
            // It was opened again meanwhile, and starts over from its floor.
            return;
        }
        if let Some((matching, end)) = found {
            cursor.found(&matching, end);
        }
        if let Some(open) = &mut cursor.open {
            open.scanning = false;
            open.wake.notify_one();
        }
    }

    /// The next messages of a consumer, each with its ring entry if there is one.
    pub(crate) fn peek(&self, id: i64, max: usize) -> Vec<(u64, Option<Arc<Entry>>)> {
        let open = self.cursors.get(&id).and_then(|it| it.open.as_ref());
        (open.map_or(Vec::new(), |open| open.next(max)).into_iter())
            .map(|seq| (seq, self.ring.get(seq).cloned()))
            .collect()
    }

    /// Hands one out, unless it was acknowledged meanwhile; says whether it was out before.
    pub(crate) fn hand_out(&mut self, id: i64, seq: u64) -> Option<bool> {
        self.cursors.get_mut(&id)?.open.as_mut()?.hand_out(seq)
    }

    pub(crate) fn release(&mut self, id: i64, seq: u64) {
        if let Some(open) = self.cursors.get_mut(&id).and_then(|it| it.open.as_mut()) {
            open.release(seq);
        }
    }

    pub(crate) fn ack(&mut self, id: i64, seq: u64) {
        if let Some(cursor) = self.cursors.get_mut(&id) {
            cursor.ack(seq);
            self.dirty.insert(id);
        }
    }

    // What the disk has to learn.

    pub(crate) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// What is to be written: acknowledgements, and with `all` also how far idle consumers are.
    pub(crate) fn saves(&mut self, all: bool) -> Vec<Save> {
        let head = self.ring.head();
        let dirty = std::mem::take(&mut self.dirty);
        let mut saves = Vec::new();
        let mut save = |id: i64, cursor: &mut Cursor| {
            if cursor.open.as_ref().is_some_and(|open| open.live) {
                cursor.nothing_up_to(head);
            }
            saves.extend(cursor.save(id));
        };
        if all {
            for (&id, cursor) in &mut self.cursors {
                save(id, cursor);
            }
        } else {
            for id in dirty {
                if let Some(cursor) = self.cursors.get_mut(&id) {
                    save(id, cursor);
                }
            }
        }
        saves
    }

    pub(crate) fn saved(&mut self, saves: Vec<Save>) {
        for save in saves {
            if let Some(cursor) = self.cursors.get_mut(&save.id) {
                cursor.saved(save.next);
            }
        }
    }

    pub(crate) fn unsaved(&mut self, saves: &[Save]) {
        self.dirty.extend(saves.iter().map(|save| save.id));
    }

    // Retention.

    /// The oldest message that any consumer has in hand.
    pub(crate) fn oldest_out(&self) -> Option<u64> {
        let open = self.cursors.values().filter_map(|it| it.open.as_ref());
        open.filter_map(|open| open.oldest_out()).min()
    }

    /// What a consumer that this process knows has acknowledged, or need not.
    pub(crate) fn up_to_date(&mut self, id: i64) -> Option<Ranges> {
        let head = self.ring.head();
        let cursor = self.cursors.get_mut(&id)?;
        if cursor.open.as_ref().is_some_and(|open| open.live) {
            cursor.nothing_up_to(head);
        }
        Some(cursor.acked().clone())
    }

    /// Events up to and including `seq` are gone from the disk.
    pub(crate) fn expire(&mut self, id: i64, seq: u64) {
        if let Some(cursor) = self.cursors.get_mut(&id) {
            cursor.expire(seq);
            self.dirty.insert(id);
        }
    }

    // Feeds.

    pub(crate) fn add_feed(&mut self, origin: Option<Origin>) -> u64 {
        self.next += 1;
        let feed = Feed::new(origin, self.ring.head());
        self.feeds.insert(self.next, feed);
        self.next
    }

    pub(crate) fn remove_feed(&mut self, id: u64) {
        if let Some(feed) = self.feeds.remove(&id) {
            for pattern in &feed.patterns {
                self.trie.remove(pattern, Target::Feed(id));
            }
        }
    }

    /// Adds a pattern to a feed; false if it has `most` already.
    pub(crate) fn subscribe(&mut self, id: u64, pattern: &TopicPattern, most: usize) -> bool {
        let Some(feed) = self.feeds.get_mut(&id) else {
            return false;
        };
        if feed.patterns.contains(pattern) {
            return true;
        }
        if feed.patterns.len() >= most {
            return false;
        }
        feed.patterns.push(pattern.clone());
        self.trie.insert(pattern, Target::Feed(id));
        true
    }

    pub(crate) fn unsubscribe(&mut self, id: u64, pattern: &TopicPattern) {
        if let Some(feed) = self.feeds.get_mut(&id)
            && let Some(index) = feed.patterns.iter().position(|it| it == pattern)
        {
            feed.patterns.swap_remove(index);
            self.trie.remove(pattern, Target::Feed(id));
        }
    }

    /// At most `max` events of a feed, and how many it skipped so far. None when closed; a waker
    /// when there are none.
    pub(crate) fn feed(&mut self, id: u64, max: usize) -> Option<Result<Fed, Arc<Notify>>> {
        let feed = self.feeds.get_mut(&id)?;
        let mut entries = Vec::new();
        while entries.len() < max
            && let Some(seq) = feed.pop()
        {
            match self.ring.get(seq) {
                Some(entry) => entries.push(entry.clone()),
                None => feed.skip(),
            }
        }
        if !entries.is_empty() {
            let skipped = feed.skipped();
            return Some(Ok(Fed { entries, skipped }));
        }
        (!self.closed).then(|| Err(feed.wake.clone()))
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

/// Events of a feed.
#[derive(Debug)]
pub(crate) struct Fed {
    pub(crate) entries: Vec<Arc<Entry>>,
    /// In all, since it began.
    pub(crate) skipped: u64,
}
