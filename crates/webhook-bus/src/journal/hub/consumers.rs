//! The hub's part that knows consumers: what each may be given next, and what the disk has to learn
//! of them.

use std::sync::Arc;

use tokio::sync::Notify;
use webhook_model::TopicPattern;

use super::{Hub, Target};
use crate::{
    BusError, Ready,
    journal::{
        cursor::{Cursor, Save, Saved},
        ranges::Ranges,
    },
    message::Entry,
};

/// Most ring entries searched under one hold of the lock: well below a millisecond.
const SEARCH: usize = 2_048;

/// What a consumer has to do next.
#[derive(Debug)]
pub(crate) enum Step {
    Ready(Ready),
    /// Nothing yet.
    Wait(Arc<Notify>),
    /// Nothing yet, but there is more to look through.
    Again,
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

impl Hub {
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
        let gone = || BusError::NoConsumer(name.to_owned());
        let cursor = self.cursors.get_mut(&id).ok_or_else(gone)?;
        let room = cursor.room();
        let open = cursor.open.as_mut().ok_or_else(gone)?;
        if let Some(first) = open.first() {
            let past = end.is_some_and(|end| first > end);
            return Ok(Step::Ready(if past {
                Ready::Past
            } else {
                Ready::Available
            }));
        }
        let after = open.examined();
        if after >= head && !open.scanning {
            open.live = true;
        }
        let reached = if open.live { head.max(after) } else { after };
        match end {
            Some(end) if reached >= end => return Ok(Step::Ready(Ready::Past)),
            Some(end) if open.live && !self.awaited.contains(&(end, id)) => {
                self.awaited.push((end, id));
            }
            _ => {}
        }
        if open.live || open.scanning {
            return Ok(Step::Wait(open.wake.clone()));
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
        let (mut matching, mut searched) = (Vec::new(), head);
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
        Ok(Step::Again)
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
}
