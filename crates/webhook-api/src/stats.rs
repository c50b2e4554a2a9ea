//! What an API has done since it started, for whoever exports metrics.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

/// What stands for a route or a method that the table does not have: a client must not be able to
/// make up names.
const OTHER: &str = "other";

/// Counters of an API. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct ApiStats(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    answers: Mutex<BTreeMap<Answered, u64>>,
    events_taken: AtomicU64,
    events_refused: AtomicU64,
    pings_refused: AtomicU64,
    connections_open: AtomicUsize,
    connections_admitted: AtomicU64,
    connections_gave_way: AtomicU64,
    connections_refused: AtomicU64,
    connections_timed_out: AtomicU64,
}

/// What became of connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Open now.
    pub open: usize,
    /// All that were let in.
    pub admitted: u64,
    /// Ended because others needed the room.
    pub gave_way: u64,
    /// Refused because all were in use.
    pub refused: u64,
    /// Ended because their clients took too long to send or to read.
    pub timed_out: u64,
}

/// A kind of answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answered {
    /// The route as the table writes it, e.g. `/api/v1/webhooks/{uuid}`; `other` for all that are
    /// none.
    pub route: &'static str,
    /// The route's method, GET for HEAD, too; `other` for one that the route does not take.
    pub method: &'static str,
    /// The answer's status.
    pub status: u16,
}

impl ApiStats {
    /// How many answers of each kind there were.
    pub fn answers(&self) -> BTreeMap<Answered, u64> {
        let answers = self.0.answers.lock();
        answers.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Events that were published and taken by the bus.
    pub fn events_taken(&self) -> u64 {
        self.0.events_taken.load(Relaxed)
    }

    /// Events that were to be published and that the bus would not or could not take.
    pub fn events_refused(&self) -> u64 {
        self.0.events_refused.load(Relaxed)
    }

    /// Test pings that the egress guard did not let out.
    pub fn pings_refused(&self) -> u64 {
        self.0.pings_refused.load(Relaxed)
    }

    /// What became of connections.
    pub fn connections(&self) -> ConnectionCounts {
        ConnectionCounts {
            open: self.0.connections_open.load(Relaxed),
            admitted: self.0.connections_admitted.load(Relaxed),
            gave_way: self.0.connections_gave_way.load(Relaxed),
            refused: self.0.connections_refused.load(Relaxed),
            timed_out: self.0.connections_timed_out.load(Relaxed),
        }
    }

    pub(crate) fn connections_open(&self, count: usize) {
        self.0.connections_open.store(count, Relaxed);
    }

    pub(crate) fn connection_admitted(&self) {
        self.0.connections_admitted.fetch_add(1, Relaxed);
    }

    pub(crate) fn connection_gave_way(&self) {
        self.0.connections_gave_way.fetch_add(1, Relaxed);
    }

    pub(crate) fn connection_refused(&self) {
        self.0.connections_refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn connection_timed_out(&self) {
        self.0.connections_timed_out.fetch_add(1, Relaxed);
    }

    /// A request that could not be read has no route.
    pub(crate) fn unreadable(&self, status: u16) {
        self.answered(None, None, status);
    }

    pub(crate) fn answered(
        &self,
        route: Option<&'static str>,
        method: Option<&'static str>,
        status: u16,
    ) {
        let kind = Answered {
            route: route.unwrap_or(OTHER),
            method: method.unwrap_or(OTHER),
            status,
        };
        let mut answers = (self.0.answers.lock()).unwrap_or_else(PoisonError::into_inner);
        *answers.entry(kind).or_default() += 1;
    }

    pub(crate) fn published(&self, events: usize, taken: bool) {
        let counter = if taken {
            &self.0.events_taken
        } else {
            &self.0.events_refused
        };
        counter.fetch_add(events as u64, Relaxed);
    }

    pub(crate) fn ping_refused(&self) {
        self.0.pings_refused.fetch_add(1, Relaxed);
    }
}
