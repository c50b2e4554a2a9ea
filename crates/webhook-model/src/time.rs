use std::{
    fmt,
    ops::{Add, Sub},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, Serializer};
use time::{
    Date, OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem,
    format_description::well_known::Iso8601, macros::format_description,
};

use crate::topic::shown;

/// Longest date-time text that is looked at; the longest ISO-8601 form is about half of it.
const MAX_TEXT_BYTES: usize = 64;
const MICROS_PER_SECOND: i64 = 1_000_000;

const RFC3339: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
const SQL: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:6]");
const ISO_SECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");

/// A text that is no date-time, or one outside the years 1..9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no date-time; use e.g. 2026-04-24T12:00:00Z")]
pub struct TimeError(String);

/// A moment in UTC, in whole microseconds, within the years 1..9999.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UtcTime(i64);

impl UtcTime {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    const MIN_MICROS: i64 = -62_135_596_800 * MICROS_PER_SECOND;
    const MAX_MICROS: i64 = 253_402_300_799 * MICROS_PER_SECOND + 999_999;

    /// The system clock's time.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// From microseconds since the epoch; beyond the years 1..9999 the nearest moment within.
    pub const fn from_micros(micros: i64) -> Self {
        if micros < Self::MIN_MICROS {
            Self(Self::MIN_MICROS)
        } else if micros > Self::MAX_MICROS {
            Self(Self::MAX_MICROS)
        } else {
            Self(micros)
        }
    }

    /// From seconds and microseconds since the epoch, if within the years 1..9999.
    pub(crate) fn checked(seconds: i64, micros: i64) -> Option<Self> {
        let total = seconds
            .checked_mul(MICROS_PER_SECOND)?
            .checked_add(micros)?;
        (Self::MIN_MICROS..=Self::MAX_MICROS)
            .contains(&total)
            .then_some(Self(total))
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(MICROS_PER_SECOND)
    }

    /// How long ago `earlier` was; zero if it is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// `2026-04-24T12:00:00.000000Z`, as the API shows times.
    pub fn rfc3339(self) -> String {
        self.formatted(RFC3339)
    }

    /// `2026-04-24 12:00:00.000000`, as DECNET stores times in SQLite.
    pub fn sql(self) -> String {
        self.formatted(SQL)
    }

    /// `2026-04-24T12:00:00+00:00`, microseconds unless they are zero, as receivers get times.
    pub fn iso_offset(self) -> String {
        let micros = self.0.rem_euclid(MICROS_PER_SECOND);
        let seconds = self.formatted(ISO_SECONDS);
        if micros == 0 {
            format!("{seconds}+00:00")
        } else {
            format!("{seconds}.{micros:06}+00:00")
        }
    }

    /// Reads what databases and people write: a date and time parted by `T` or a space, with or
    /// without a fraction, UTC unless an offset says otherwise.
    pub fn parse_sql(text: &str) -> Result<Self, TimeError> {
        match parse_iso(text) {
            Some(IsoText::Moment(moment)) => Ok(moment),
            _ => Err(TimeError(shown(text))),
        }
    }

    fn formatted(self, format: &[BorrowedFormatItem<'_>]) -> String {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .expect("the years 1..9999 are representable")
            .format(format)
            .expect("a constant format writes to memory")
    }
}

/// What an ISO-8601 text denotes, as far as anybody here needs to know.
pub(crate) enum IsoText {
    Moment(UtcTime),
    /// Its midnight.
    DateOnly(UtcTime),
}

/// Reads an ISO-8601 date, or date and time; a text without an offset is taken as UTC.
pub(crate) fn parse_iso(text: &str) -> Option<IsoText> {
    if text.len() > MAX_TEXT_BYTES || !text.is_ascii() {
        return None;
    }
    let mut strict = text.to_owned();
    if strict.as_bytes().get(10) == Some(&b' ') {
        strict.replace_range(10..11, "T");
    }
    let moment = OffsetDateTime::parse(&strict, &Iso8601::DEFAULT)
        .or_else(|_| {
            PrimitiveDateTime::parse(&strict, &Iso8601::DEFAULT).map(PrimitiveDateTime::assume_utc)
        })
        .ok();
    if let Some(moment) = moment {
        let micros = i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000)).ok()?;
        return UtcTime::checked(0, micros).map(IsoText::Moment);
    }
    Date::parse(&strict, &Iso8601::DEFAULT).ok().map(|date| {
        let midnight = date.midnight().assume_utc().unix_timestamp();
        IsoText::DateOnly(UtcTime::from_micros(midnight * 1_000_000))
    })
}

impl From<SystemTime> for UtcTime {
    fn from(time: SystemTime) -> Self {
        let micros = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |m| -m),
        };
        Self::from_micros(micros)
    }
}

impl Add<Duration> for UtcTime {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        let micros = i64::try_from(later.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_add(micros))
    }
}

impl Sub<Duration> for UtcTime {
    type Output = Self;

    fn sub(self, earlier: Duration) -> Self {
        let micros = i64::try_from(earlier.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_sub(micros))
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl fmt::Debug for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for UtcTime {
    /// As RFC 3339.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_each_form() {
        let time = UtcTime::from_micros(1_776_988_800_000_120);
        assert_eq!(time.rfc3339(), "2026-04-24T00:00:00.000120Z");
        assert_eq!(time.sql(), "2026-04-24 00:00:00.000120");
        assert_eq!(time.iso_offset(), "2026-04-24T00:00:00.000120+00:00");
        assert_eq!(UtcTime::EPOCH.iso_offset(), "1970-01-01T00:00:00+00:00");
        assert_eq!(
            UtcTime::from_micros(i64::MIN).rfc3339(),
            "0001-01-01T00:00:00.000000Z"
        );
        assert_eq!(
            UtcTime::from_micros(i64::MAX).sql(),
            "9999-12-31 23:59:59.999999"
        );
    }

    #[test]
    fn reads_what_databases_write() {
        let midnight = UtcTime::from_micros(1_776_988_800_000_000);
        for text in [
            "2026-04-24 00:00:00",
            "2026-04-24 00:00:00.000000",
            "2026-04-24T00:00:00Z",
            "2026-04-24 00:00:00+00",
            "2026-04-24T02:00:00+02:00",
        ] {
            assert_eq!(UtcTime::parse_sql(text), Ok(midnight), "{text}");
        }
        for text in [
            "",
            "2026-04-24",
            "yesterday",
            "2026-13-01 00:00:00",
            "1776988800",
        ] {
            assert!(UtcTime::parse_sql(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_written_time_reads_back() {
        for micros in [
            0,
            1,
            999_999,
            -1,
            1_795_441_262_898_382,
            UtcTime::MIN_MICROS,
        ] {
            let time = UtcTime::from_micros(micros);
            assert_eq!(UtcTime::parse_sql(&time.sql()), Ok(time));
            assert_eq!(UtcTime::parse_sql(&time.rfc3339()), Ok(time));
        }
    }
}
