//! The classes that attempts are counted in.

use webhook_delivery::{Attempt, FailureKind};

/// What an attempt came to: the class of its answer's status, else the kind of its failure.
pub const ATTEMPT_RESULTS: [&str; 12] = [
    "2xx",
    "3xx",
    "4xx",
    "5xx",
    "refused",
    "dns",
    "connect",
    "tls",
    "timeout",
    "closed",
    "malformed",
    "other",
];

/// The place of the attempt's result in [`ATTEMPT_RESULTS`].
pub(super) fn result(attempt: &Attempt) -> usize {
    match (attempt.status, attempt.failure) {
        (Some(200..=299), _) => 0,
        (Some(300..=399), _) => 1,
        (Some(400..=499), _) => 2,
        (Some(500..=599), _) => 3,
        (_, Some(FailureKind::Refused)) => 4,
        (_, Some(FailureKind::Dns)) => 5,
        (_, Some(FailureKind::Connect)) => 6,
        (_, Some(FailureKind::Tls)) => 7,
        (_, Some(FailureKind::Timeout)) => 8,
        (_, Some(FailureKind::Closed)) => 9,
        (_, Some(FailureKind::Malformed)) => 10,
        (_, Some(FailureKind::Other) | None) => 11,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use webhook_delivery::Verdict;
    use webhook_model::UtcTime;

    use super::*;

    fn check(status: Option<u16>, failure: Option<FailureKind>, expected: &str) {
        let attempt = Attempt {
            at: UtcTime::EPOCH,
            duration: Duration::ZERO,
            status,
            verdict: Verdict::SILENT,
            error: None,
            failure,
            answer: bytes::Bytes::new(),
        };
        assert_eq!(ATTEMPT_RESULTS[result(&attempt)], expected);
    }

    #[test]
    fn every_result_has_its_class() {
        check(Some(204), None, "2xx");
        check(Some(301), None, "3xx");
        check(Some(404), None, "4xx");
        check(Some(503), None, "5xx");
        check(Some(101), None, "other");
        for kind in [
            FailureKind::Refused,
            FailureKind::Dns,
            FailureKind::Connect,
            FailureKind::Tls,
            FailureKind::Timeout,
            FailureKind::Closed,
            FailureKind::Malformed,
            FailureKind::Other,
        ] {
            check(None, Some(kind), kind.as_str());
        }
    }
}
