//! The most recent events, in memory once for all who read them.

use std::{collections::VecDeque, sync::Arc};

use super::feed::Behind;
use crate::message::Entry;

/// Holds every event above its base, up to its head.
#[derive(Debug)]
pub(crate) struct Ring {
    base: u64,
    head: u64,
    entries: VecDeque<Arc<Entry>>,
    cost: usize,
    max_entries: usize,
    max_cost: usize,
}

impl Ring {
    pub(crate) fn new(max_entries: usize, max_cost: usize) -> Self {
        Self {
            base: 0,
            head: 0,
            entries: VecDeque::new(),
            cost: 0,
            max_entries,
            max_cost,
        }
    }

    /// Empties it; what is pushed from now on lies above `head`.
    pub(crate) fn restart(&mut self, head: u64) {
        self.entries = VecDeque::new();
        self.cost = 0;
        self.base = head;
        self.head = head;
    }

    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// What it holds at most.
    pub(crate) fn bound(&self) -> Behind {
        Behind::Memory {
            bytes: self.max_cost,
            events: self.max_entries,
        }
    }

    /// Takes the next event; there is none between it and the head.
    pub(crate) fn push(&mut self, entry: Arc<Entry>) {
        debug_assert!(entry.seq > self.head, "pushed out of order");
        self.head = entry.seq;
        self.cost += entry.cost();
        self.entries.push_back(entry);
        while self.entries.len() > self.max_entries || self.cost > self.max_cost {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.cost -= oldest.cost();
            self.base = oldest.seq;
        }
    }

    /// Notes that there are no events up to and including `seq`.
    pub(crate) fn skip_to(&mut self, seq: u64) {
        self.head = self.head.max(seq);
    }

    pub(crate) fn get(&self, seq: u64) -> Option<&Arc<Entry>> {
        let first = self.entries.front()?.seq;
        // Sequence numbers have few holes in here.
        let guess = usize::try_from(seq.checked_sub(first)?).ok()?;
        if let Some(entry) = self.entries.get(guess)
            && entry.seq == seq
        {
            return Some(entry);
        }
        let index = self.entries.binary_search_by_key(&seq, |it| it.seq).ok()?;
        self.entries.get(index)
    }

    /// The events above `seq`, ascending. Complete only if `seq` is not below the base.
    pub(crate) fn above(&self, seq: u64) -> impl Iterator<Item = &Arc<Entry>> {
        let start = self.entries.partition_point(|entry| entry.seq <= seq);
        self.entries.range(start..)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use webhook_model::{Topic, UtcTime};

    use super::*;

    fn entry(seq: u64, bytes: usize) -> Arc<Entry> {
        Arc::new(Entry::new(
            seq,
            Topic::parse("a.b").unwrap(),
            Bytes::from(vec![b' '; bytes]),
            UtcTime::EPOCH,
            None,
            "j".into(),
        ))
    }

    fn seqs(ring: &Ring, above: u64) -> Vec<u64> {
        ring.above(above).map(|entry| entry.seq).collect()
    }

    #[test]
    fn the_oldest_go_by_count_and_by_memory() {
        let mut ring = Ring::new(3, 20_000);
        ring.restart(10);
        for seq in 11..=15 {
            ring.push(entry(seq, 10));
        }
        assert_eq!((ring.base(), ring.head()), (12, 15));
        assert_eq!(seqs(&ring, 0), [13, 14, 15]);
        ring.push(entry(16, 6_200));
        assert_eq!(seqs(&ring, 0), [15, 16]);
        ring.push(entry(17, 7_000));
        assert_eq!((ring.base(), ring.head()), (17, 17));
        assert!(seqs(&ring, 0).is_empty());
    }

    #[test]
    fn holes_are_no_trouble() {
        let mut ring = Ring::new(10, 1 << 20);
        ring.restart(0);
        ring.push(entry(1, 1));
        ring.skip_to(4);
        ring.push(entry(5, 1));
        ring.push(entry(9, 1));
        assert_eq!(ring.get(5).map(|it| it.seq), Some(5));
        assert_eq!(ring.get(9).map(|it| it.seq), Some(9));
        assert!(ring.get(2).is_none() && ring.get(10).is_none() && ring.get(0).is_none());
        assert_eq!(seqs(&ring, 4), [5, 9]);
    }
}
