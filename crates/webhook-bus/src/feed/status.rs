use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::watch;

/// A window onto a feed. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct FeedStatus(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    connected: watch::Sender<bool>,
    received: AtomicU64,
    dropped: AtomicU64,
    forwarded: AtomicU64,
    /// What the journal's follower has skipped, over all connections.
    skipped: AtomicU64,
    too_large: AtomicU64,
    outages: AtomicU64,
}

/// What a feed has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedCounts {
    /// Events that came off the broker.
    pub received: u64,
    /// Those of them that were lost, because the journal did not take them.
    pub dropped: u64,
    /// Events published here that the broker was given.
    pub forwarded: u64,
    /// Those that it was not given, because they were too many at once, or too large.
    pub skipped: u64,
    /// How often the broker was lost, or not there to begin with.
    pub outages: u64,
}

impl FeedStatus {
    /// Whether the broker sends what was subscribed to, and it counts.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.0.connected.subscribe()
    }

    /// What it has done so far.
    pub fn counts(&self) -> FeedCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        FeedCounts {
            received: read(&self.0.received),
            dropped: read(&self.0.dropped),
            forwarded: read(&self.0.forwarded),
            skipped: read(&self.0.skipped) + read(&self.0.too_large),
            outages: read(&self.0.outages),
        }
    }

    pub(super) fn set_connected(&self, connected: bool) {
        self.0.connected.send_replace(connected);
    }

    pub(super) fn count_received(&self) {
        self.0.received.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many there are by now.
    pub(super) fn count_dropped(&self) -> u64 {
        self.0.dropped.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn count_forwarded(&self) {
        self.0.forwarded.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes over what was skipped in all, and returns how much of it is new.
    pub(super) fn skipped_so_far(&self, in_all: u64) -> u64 {
        in_all - self.0.skipped.swap(in_all, Ordering::Relaxed)
    }

    pub(super) fn count_too_large(&self) {
        self.0.too_large.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_outage(&self) {
        self.0.outages.fetch_add(1, Ordering::Relaxed);
    }
}
