//! Failures of this side: no descriptor, port or memory left, no resolver. They are nobody's failure,
//! so nobody's schedule, window or breaker hears of them; an operator does, once a minute.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use webhook_delivery::{Attempt, LocalFault};

/// Longest pause between two tries of what failed on this side.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Least time between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// When this process last warned of a fault of its own.
#[derive(Debug, Default)]
pub(crate) struct LocalFaults(Mutex<Option<Instant>>);

impl LocalFaults {
    /// Tells the operator, unless that was done a moment ago.
    pub(crate) fn tell(&self, fault: LocalFault, attempt: Option<&Attempt>) {
        let error = attempt.and_then(|attempt| attempt.error.as_deref());
        if self.is_due() {
            tracing::warn!(
                fault = fault.as_str(),
                error,
                "nothing can be sent: this machine is at fault, no receiver is; trying again"
            );
        } else {
            tracing::debug!(
                fault = fault.as_str(),
                error,
                "an attempt failed on this side"
            );
        }
    }

    fn is_due(&self) -> bool {
        let mut warned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = warned.is_none_or(|at| at.elapsed() >= WARN_EVERY);
        if due {
            *warned = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_warning_a_minute() {
        let faults = LocalFaults::default();
        assert!(faults.is_due() && !faults.is_due());
        tokio::time::advance(WARN_EVERY).await;
        assert!(faults.is_due());
    }
}
