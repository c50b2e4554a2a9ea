use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::time::Instant;
use webhook_model::{State, UtcTime};

use crate::{
    Timings,
    counters::{Counters, OutcomeTotals},
    heartbeat::FOREIGN_ALIVE,
    runtime::Directory,
};

/// What a worker is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Not yet reading its tables.
    Starting,
    /// Up, but delivering nothing, and why.
    Idle(String),
    /// Delivering, but not every subscription has its consumers yet.
    Opening,
    /// Delivering.
    Running,
    /// Told to stop; what is in flight may end.
    Draining,
    /// Ended by an order over the bus, and when; the process goes on.
    Stopped(UtcTime),
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Idle(reason) => write!(f, "idle: {reason}"),
            Self::Opening => f.write_str("opening its consumers"),
            Self::Running => f.write_str("running"),
            Self::Draining => f.write_str("draining"),
            Self::Stopped(at) => write!(
                f,
                "stopped by an order over the bus at {}; start decnet again to have one",
                at.rfc3339()
            ),
        }
    }
}

/// A window onto a worker for health pages and metrics. Clones share it.
#[derive(Debug, Clone)]
pub struct WorkerStatus {
    phase: Arc<RwLock<Phase>>,
    counters: Arc<Counters>,
    directory: Directory,
    /// When a worker of another deployment was last heard.
    other_worker: Arc<RwLock<Option<Instant>>>,
}

impl Default for WorkerStatus {
    fn default() -> Self {
        Self::with_timings(Timings::default())
    }
}

/// One subscription as a running worker knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionTotals {
    /// Its uuid.
    pub uuid: String,
    /// The name its operator gave it.
    pub name: Arc<str>,
    /// Its state as last read.
    pub state: State,
    /// Its outcomes since the worker started or first saw it.
    pub outcomes: OutcomeTotals,
    /// Messages taken from the bus, or rows claimed, whose outcome is not committed yet.
    pub in_hand: usize,
    /// How much longer the receiver asked to be left alone.
    pub paused_for: Option<std::time::Duration>,
    /// When the breaker probes next, if it does.
    pub next_probe_at: Option<UtcTime>,
}

impl WorkerStatus {
    /// For a worker that is to note there how long things take.
    pub fn with_timings(timings: Timings) -> Self {
        Self {
            phase: Arc::new(RwLock::new(Phase::Starting)),
            counters: Arc::new(Counters::new(timings)),
            directory: Directory::default(),
            other_worker: Arc::default(),
        }
    }

    /// The subscriptions that the worker knows, by uuid. None before it runs.
    pub fn subscriptions(&self) -> Vec<SubscriptionTotals> {
        self.directory.totals()
    }

    pub(crate) fn directory(&self) -> Directory {
        self.directory.clone()
    }

    /// What it is doing now.
    pub fn phase(&self) -> Phase {
        self.phase
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What it has done so far.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// How long ago a worker of another deployment was heard on the bus, if it counts as alive: what
    /// both deliver arrives twice.
    pub fn other_worker(&self) -> Option<Duration> {
        let last = *self
            .other_worker
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        last.map(|at| at.elapsed())
            .filter(|ago| *ago < FOREIGN_ALIVE)
    }

    pub(crate) fn heard_other_worker(&self) {
        self.counters.foreign_heartbeat();
        *self
            .other_worker
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Says that nothing is delivered for now, and why; for whoever connects the worker.
    pub fn idle(&self, reason: impl Into<String>) {
        self.set(Phase::Idle(reason.into()));
    }

    /// The worker was ordered to stop and has; for whoever goes on without it.
    pub fn stopped(&self) {
        self.set(Phase::Stopped(UtcTime::now()));
    }

    /// Every pair has its consumer.
    pub(crate) fn opened(&self) {
        let mut phase = self.phase.write().unwrap_or_else(PoisonError::into_inner);
        if *phase == Phase::Opening {
            *phase = Phase::Running;
        }
    }

    pub(crate) fn set(&self, phase: Phase) {
        *self.phase.write().unwrap_or_else(PoisonError::into_inner) = phase;
    }
}
