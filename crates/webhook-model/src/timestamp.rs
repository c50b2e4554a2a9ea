use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    UtcTime,
    time::{IsoText, parse_iso},
    topic::shown,
};

/// A `ts` that is neither epoch seconds within the years 1..9999 nor an ISO-8601 text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ts {0} is neither epoch seconds nor an ISO-8601 date-time")]
pub struct TimestampError(String);

/// An event's time, kept as it came: epoch seconds with their digits, or an ISO-8601 text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Epoch { digits: String, time: UtcTime },
    Iso { text: String, time: UtcTime },
}

impl Timestamp {
    /// The system clock's time, in epoch seconds with microseconds.
    pub fn now() -> Self {
        Self::from(UtcTime::now())
    }

    /// Reads a JSON value: a number of epoch seconds, or an ISO-8601 text.
    pub fn parse_json(value: &RawValue) -> Result<Self, TimestampError> {
        let text = value.get();
        let wrong = || TimestampError(shown(text));
        match text.as_bytes().first() {
            Some(b'"') => {
                let iso: String = serde_json::from_str(text).map_err(|_| wrong())?;
                let (IsoText::Moment(time) | IsoText::DateOnly(time)) =
                    parse_iso(&iso).ok_or_else(wrong)?;
                Ok(Self(Form::Iso { text: iso, time }))
            }
            Some(b'-' | b'0'..=b'9') => {
                let time = epoch_time(text).ok_or_else(wrong)?;
                Ok(Self(Form::Epoch {
                    digits: text.to_owned(),
                    time,
                }))
            }
            _ => Err(wrong()),
        }
    }

    /// As receivers get it: ISO-8601 with `+00:00`, microseconds unless they are zero; an ISO text
    /// as it came.
    pub fn iso(&self) -> Cow<'_, str> {
        match &self.0 {
            Form::Epoch { time, .. } => Cow::Owned(time.iso_offset()),
            Form::Iso { text, .. } => Cow::Borrowed(text),
        }
    }

    /// Epoch seconds as a JSON number, also where it came as an ISO-8601 text.
    pub(crate) fn epoch_json(&self) -> Cow<'_, str> {
        match &self.0 {
            Form::Epoch { digits, .. } => Cow::Borrowed(digits),
            Form::Iso { time, .. } => Cow::Owned(epoch_digits(*time)),
        }
    }

    /// The JSON value as it came.
    pub(crate) fn json(&self) -> Cow<'_, str> {
        match &self.0 {
            Form::Epoch { digits, .. } => Cow::Borrowed(digits),
            Form::Iso { text, .. } => {
                Cow::Owned(serde_json::to_string(text).expect("a string serialises to memory"))
            }
        }
    }
}

impl From<UtcTime> for Timestamp {
    fn from(time: UtcTime) -> Self {
        let digits = epoch_digits(time);
        Self(Form::Epoch { digits, time })
    }
}

fn epoch_digits(time: UtcTime) -> String {
    let micros = time.micros();
    if micros >= 0 {
        format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    } else {
        format!("-{}.{:06}", -(micros / 1_000_000), -(micros % 1_000_000))
    }
}

/// Epoch seconds to a moment, rounding half to even as Python's `datetime.fromtimestamp` does,
/// so that bodies equal those of the original sender.
fn epoch_time(digits: &str) -> Option<UtcTime> {
    if let Ok(seconds) = digits.parse::<i64>() {
        return UtcTime::checked(seconds, 0);
    }
    let seconds: f64 = digits.parse().ok()?;
    // Beyond this no f64 lies within the years 1..9999, and the casts below would saturate.
    if !seconds.is_finite() || seconds.abs() > 1e12 {
        return None;
    }
    let micros = (seconds.fract() * 1e6).round_ties_even();
    UtcTime::checked(seconds.trunc() as i64, micros as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Timestamp, TimestampError> {
        Timestamp::parse_json(&RawValue::from_string(text.to_owned()).unwrap())
    }

    #[test]
    fn epoch_seconds_become_iso() {
        for (given, iso) in [
            ("1795441262.8983822", "2026-11-23T13:41:02.898382+00:00"),
            ("1767225600", "2026-01-01T00:00:00+00:00"),
            ("1767225600.0", "2026-01-01T00:00:00+00:00"),
            ("1767225600.5", "2026-01-01T00:00:00.500000+00:00"),
            ("1.7672256e9", "2026-01-01T00:00:00+00:00"),
            ("0.9999999", "1970-01-01T00:00:01+00:00"),
            ("-0.25", "1969-12-31T23:59:59.750000+00:00"),
        ] {
            let parsed = parse(given).unwrap();
            assert_eq!(parsed.iso(), iso, "{given}");
            assert_eq!(parsed.json(), given);
        }
    }

    #[test]
    fn iso_texts_pass_through() {
        for text in [
            "2026-04-24T00:00:00+00:00",
            "2018-05-09T00:06:12.624076Z",
            "2026-04-24",
        ] {
            assert_eq!(parse(&format!("{text:?}")).unwrap().iso(), text);
        }
    }

    #[test]
    fn iso_texts_have_a_number_too() {
        for (text, number) in [
            ("2026-01-01T00:00:00+00:00", "1767225600.000000"),
            ("2026-01-01T01:00:00.25+01:00", "1767225600.250000"),
            ("2026-01-01", "1767225600.000000"),
            ("1969-12-31T23:59:59.75Z", "-0.250000"),
        ] {
            assert_eq!(
                parse(&format!("{text:?}")).unwrap().epoch_json(),
                number,
                "{text}"
            );
        }
        assert_eq!(parse("1.7672256e9").unwrap().epoch_json(), "1.7672256e9");
    }

    #[test]
    fn refuses_the_rest() {
        for wrong in [
            "null",
            "true",
            "{}",
            "[]",
            "\"\"",
            "\"soon\"",
            "1e300",
            "999999999999999",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn own_times_read_back() {
        for micros in [0, 1, -1, -1_500_000, 1_795_441_262_898_382] {
            let time = UtcTime::from_micros(micros);
            let written = Timestamp::from(time);
            assert_eq!(parse(&written.json()).unwrap().iso(), time.iso_offset());
        }
    }
}
