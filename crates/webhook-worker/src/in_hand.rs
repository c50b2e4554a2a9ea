//! The sequence numbers of one pair that are taken from the bus and not yet let go of.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// Clones share the set.
#[derive(Debug, Clone, Default)]
pub(crate) struct InHand {
    seqs: Arc<Mutex<BTreeSet<u64>>>,
    changed: Arc<Notify>,
}

impl InHand {
    pub(crate) fn insert(&self, seq: u64) {
        self.lock().insert(seq);
    }

    pub(crate) fn remove(&self, seq: u64) {
        self.lock().remove(&seq);
        self.changed.notify_waiters();
    }

    /// Whether anything above `seq` is in hand.
    pub(crate) fn holds_above(&self, seq: u64) -> bool {
        self.lock().last().is_some_and(|last| *last > seq)
    }

    /// Waits until nothing above `seq` is in hand. Cancel-safe.
    pub(crate) async fn nothing_above(&self, seq: u64) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !self.holds_above(seq) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until nothing is in hand. Cancel-safe.
    pub(crate) async fn empty(&self) {
        // Sequence numbers begin at 1.
        self.nothing_above(0).await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.seqs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_for_what_is_above() {
        let in_hand = InHand::default();
        in_hand.insert(5);
        in_hand.insert(9);
        in_hand.nothing_above(9).await;
        let waiting = tokio::spawn({
            let in_hand = in_hand.clone();
            async move { in_hand.nothing_above(7).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        in_hand.remove(9);
        waiting.await.unwrap();
    }
}
