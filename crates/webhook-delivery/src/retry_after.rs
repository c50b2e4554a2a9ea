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
    use proptest::prelude::*;

    use super::*;

    /// Seconds since 1970 as HTTP writes them; up to the year 9999.
    fn date(seconds: u64) -> String {
        httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    proptest! {
        /// Whatever a receiver's clock and ours say, its two dates measure the pause.
        #[test]
        fn a_date_is_measured_by_the_answers_own(
            theirs in 0..200_000_000_000_u64,
            ours in 0..4_000_000_000_i64,
            ahead in 0..50_000_000_u64,
        ) {
            let mut headers = HeaderMap::new();
            headers.insert(header::DATE, date(theirs).parse().unwrap());
            let now = clock(&headers, UtcTime::from_micros(ours * 1_000_000));
            let asked = parse_retry_after(&date(theirs + ahead), now);
            prop_assert_eq!(asked, Some(Duration::from_secs(ahead).min(MAX_RETRY_AFTER)));
            prop_assert_eq!(parse_retry_after(&date(theirs.saturating_sub(ahead)), now), Some(Duration::ZERO));
        }
    }

    #[test]
    fn without_a_date_our_clock_counts() {
        let now = UtcTime::from_micros(7);
        for value in [None, Some("soon"), Some("")] {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::DATE, value.parse().unwrap());
            }
            assert_eq!(clock(&headers, now), now);
        }
    }

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
