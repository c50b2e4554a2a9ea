use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};
use webhook_model::UtcTime;

/// Longest pause a receiver can ask for: a hostile or broken one must not silence its
/// subscription for good.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Reads a `Retry-After` value (RFC 9110 §10.2.3): seconds or an HTTP date, at most
/// [`MAX_RETRY_AFTER`]. A date in the past is zero; anything else is `None`.
pub fn parse_retry_after(value: &str, now: UtcTime) -> Option<Duration> {
    let value = value.trim_matches([' ', '\t']);
    let asked = if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are more seconds than are waited.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        UtcTime::from(parse_date(value)?).since(now)
    };
    Some(asked.min(MAX_RETRY_AFTER))
}

/// What an answer's dates are measured against: its own `Date`, so that a receiver whose clock is
/// wrong asks for the pause that it means; `now` where it has none.
pub(crate) fn clock(headers: &HeaderMap, now: UtcTime) -> UtcTime {
    let date = headers
        .get(header::DATE)
        .and_then(|date| date.to_str().ok());
    date.and_then(|date| parse_date(date.trim()))
        .map_or(now, UtcTime::from)
}

fn parse_date(value: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        // Tue, 24 Nov 2026 00:00:00 GMT
        let now = UtcTime::from_micros(1_795_478_400_000_000);
        for (value, expected) in [
            ("0", Some(0)),
            ("1", Some(1)),
            ("007", Some(7)),
            (" 120\t", Some(120)),
            ("3600", Some(3600)),
            ("3601", Some(3600)),
            ("18446744073709551615", Some(3600)),
            ("99999999999999999999999999", Some(3600)),
            ("Tue, 24 Nov 2026 00:00:30 GMT", Some(30)),
            ("Tuesday, 24-Nov-26 00:00:30 GMT", Some(30)),
            ("Tue Nov 24 00:00:30 2026", Some(30)),
            ("Tue, 24 Nov 2026 00:00:00 GMT", Some(0)),
            ("Mon, 23 Nov 2026 23:59:00 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(3600)),
            ("", None),
            (" ", None),
            ("-1", None),
            ("+5", None),
            ("1.5", None),
            ("1e3", None),
            ("soon", None),
            ("2026-11-24T00:00:30Z", None),
            ("٣", None),
        ] {
            assert_eq!(
                parse_retry_after(value, now),
                expected.map(Duration::from_secs),
                "{value:?}"
            );
        }
    }
}
