//! `Retry-After`, as a receiver may write it.

use std::time::{Duration, SystemTime};

use arbitrary::{Result, Unstructured};
use http::HeaderValue;
use webhook_delivery::{EventVerdict, MAX_RETRY_AFTER, Verdict, classify, parse_retry_after};
use webhook_model::UtcTime;

/// The last second of the year 9999, which HTTP's dates end with.
const LAST_SECOND: i64 = 253_402_300_799;

/// No text asks for more than the longest pause or is a panic; what means something is taken for it,
/// and only a 429 or 503 can ask for a pause at all.
///
/// A status, a clock, and then bytes as they come, digits, or a date with what is around it.
pub fn run(data: &[u8]) {
    let _ = check(&mut Unstructured::new(data));
}

fn check(input: &mut Unstructured<'_>) -> Result<()> {
    let status = *input.choose(&[429, 503, 500, 502, 200, 301, 404, 410, 599])?;
    let now: i64 = input.int_in_range(0..=LAST_SECOND)?;
    let clock = UtcTime::from_micros(now * 1_000_000);
    let (bytes, meant) = match input.int_in_range(0..=2)? {
        0 => {
            let digits: u64 = input.arbitrary()?;
            (digits.to_string().into_bytes(), Some(digits))
        }
        1 => {
            let date: i64 = input.int_in_range(0..=LAST_SECOND)?;
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(date.unsigned_abs());
            (
                httpdate::fmt_http_date(at).into_bytes(),
                Some((date - now).max(0).unsigned_abs()),
            )
        }
        _ => (input.bytes(input.len())?.to_vec(), None),
    };
    // White space around it means nothing.
    let (before, after) = (input.arbitrary::<bool>()?, input.arbitrary::<bool>()?);
    let around = |is_there| if is_there { &b" \t"[..] } else { b"" };
    let bytes = [around(before), &bytes, around(after)].concat();
    let Ok(value) = HeaderValue::from_bytes(&bytes) else {
        return Ok(());
    };
    let parsed = value
        .to_str()
        .ok()
        .and_then(|it| parse_retry_after(it, clock));
    assert!(parsed.is_none_or(|it| it <= MAX_RETRY_AFTER), "{value:?}");
    if let Some(seconds) = meant {
        let expected = Duration::from_secs(seconds).min(MAX_RETRY_AFTER);
        assert_eq!(parsed, Some(expected), "{value:?} at {now}");
    }
    let after = match classify(status, Some(&value), clock) {
        Verdict::Receiver {
            event: EventVerdict::NotYet { after },
            ..
        } => after,
        _ => None,
    };
    let may_ask = matches!(status, 429 | 503);
    assert_eq!(after, parsed.filter(|_| may_ask), "{value:?} with {status}");
    Ok(())
}
