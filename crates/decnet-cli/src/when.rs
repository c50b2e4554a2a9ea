//! Times as people give them: so long ago, or a date with a time.

use std::time::Duration;

use webhook_model::UtcTime;

/// A moment of the past or an RFC 3339 time, as the API takes it.
pub(crate) fn parse(text: &str) -> Result<UtcTime, String> {
    moment(text.trim(), UtcTime::now())
}

fn moment(text: &str, now: UtcTime) -> Result<UtcTime, String> {
    if text == "now" {
        return Ok(now);
    }
    let ago = text.strip_suffix("ago").unwrap_or(text).trim();
    if let Ok(ago) = humantime::parse_duration(ago) {
        return before(now, ago).ok_or_else(|| format!("{text} ago is before 1970"));
    }
    UtcTime::parse_sql(text).map_err(|_| {
        "use how long ago, e.g. 2h or 30m, or a time, e.g. 2026-04-24T12:00:00Z".to_owned()
    })
}

/// Not before 1970: nothing was recorded then.
fn before(now: UtcTime, ago: Duration) -> Option<UtcTime> {
    let ago = i64::try_from(ago.as_micros()).ok()?;
    let micros = now
        .micros()
        .checked_sub(ago)
        .filter(|micros| *micros >= 0)?;
    Some(UtcTime::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ago_and_absolute() {
        let now = UtcTime::parse_sql("2026-04-24T12:00:00Z").unwrap();
        for (text, expected) in [
            ("now", "2026-04-24T12:00:00.000000Z"),
            ("2h", "2026-04-24T10:00:00.000000Z"),
            ("1h 30m ago", "2026-04-24T10:30:00.000000Z"),
            ("2026-04-24T12:00:00+02:00", "2026-04-24T10:00:00.000000Z"),
            ("2026-04-24 09:00:00", "2026-04-24T09:00:00.000000Z"),
        ] {
            assert_eq!(moment(text, now).unwrap().rfc3339(), expected, "{text}");
        }
        for wrong in ["", "yesterday", "2", "9999999y", "12:00"] {
            assert!(moment(wrong, now).is_err(), "{wrong}");
        }
    }
}
