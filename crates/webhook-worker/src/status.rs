use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use crate::counters::Counters;

/// What a worker is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Not yet reading its tables.
    Starting,
    /// Up, but delivering nothing, and why.
    Idle(String),
    /// Delivering.
    Running,
    /// Told to stop; what is in flight may end.
    Draining,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Idle(reason) => write!(f, "idle: {reason}"),
            Self::Running => f.write_str("running"),
            Self::Draining => f.write_str("draining"),
        }
    }
}

/// A window onto a worker for health pages. Clones share it.
#[derive(Debug, Clone)]
pub struct WorkerStatus {
    phase: Arc<RwLock<Phase>>,
    counters: Arc<Counters>,
}

impl Default for WorkerStatus {
    fn default() -> Self {
        Self {
            phase: Arc::new(RwLock::new(Phase::Starting)),
            counters: Arc::default(),
        }
    }
}

impl WorkerStatus {
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

    /// Says that nothing is delivered for now, and why; for whoever connects the worker.
    pub fn idle(&self, reason: impl Into<String>) {
        self.set(Phase::Idle(reason.into()));
    }

    pub(crate) fn set(&self, phase: Phase) {
        *self.phase.write().unwrap_or_else(PoisonError::into_inner) = phase;
    }
}
