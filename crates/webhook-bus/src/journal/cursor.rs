//! What is known of one consumer: what it has acknowledged, and, while it is open, what it may be
//! given next. Pure state; the hub feeds it, the writer puts it on the disk.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use tokio::sync::Notify;
use webhook_model::TopicPattern;

use super::ranges::Ranges;

/// Most sequence numbers queued for a consumer. It takes 64 at a time; beyond this it looks for
/// more itself, in the ring or on the disk.
const QUEUE: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) filter: TopicPattern,
    /// Acknowledged, or not matching.
    acked: Ranges,
    /// The highest acknowledgement: what does not match above it need not be written down.
    top_ack: u64,
    saved: Saved,
    pub(crate) open: Option<Open>,
}

/// A consumer's acknowledgements as the disk has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) floor: u64,
    pub(crate) ranges: Vec<(u64, u64)>,
}

/// What brings the disk from one [`Saved`] to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Save {
    pub(crate) id: i64,
    pub(crate) removed: Vec<u64>,
    pub(crate) put: Vec<(u64, u64)>,
    pub(crate) next: Saved,
}

/// An open consumer.
#[derive(Debug)]
pub(crate) struct Open {
    /// Tells this opening from earlier ones.
    pub(crate) generation: u64,
    /// Every event up to here is acknowledged, does not match, or is in one of the sets below.
    examined: u64,
    /// Matching, never handed out, ascending.
    queue: VecDeque<u64>,
    /// Handed out and given back.
    released: BTreeSet<u64>,
    /// Handed out.
    out: BTreeSet<u64>,
    /// Whether new events are queued as they come. Otherwise it is behind and has to look.
    pub(crate) live: bool,
    /// Whether somebody reads the disk for it right now.
    pub(crate) scanning: bool,
    pub(crate) wake: Arc<Notify>,
}

impl Saved {
    pub(crate) fn acked(&self) -> Ranges {
        let mut acked = Ranges::up_to(self.floor);
        for &(lo, hi) in &self.ranges {
            acked.insert(lo, hi);
        }
        acked
    }
}

impl Cursor {
    pub(crate) fn new(filter: TopicPattern, saved: Saved) -> Self {
        Self {
            filter,
            top_ack: saved.ranges.last().map_or(saved.floor, |&(_, hi)| hi),
            acked: saved.acked(),
            saved,
            open: None,
        }
    }

    pub(crate) fn open(&mut self, generation: u64) {
        self.open = Some(Open {
            generation,
            examined: self.acked.floor(),
            queue: VecDeque::new(),
            released: BTreeSet::new(),
            out: BTreeSet::new(),
            live: false,
            scanning: false,
            wake: Arc::new(Notify::new()),
        });
    }

    pub(crate) fn acked(&self) -> &Ranges {
        &self.acked
    }

    /// Takes note of a new event that matches.
    pub(crate) fn offer(&mut self, seq: u64) {
        if self.open.as_ref().is_some_and(|open| open.live) {
            self.queue_up(seq);
        }
    }

    /// How many more can be queued.
    pub(crate) fn room(&self) -> usize {
        self.open
            .as_ref()
            .map_or(0, |open| QUEUE - open.queue.len())
    }

    /// Takes note of the next event that matches; false if it has no room, and is behind now.
    fn queue_up(&mut self, seq: u64) -> bool {
        let Some(open) = &mut self.open else {
            return false;
        };
        if open.queue.len() >= QUEUE {
            open.live = false;
            return false;
        }
        self.acked.insert(open.examined + 1, seq.saturating_sub(1));
        open.examined = open.examined.max(seq);
        if !self.acked.contains(seq) {
            open.queue.push_back(seq);
            open.wake.notify_one();
        }
        true
    }

    /// Takes note of what a search found: these match, and nothing else up to and including `end`.
    pub(crate) fn found(&mut self, matching: &[u64], end: u64) {
        for &seq in matching {
            let examined = self.open.as_ref().map_or(u64::MAX, |open| open.examined);
            if seq > examined && !self.queue_up(seq) {
                return;
            }
        }
        self.nothing_up_to(end);
    }

    /// Nothing that was not noted matches up to and including `end`.
    pub(crate) fn nothing_up_to(&mut self, end: u64) {
        if let Some(open) = &mut self.open
            && end > open.examined
        {
            self.acked.insert(open.examined + 1, end);
            open.examined = end;
        }
    }

    pub(crate) fn ack(&mut self, seq: u64) {
        self.acked.insert(seq, seq);
        self.top_ack = self.top_ack.max(seq);
        if let Some(open) = &mut self.open
            && !open.out.remove(&seq)
            && !open.released.remove(&seq)
            && let Ok(index) = open.queue.binary_search(&seq)
        {
            // From before it was opened again.
            open.queue.remove(index);
        }
    }

    /// Acknowledges everything up to and including `seq`: it is gone from the disk.
    pub(crate) fn expire(&mut self, seq: u64) {
        self.acked.insert(1, seq);
        if let Some(open) = &mut self.open {
            open.examined = open.examined.max(seq);
            open.released = open.released.split_off(&(seq + 1));
            let gone = open.queue.partition_point(|&it| it <= seq);
            open.queue.drain(..gone);
        }
    }

    /// Everything unacknowledged goes back; what is acknowledged stays.
    pub(crate) fn shut(&mut self) {
        self.open = None;
    }

    /// What has to be written, if anything.
    pub(crate) fn save(&self, id: i64) -> Option<Save> {
        let next = Saved {
            floor: self.acked.floor(),
            ranges: self.acked.above(self.top_ack).collect(),
        };
        if next == self.saved {
            return None;
        }
        let same = |it: &&(u64, u64)| !self.saved.ranges.contains_sorted(it);
        let gone = |it: &&(u64, u64)| !next.ranges.has_start(it.0);
        Some(Save {
            id,
            removed: (self.saved.ranges.iter())
                .filter(gone)
                .map(|it| it.0)
                .collect(),
            put: next.ranges.iter().filter(same).copied().collect(),
            next,
        })
    }

    pub(crate) fn saved(&mut self, saved: Saved) {
        self.saved = saved;
    }
}

impl Open {
    pub(crate) fn examined(&self) -> u64 {
        self.examined
    }

    /// The first that can be handed out.
    pub(crate) fn first(&self) -> Option<u64> {
        match (self.released.first(), self.queue.front()) {
            (Some(&a), Some(&b)) => Some(a.min(b)),
            (a, b) => a.or(b).copied(),
        }
    }

    /// The first `max` that can be handed out, ascending.
    pub(crate) fn next(&self, max: usize) -> Vec<u64> {
        let mut seqs: Vec<u64> = (self.released.iter().take(max))
            .chain(self.queue.iter().take(max))
            .copied()
            .collect();
        seqs.sort_unstable();
        seqs.truncate(max);
        seqs
    }

    /// Hands one out. None if it was acknowledged meanwhile; else whether it was out before.
    pub(crate) fn hand_out(&mut self, seq: u64) -> Option<bool> {
        let again = self.released.remove(&seq);
        if !again {
            let index = self.queue.binary_search(&seq).ok()?;
            self.queue.remove(index);
        }
        self.out.insert(seq);
        Some(again)
    }

    pub(crate) fn release(&mut self, seq: u64) {
        if self.out.remove(&seq) {
            self.released.insert(seq);
            self.wake.notify_one();
        }
    }

    /// The oldest message that is handed out.
    pub(crate) fn oldest_out(&self) -> Option<u64> {
        self.out.first().copied()
    }
}

/// Looks in ranges that are sorted by their start.
trait Sorted {
    fn has_start(&self, lo: u64) -> bool;
    fn contains_sorted(&self, range: &(u64, u64)) -> bool;
}

impl Sorted for Vec<(u64, u64)> {
    fn has_start(&self, lo: u64) -> bool {
        self.binary_search_by_key(&lo, |it| it.0).is_ok()
    }

    fn contains_sorted(&self, range: &(u64, u64)) -> bool {
        self.binary_search(range).is_ok()
    }
}

#[cfg(test)]
mod tests;
