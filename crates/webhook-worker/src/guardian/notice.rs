use webhook_model::UtcTime;
use webhook_store::{FailureCount, SubscriptionView};

use crate::breaker::Probe;

/// What the guardian is told.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Failed rounds in a row, as committed.
    Failures {
        uuid: String,
        epoch: i64,
        count: u32,
    },
    /// The receiver answered 410.
    Gone {
        uuid: String,
        epoch: i64,
        error: String,
    },
    /// What the test ping came to that was sent before a trip.
    Controlled {
        uuid: String,
        epoch: i64,
        result: Probed,
    },
    /// What the probe came to.
    Probed {
        uuid: String,
        epoch: i64,
        result: Probed,
    },
    /// The receiver asked for no attempt before.
    Paused {
        uuid: String,
        epoch: i64,
        until: UtcTime,
        error: String,
    },
    /// The tables were read.
    Reloaded(Vec<SubscriptionView>),
}

impl Notice {
    pub(crate) fn failures(counted: FailureCount) -> Self {
        Self::Failures {
            uuid: counted.subscription,
            epoch: counted.epoch,
            count: counted.consecutive_failures,
        }
    }
}

/// What a probe came to.
#[derive(Debug)]
pub(crate) enum Probed {
    /// It was tried, or there was nothing to try.
    Ended { probe: Probe, error: String },
    /// It was cut short.
    Released,
}
