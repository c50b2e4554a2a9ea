//! What one consumer of this process has in hand: fetched, handed out, given back. Pure; the lock
//! around it is held for microseconds.

use std::{collections::BTreeMap, sync::Arc};

use async_nats::Subject;

use crate::message::Entry;

/// Most acknowledgements remembered: what an outage swallowed of them is said again after it, or
/// when its message comes again, instead of handing that out. A server forgets no more than what
/// it had not written yet.
const REMEMBERED: usize = 1_024;

/// A message that the server counts as ours.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) entry: Arc<Entry>,
    /// Where its acknowledgement goes.
    pub(super) reply: Subject,
    /// Whether anybody may have had it before.
    pub(super) redelivered: bool,
}

/// What becomes of a message that arrives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It waits to be taken.
    Waits,
    /// It is in hand already; the server's patience for it begins anew.
    InHand,
    /// It was acknowledged, and the server did not hear it.
    AckAgain,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    ready: BTreeMap<u64, Delivery>,
    out: BTreeMap<u64, Delivery>,
    acked: BTreeMap<u64, Subject>,
}

impl Held {
    pub(super) fn arrive(&mut self, delivery: Delivery) -> Arrival {
        let seq = delivery.entry.seq;
        if let Some(reply) = self.acked.get_mut(&seq) {
            *reply = delivery.reply;
            return Arrival::AckAgain;
        }
        if let Some(held) = self.out.get_mut(&seq).or(self.ready.get_mut(&seq)) {
            held.reply = delivery.reply;
            return Arrival::InHand;
        }
        self.ready.insert(seq, delivery);
        Arrival::Waits
    }

    /// The first that waits.
    pub(super) fn first(&self) -> Option<u64> {
        self.ready.keys().next().copied()
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.ready.len()
    }

    /// How many there are, waiting or out.
    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.out.len()
    }

    /// Hands out at most `max`, in order.
    pub(super) fn take(&mut self, max: usize) -> Vec<Delivery> {
        let mut taken = Vec::with_capacity(max.min(self.ready.len()));
        while taken.len() < max
            && let Some((seq, delivery)) = self.ready.pop_first()
        {
            self.out.insert(seq, delivery.clone());
            taken.push(delivery);
        }
        taken
    }

    pub(super) fn release(&mut self, seq: u64) {
        if let Some(mut delivery) = self.out.remove(&seq) {
            delivery.redelivered = true;
            self.ready.insert(seq, delivery);
        }
    }

    /// Where to acknowledge it; none if it is not in hand.
    pub(super) fn ack(&mut self, seq: u64) -> Option<Subject> {
        let delivery = self.out.remove(&seq).or_else(|| self.ready.remove(&seq))?;
        self.acked.insert(seq, delivery.reply.clone());
        if self.acked.len() > REMEMBERED {
            self.acked.pop_first();
        }
        Some(delivery.reply)
    }

    pub(super) fn has_acked(&self, seq: u64) -> bool {
        self.acked.contains_key(&seq)
    }

    /// What was acknowledged lately.
    pub(super) fn acknowledged(&self) -> Vec<Subject> {
        self.acked.values().cloned().collect()
    }

    /// Gives up what waits, and returns where to say so.
    pub(super) fn give_back(&mut self) -> Vec<Subject> {
        let ready = std::mem::take(&mut self.ready);
        ready.into_values().map(|it| it.reply).collect()
    }

    /// Gives up everything that is out.
    pub(super) fn abandon(&mut self) -> Vec<Subject> {
        let out = std::mem::take(&mut self.out);
        out.into_values().map(|it| it.reply).collect()
    }

    /// Everything in hand.
    pub(super) fn replies(&self) -> Vec<Subject> {
        let all = self.ready.values().chain(self.out.values());
        all.map(|it| it.reply.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use webhook_model::{Topic, UtcTime};

    use super::*;

    fn delivery(seq: u64, reply: &'static str) -> Delivery {
        let topic = Topic::parse("a.b").unwrap();
        let at = UtcTime::from_micros(0);
        Delivery {
            entry: Arc::new(Entry::new(seq, topic, Bytes::new(), at, None, "i".into())),
            reply: Subject::from_static(reply),
            redelivered: false,
        }
    }

    fn seqs(taken: &[Delivery]) -> Vec<(u64, bool)> {
        taken
            .iter()
            .map(|it| (it.entry.seq, it.redelivered))
            .collect()
    }

    #[test]
    fn what_is_released_comes_first_and_says_so() {
        let mut held = Held::default();
        for seq in 1..=4 {
            assert_eq!(held.arrive(delivery(seq, "r")), Arrival::Waits);
        }
        assert_eq!(held.take(3).len(), 3);
        held.release(2);
        assert_eq!(seqs(&held.take(9)), [(2, true), (4, false)]);
        held.release(9);
        assert_eq!((held.len(), held.waiting()), (4, 0));
    }

    #[test]
    fn nothing_is_handed_out_twice_at_once_or_after_its_acknowledgement() {
        let mut held = Held::default();
        held.arrive(delivery(1, "first"));
        held.take(1);
        assert_eq!(held.arrive(delivery(1, "second")), Arrival::InHand);
        assert!(held.take(1).is_empty());
        // The newer delivery is the one that counts.
        assert_eq!(held.ack(1).unwrap().as_str(), "second");
        assert_eq!(held.ack(1), None);
        assert_eq!(held.arrive(delivery(1, "third")), Arrival::AckAgain);
    }

    #[test]
    fn what_waits_and_what_is_out_go_apart() {
        let mut held = Held::default();
        held.arrive(delivery(1, "out"));
        held.take(1);
        held.arrive(delivery(2, "waits"));
        assert_eq!(held.replies().len(), 2);
        assert_eq!(held.give_back(), [Subject::from_static("waits")]);
        assert_eq!(held.abandon(), [Subject::from_static("out")]);
        assert_eq!(held.len(), 0);
    }

    #[test]
    fn acknowledgements_are_remembered_within_bounds() {
        let mut held = Held::default();
        for seq in 1..=REMEMBERED as u64 + 1 {
            held.arrive(delivery(seq, "r"));
            held.ack(seq);
        }
        assert_eq!(held.acked.len(), REMEMBERED);
        assert_eq!(held.arrive(delivery(1, "r")), Arrival::Waits);
    }
}
