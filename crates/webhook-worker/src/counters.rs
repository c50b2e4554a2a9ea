//! What a worker has done since it started, for its heartbeat and its health page.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::{Map, Value};
use webhook_model::DeliveryStatus;

/// Monotonic counters. Relaxed: each is read on its own.
#[derive(Debug, Default)]
pub struct Counters {
    delivered: AtomicU64,
    retrying: AtomicU64,
    dead: AtomicU64,
    attempts: AtomicU64,
    seen_before: AtomicU64,
    commits: AtomicU64,
    committed: AtomicU64,
}

impl Counters {
    pub(crate) fn recorded(&self, status: DeliveryStatus) {
        let counter = match status {
            DeliveryStatus::Delivered => &self.delivered,
            DeliveryStatus::Retrying => &self.retrying,
            DeliveryStatus::Dead => &self.dead,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn attempts(&self, count: usize) {
        self.attempts.fetch_add(count as u64, Relaxed);
    }

    pub(crate) fn seen_before(&self) {
        self.seen_before.fetch_add(1, Relaxed);
    }

    pub(crate) fn committed(&self, rows: usize) {
        self.commits.fetch_add(1, Relaxed);
        self.committed.fetch_add(rows as u64, Relaxed);
    }

    /// Name and value of each, in the order an operator reads them.
    pub fn snapshot(&self) -> [(&'static str, u64); 7] {
        [
            ("delivered", self.delivered.load(Relaxed)),
            ("retrying", self.retrying.load(Relaxed)),
            ("dead", self.dead.load(Relaxed)),
            ("attempts", self.attempts.load(Relaxed)),
            ("seen_before", self.seen_before.load(Relaxed)),
            ("commits", self.commits.load(Relaxed)),
            ("committed", self.committed.load(Relaxed)),
        ]
    }

    pub(crate) fn json(&self) -> Map<String, Value> {
        self.snapshot()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect()
    }
}
