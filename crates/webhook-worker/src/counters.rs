//! What a worker has done since it started: the one source of its heartbeat, its health page and
//! its metrics.

mod attempts;

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use serde_json::{Map, Value, json};
use webhook_delivery::Attempt;
use webhook_model::DeliveryStatus;

pub use self::attempts::ATTEMPT_RESULTS;
use crate::Timings;

/// Monotonic counters. Relaxed: each is read on its own.
#[derive(Debug, Default)]
pub struct Counters {
    outcomes: Outcomes,
    attempts: [AtomicU64; ATTEMPT_RESULTS.len()],
    open_requests: AtomicU64,
    seen_before: AtomicU64,
    commits: AtomicU64,
    committed: AtomicU64,
    expired: AtomicU64,
    bodies_dropped: AtomicU64,
    tripped: AtomicU64,
    recovered: AtomicU64,
    local_faults: AtomicU64,
    foreign_heartbeats: AtomicU64,
    timings: Timings,
}

/// Recorded outcomes, of a worker or of one subscription.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    delivered: AtomicU64,
    retrying: AtomicU64,
    dead: AtomicU64,
}

/// What the counters stand at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Recorded outcomes.
    pub outcomes: OutcomeTotals,
    /// Attempts, by what they came to: in the order of [`ATTEMPT_RESULTS`].
    pub attempts: [u64; ATTEMPT_RESULTS.len()],
    /// Requests that are open now.
    pub open_requests: u64,
    /// Messages that the bus handed out again and whose outcome was recorded already.
    pub seen_before: u64,
    /// Transactions of the recorder.
    pub commits: u64,
    /// Outcomes in them.
    pub committed: u64,
    /// Events that the bus's retention took before a pair had delivered them.
    pub expired: u64,
    /// Bodies of dead letters that were let go of because they took more than is kept.
    pub bodies_dropped: u64,
    /// Subscriptions that the breaker switched off.
    pub tripped: u64,
    /// Subscriptions that it switched on again.
    pub recovered: u64,
    /// Attempts that failed on this side: no descriptor, port, memory or resolver.
    pub local_faults: u64,
    /// Heartbeats of other deployments' workers that were heard on the bus.
    pub foreign_heartbeats: u64,
}

/// Outcomes by status. An event that waited and then arrived counts in two of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutcomeTotals {
    /// The receiver has it.
    pub delivered: u64,
    /// It is to be tried again.
    pub retrying: u64,
    /// It became a dead letter.
    pub dead: u64,
}

impl Outcomes {
    pub(crate) fn add(&self, status: DeliveryStatus) {
        let counter = match status {
            DeliveryStatus::Delivered => &self.delivered,
            DeliveryStatus::Retrying => &self.retrying,
            DeliveryStatus::Dead => &self.dead,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn totals(&self) -> OutcomeTotals {
        OutcomeTotals {
            delivered: self.delivered.load(Relaxed),
            retrying: self.retrying.load(Relaxed),
            dead: self.dead.load(Relaxed),
        }
    }
}

impl Counters {
    pub(crate) fn new(timings: Timings) -> Self {
        Self {
            timings,
            ..Self::default()
        }
    }

    /// An outcome that is committed. `waited` since the bus took the event.
    pub(crate) fn recorded(&self, status: DeliveryStatus, waited: Option<Duration>) {
        self.outcomes.add(status);
        if let (DeliveryStatus::Delivered, Some(waited)) = (status, waited) {
            self.timings.delivery.record(waited);
        }
    }

    pub(crate) fn attempts(&self, attempts: &[Attempt]) {
        for attempt in attempts {
            self.attempts[attempts::result(attempt)].fetch_add(1, Relaxed);
            self.timings.attempt.record(attempt.duration);
        }
    }

    pub(crate) fn request_opened(&self) {
        self.open_requests.fetch_add(1, Relaxed);
    }

    pub(crate) fn request_closed(&self) {
        self.open_requests.fetch_sub(1, Relaxed);
    }

    pub(crate) fn seen_before(&self) {
        self.seen_before.fetch_add(1, Relaxed);
    }

    pub(crate) fn committed(&self, rows: usize, took: Duration) {
        self.commits.fetch_add(1, Relaxed);
        self.committed.fetch_add(rows as u64, Relaxed);
        self.timings.commit.record(took);
        self.timings.commit_rows.record(rows as f64);
    }

    pub(crate) fn expired(&self, events: u64) {
        self.expired.fetch_add(events, Relaxed);
    }

    pub(crate) fn bodies_dropped(&self, bodies: u64) {
        self.bodies_dropped.fetch_add(bodies, Relaxed);
    }

    pub(crate) fn tripped(&self) {
        self.tripped.fetch_add(1, Relaxed);
    }

    pub(crate) fn recovered(&self) {
        self.recovered.fetch_add(1, Relaxed);
    }

    pub(crate) fn local_fault(&self) {
        self.local_faults.fetch_add(1, Relaxed);
    }

    pub(crate) fn foreign_heartbeat(&self) {
        self.foreign_heartbeats.fetch_add(1, Relaxed);
    }

    /// What they stand at now.
    pub fn totals(&self) -> Totals {
        Totals {
            outcomes: self.outcomes.totals(),
            attempts: std::array::from_fn(|result| self.attempts[result].load(Relaxed)),
            open_requests: self.open_requests.load(Relaxed),
            seen_before: self.seen_before.load(Relaxed),
            commits: self.commits.load(Relaxed),
            committed: self.committed.load(Relaxed),
            expired: self.expired.load(Relaxed),
            bodies_dropped: self.bodies_dropped.load(Relaxed),
            tripped: self.tripped.load(Relaxed),
            recovered: self.recovered.load(Relaxed),
            local_faults: self.local_faults.load(Relaxed),
            foreign_heartbeats: self.foreign_heartbeats.load(Relaxed),
        }
    }

    /// What a heartbeat tells, in the order an operator reads it.
    pub(crate) fn json(&self) -> Map<String, Value> {
        let totals = self.totals();
        [
            ("delivered", totals.outcomes.delivered),
            ("retrying", totals.outcomes.retrying),
            ("dead", totals.outcomes.dead),
            ("attempts", totals.attempts.iter().sum()),
            ("seen_before", totals.seen_before),
            ("commits", totals.commits),
            ("committed", totals.committed),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect()
    }
}
