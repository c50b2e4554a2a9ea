use std::time::Duration;

use http::HeaderValue;
use webhook_model::UtcTime;

use crate::parse_retry_after;

/// What an attempt means for the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// 2xx.
    Delivered,
    /// 429, 5xx or a network error: worth another attempt.
    Retry {
        /// How long a 429 or 503 asked not to be called.
        after: Option<Duration>,
    },
    /// No attempt will change the answer, redirects included.
    Final,
    /// 410: the receiver wants no more events at all.
    Gone,
}

/// Decides by an answer's status, and by `Retry-After` where the status gives it a meaning.
pub fn classify(status: u16, retry_after: Option<&HeaderValue>, now: UtcTime) -> Verdict {
    let after = || parse_retry_after(retry_after?.to_str().ok()?, now);
    match status {
        200..=299 => Verdict::Delivered,
        410 => Verdict::Gone,
        429 | 503 => Verdict::Retry { after: after() },
        500..=599 => Verdict::Retry { after: None },
        _ => Verdict::Final,
    }
}

/// The contract's text for an answer that is no success.
pub(crate) fn describe(status: u16, verdict: Verdict) -> Option<String> {
    match verdict {
        Verdict::Delivered => None,
        Verdict::Retry { .. } => Some(format!("http {status}")),
        Verdict::Final | Verdict::Gone => Some(format!("non-retryable {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: HeaderValue = HeaderValue::from_static("7");

    #[test]
    fn every_status() {
        let asked = Verdict::Retry {
            after: Some(Duration::from_secs(7)),
        };
        for status in 0..=1000 {
            let expected = match status {
                429 | 503 => asked,
                410 => Verdict::Gone,
                s if s / 100 == 2 => Verdict::Delivered,
                s if s / 100 == 5 => Verdict::Retry { after: None },
                _ => Verdict::Final,
            };
            let got = classify(status, Some(&AFTER), UtcTime::EPOCH);
            assert_eq!(got, expected, "{status}");
        }
    }

    #[test]
    fn an_unreadable_retry_after_is_none() {
        let none = Verdict::Retry { after: None };
        for value in [&b"soon"[..], b"\xff\xfe", b""] {
            let value = HeaderValue::from_bytes(value).unwrap();
            assert_eq!(classify(429, Some(&value), UtcTime::EPOCH), none);
        }
        assert_eq!(classify(503, None, UtcTime::EPOCH), none);
    }

    #[test]
    fn texts_of_the_contract() {
        let text = |status| describe(status, classify(status, None, UtcTime::EPOCH));
        assert_eq!(text(204), None);
        assert_eq!(text(503).as_deref(), Some("http 503"));
        assert_eq!(text(429).as_deref(), Some("http 429"));
        assert_eq!(text(404).as_deref(), Some("non-retryable 404"));
        assert_eq!(text(302).as_deref(), Some("non-retryable 302"));
        assert_eq!(text(410).as_deref(), Some("non-retryable 410"));
    }
}
