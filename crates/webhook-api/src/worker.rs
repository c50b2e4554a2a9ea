//! What the API knows of a worker in the same process: what that says of itself, and nothing else.

use std::{fmt, sync::Arc};

/// A window onto the worker of this process.
#[derive(Clone)]
pub struct WorkerHere(Arc<dyn Fn() -> WorkerReport + Send + Sync>);

/// How it fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerReport {
    /// What it is doing, in words.
    pub doing: String,
    /// Whether it does what it is there for.
    pub ready: bool,
}

impl WorkerHere {
    /// Asks by `report`, at every request anew.
    pub fn new(report: impl Fn() -> WorkerReport + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }

    pub(crate) fn report(&self) -> WorkerReport {
        (self.0)()
    }
}

impl fmt::Debug for WorkerHere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WorkerHere").field(&self.report()).finish()
    }
}
