use http::HeaderValue;
use webhook_model::UtcTime;

use crate::{EndpointVerdict, EventVerdict, Verdict, parse_retry_after};

/// Decides by an answer's status, and by `Retry-After` where the status gives it a meaning.
pub fn classify(status: u16, retry_after: Option<&HeaderValue>, now: UtcTime) -> Verdict {
    use EndpointVerdict::{Answers, Gone, Objects, Silent};
    let after = || parse_retry_after(retry_after?.to_str().ok()?, now);
    match status {
        200..=299 => Verdict::DELIVERED,
        429 => Verdict::not_yet(Answers, after()),
        // A gateway's words: nobody behind it has answered.
        503 => Verdict::not_yet(Silent, after()),
        502 | 504 => Verdict::not_yet(Silent, None),
        500..=599 => Verdict::not_yet(Answers, None),
        410 => Verdict::refused(Gone),
        300..=399 | 401 | 403 | 404 | 405 | 407 => Verdict::refused(Objects),
        _ => Verdict::refused(Answers),
    }
}

/// The contract's text for an answer that is no success.
pub(crate) fn describe(status: u16, verdict: Verdict) -> Option<String> {
    match verdict {
        Verdict::Receiver { event, .. } => match event {
            EventVerdict::Delivered => None,
            EventVerdict::NotYet { .. } => Some(format!("http {status}")),
            EventVerdict::Refused => Some(format!("non-retryable {status}")),
        },
        Verdict::Ourselves(_) => None,
    }
}

/// How servers put it that plain HTTP came to their TLS port: nginx, Go, Apache.
const WANT_TLS: [&[u8]; 3] = [
    b"plain HTTP request was sent to HTTPS port",
    b"sent an HTTP request to an HTTPS server",
    b"speaking plain HTTP to an SSL-enabled server port",
];

/// Whether an answer to a plain request says that the port speaks TLS.
pub(crate) fn wants_tls(status: u16, body: &[u8]) -> bool {
    let says = |text: &[u8]| body.windows(text.len()).any(|part| part == text);
    status == 400 && WANT_TLS.into_iter().any(says)
}

/// What such an answer comes to: it speaks of the URL, not of the event.
pub(crate) fn wanted_tls(status: u16) -> (Verdict, Option<String>) {
    let text = format!(
        "non-retryable {status}: the receiver speaks TLS on this port; write its URL with https://"
    );
    (Verdict::refused(EndpointVerdict::Objects), Some(text))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const AFTER: HeaderValue = HeaderValue::from_static("7");

    #[test]
    fn every_status() {
        use EndpointVerdict::{Answers, Gone, Objects, Silent};
        let asked = Some(Duration::from_secs(7));
        for status in 0..=1000 {
            let expected = match status {
                429 => Verdict::not_yet(Answers, asked),
                503 => Verdict::not_yet(Silent, asked),
                502 | 504 => Verdict::SILENT,
                410 => Verdict::refused(Gone),
                401 | 403 | 404 | 405 | 407 => Verdict::refused(Objects),
                s if s / 100 == 2 => Verdict::DELIVERED,
                s if s / 100 == 3 => Verdict::refused(Objects),
                s if s / 100 == 5 => Verdict::not_yet(Answers, None),
                _ => Verdict::refused(Answers),
            };
            let got = classify(status, Some(&AFTER), UtcTime::EPOCH);
            assert_eq!(got, expected, "{status}");
        }
    }

    #[test]
    fn an_unreadable_retry_after_is_none() {
        let none = Verdict::not_yet(EndpointVerdict::Answers, None);
        for value in [&b"soon"[..], b"\xff\xfe", b""] {
            let value = HeaderValue::from_bytes(value).unwrap();
            assert_eq!(classify(429, Some(&value), UtcTime::EPOCH), none);
        }
        assert_eq!(classify(503, None, UtcTime::EPOCH), Verdict::SILENT);
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
