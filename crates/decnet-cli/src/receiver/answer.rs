use std::time::Duration;

use hyper::StatusCode;

/// What a receiver answers to deliveries whose signatures are right.
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    /// The status of those it fails.
    pub(crate) failure: StatusCode,
    /// The share it fails, 0 to 1.
    pub(crate) fail_rate: f64,
    /// How long it takes to answer.
    pub(crate) delay: Duration,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            failure: StatusCode::INTERNAL_SERVER_ERROR,
            fail_rate: 0.0,
            delay: Duration::ZERO,
        }
    }
}

impl Answers {
    /// The status of the next answer.
    pub(crate) fn status(&self) -> StatusCode {
        // Random numbers are below 1, so 0 never fails and 1 always does.
        if rand::random::<f64>() < self.fail_rate {
            self.failure
        } else {
            StatusCode::NO_CONTENT
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rates_at_both_ends_are_certain() {
        let at = |fail_rate| Answers {
            fail_rate,
            ..Answers::default()
        };
        assert!((0..1_000).all(|_| at(0.0).status() == StatusCode::NO_CONTENT));
        assert!((0..1_000).all(|_| at(1.0).status() == StatusCode::INTERNAL_SERVER_ERROR));
    }
}
