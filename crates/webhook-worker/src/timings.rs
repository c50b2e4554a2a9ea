use std::fmt;

use metrics::Histogram;

/// Where a worker notes how long things take. By default nowhere; whoever exports metrics hands in
/// histograms of its recorder.
#[derive(Clone)]
pub struct Timings {
    /// Seconds of each attempt, the answer's body included.
    pub attempt: Histogram,
    /// Seconds from the bus's taking an event to its delivery; of an event that is sent again,
    /// from its first recorded outcome.
    pub delivery: Histogram,
    /// Seconds of each of the recorder's transactions, waiting for the database included.
    pub commit: Histogram,
    /// Outcomes in each of them.
    pub commit_rows: Histogram,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            attempt: Histogram::noop(),
            delivery: Histogram::noop(),
            commit: Histogram::noop(),
            commit_rows: Histogram::noop(),
        }
    }
}

impl fmt::Debug for Timings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timings")
    }
}
