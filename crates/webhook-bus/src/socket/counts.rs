use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// How many clients of the socket were cut off or not let in since it was bound.
#[derive(Debug, Clone, Default)]
pub struct SocketCounts(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    gave_way: AtomicU64,
    refused: AtomicU64,
}

impl SocketCounts {
    /// Those that were cut off so that a new one had a place.
    pub fn gave_way(&self) -> u64 {
        self.0.gave_way.load(Ordering::Relaxed)
    }

    /// Those that found every place taken.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    pub(super) fn one_gave_way(&self) {
        self.0.gave_way.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn one_refused(&self) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
    }
}
