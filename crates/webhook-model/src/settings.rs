use std::{fmt, time::Duration};

use crate::Secret;

/// Most messages of one subscription in hand, by default and at most.
const MAX_IN_FLIGHT: (u32, u32) = (64, 1_024);
/// Highest rate limit, in deliveries a second: above it pacing is finer than timers.
const MAX_RATE: u32 = 10_000;
/// Time-out of one attempt in seconds, by default and at most.
const TIMEOUT_SECONDS: (u32, u32) = (10, 60);
/// Most delays of a redelivery schedule.
const MAX_REDELIVERIES: usize = 64;
/// Longest redelivery schedule in all: 30 days, as long as dead letters are kept.
const MAX_SCHEDULE: Duration = Duration::from_secs(30 * 24 * 3_600);
/// 30 s, 2 m, 10 m, 30 m, 1 h, 3 h, 6 h, 12 h.
const DEFAULT_SCHEDULE: [u32; 8] = [30, 120, 600, 1_800, 3_600, 10_800, 21_600, 43_200];
/// Most headers of a subscription's own, and their longest value in bytes.
const MAX_HEADERS: usize = 32;
const MAX_HEADER_VALUE: usize = 4_096;

/// A setting outside its bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Outside 1..1,024.
    #[error("max_in_flight {0} is not within 1..{max}", max = MAX_IN_FLIGHT.1)]
    MaxInFlight(u32),
    /// Above the highest rate.
    #[error("rate_per_second {0} is above {MAX_RATE}; 0 means unlimited")]
    Rate(u32),
    /// Above the highest rate.
    #[error("burst {0} is not within 1..{MAX_RATE}")]
    Burst(u32),
    /// Outside 1..60.
    #[error("timeout_seconds {0} is not within 1..{max}", max = TIMEOUT_SECONDS.1)]
    Timeout(u32),
    /// A delay of nothing would retry in a tight loop.
    #[error("redelivery_schedule[{0}] is 0; delays are whole seconds, at least 1")]
    ZeroDelay(usize),
    /// Too many delays.
    #[error("redelivery_schedule has {0} delays; at most {MAX_REDELIVERIES} are taken")]
    TooManyDelays(usize),
    /// More than 30 days in all.
    #[error("redelivery_schedule lasts {0} s in all; at most 30 days (2592000 s) are taken")]
    ScheduleTooLong(u64),
    /// Too many headers.
    #[error("{0} headers are given; at most {MAX_HEADERS} are taken")]
    TooManyHeaders(usize),
    /// Not a header name, or one that is ours or hop-by-hop.
    #[error("header {0:?} may not be set; it is not a valid name, or delivery itself sets it")]
    HeaderName(String),
    /// Control characters, or too long. The value is never shown.
    #[error(
        "the value of header {0:?} is empty, longer than {MAX_HEADER_VALUE} bytes, or not visible ASCII"
    )]
    HeaderValue(String),
}

/// How a subscription's deliveries are made: bounds, pace, order, patience, and extra headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    max_in_flight: u32,
    rate_per_second: u32,
    burst: Option<u32>,
    ordered: bool,
    timeout_seconds: u32,
    redelivery_schedule: Vec<u32>,
    headers: Vec<Header>,
}

/// A header that is sent along with every delivery. Its value is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    name: String,
    value: Secret,
}

impl Header {
    /// Checks the value; whether the name may be set is for the delivery crate to say.
    pub fn parse(name: &str, value: &str) -> Result<Self, SettingsError> {
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if !is_name {
            return Err(SettingsError::HeaderName(name.to_owned()));
        }
        let visible = value.bytes().all(|b| matches!(b, b' '..=b'~'));
        if value.is_empty() || value.len() > MAX_HEADER_VALUE || !visible {
            return Err(SettingsError::HeaderValue(name.to_owned()));
        }
        let value = Secret::stored(value.to_owned())
            .map_err(|_| SettingsError::HeaderValue(name.to_owned()))?;
        Ok(Self {
            name: name.to_ascii_lowercase(),
            value,
        })
    }

    /// The name, in lower case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value; never to be shown.
    pub fn value(&self) -> &Secret {
        &self.value
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({}: …)", self.name)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_in_flight: MAX_IN_FLIGHT.0,
            rate_per_second: 0,
            burst: None,
            ordered: false,
            timeout_seconds: TIMEOUT_SECONDS.0,
            redelivery_schedule: DEFAULT_SCHEDULE.into(),
            headers: Vec::new(),
        }
    }
}

impl Settings {
    /// Most messages in hand, 1..1,024.
    pub fn with_max_in_flight(mut self, value: u32) -> Result<Self, SettingsError> {
        if !(1..=MAX_IN_FLIGHT.1).contains(&value) {
            return Err(SettingsError::MaxInFlight(value));
        }
        self.max_in_flight = value;
        Ok(self)
    }

    /// Most attempts a second; 0 is unlimited.
    pub fn with_rate_per_second(mut self, value: u32) -> Result<Self, SettingsError> {
        if value > MAX_RATE {
            return Err(SettingsError::Rate(value));
        }
        self.rate_per_second = value;
        Ok(self)
    }

    /// How many attempts may go at once after a quiet time; absent, one second's worth.
    pub fn with_burst(mut self, value: Option<u32>) -> Result<Self, SettingsError> {
        if let Some(burst) = value.filter(|burst| !(1..=MAX_RATE).contains(burst)) {
            return Err(SettingsError::Burst(burst));
        }
        self.burst = value;
        Ok(self)
    }

    /// Whether events go out one by one in the order they were published.
    pub fn with_ordered(mut self, value: bool) -> Self {
        self.ordered = value;
        self
    }

    /// Time-out of one attempt, 1..60 s.
    pub fn with_timeout_seconds(mut self, value: u32) -> Result<Self, SettingsError> {
        if !(1..=TIMEOUT_SECONDS.1).contains(&value) {
            return Err(SettingsError::Timeout(value));
        }
        self.timeout_seconds = value;
        Ok(self)
    }

    /// Delays in seconds after which a failed delivery is tried again; none makes it a dead letter
    /// at once.
    pub fn with_redelivery_schedule(mut self, value: Vec<u32>) -> Result<Self, SettingsError> {
        if value.len() > MAX_REDELIVERIES {
            return Err(SettingsError::TooManyDelays(value.len()));
        }
        if let Some(index) = value.iter().position(|delay| *delay == 0) {
            return Err(SettingsError::ZeroDelay(index));
        }
        let total: u64 = value.iter().map(|delay| u64::from(*delay)).sum();
        if total > MAX_SCHEDULE.as_secs() {
            return Err(SettingsError::ScheduleTooLong(total));
        }
        self.redelivery_schedule = value;
        Ok(self)
    }

    /// Headers that are sent along; of a repeated name the last wins.
    pub fn with_headers(mut self, value: Vec<Header>) -> Result<Self, SettingsError> {
        if value.len() > MAX_HEADERS {
            return Err(SettingsError::TooManyHeaders(value.len()));
        }
        self.headers.clear();
        for header in value {
            self.headers.retain(|kept| kept.name != header.name);
            self.headers.push(header);
        }
        self.headers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(self)
    }

    /// Most messages in hand; one where the order counts.
    pub fn max_in_flight(&self) -> u32 {
        self.max_in_flight
    }

    /// Most attempts a second; 0 is unlimited.
    pub fn rate_per_second(&self) -> u32 {
        self.rate_per_second
    }

    /// How many attempts may go at once after a quiet time.
    pub fn burst(&self) -> Option<u32> {
        self.burst
    }

    /// Whether events go out one by one in the order they were published.
    pub fn ordered(&self) -> bool {
        self.ordered
    }

    /// Time-out of one attempt, in seconds.
    pub fn timeout_seconds(&self) -> u32 {
        self.timeout_seconds
    }

    /// Delays in seconds.
    pub fn redelivery_schedule(&self) -> &[u32] {
        &self.redelivery_schedule
    }

    /// Headers that are sent along, by name.
    pub fn headers(&self) -> &[Header] {
        &self.headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_told() {
        let settings = Settings::default;
        assert_eq!(
            settings().with_max_in_flight(0),
            Err(SettingsError::MaxInFlight(0))
        );
        assert_eq!(
            settings().with_max_in_flight(1_025),
            Err(SettingsError::MaxInFlight(1_025))
        );
        assert_eq!(
            settings().with_rate_per_second(10_001),
            Err(SettingsError::Rate(10_001))
        );
        assert_eq!(settings().with_burst(Some(0)), Err(SettingsError::Burst(0)));
        assert_eq!(
            settings().with_timeout_seconds(61),
            Err(SettingsError::Timeout(61))
        );
        let schedule = |delays: &[u32]| settings().with_redelivery_schedule(delays.into());
        assert_eq!(schedule(&[30, 0]), Err(SettingsError::ZeroDelay(1)));
        assert_eq!(schedule(&[1; 65]), Err(SettingsError::TooManyDelays(65)));
        assert_eq!(
            schedule(&[2_592_000, 1]),
            Err(SettingsError::ScheduleTooLong(2_592_001))
        );
        assert!(schedule(&[]).is_ok());
    }

    #[test]
    fn header_values_are_checked_and_never_shown() {
        assert_eq!(
            Header::parse("a b", "x"),
            Err(SettingsError::HeaderName("a b".into()))
        );
        for wrong in ["", "a\r\nb: c", "ä"] {
            assert_eq!(
                Header::parse("x-key", wrong),
                Err(SettingsError::HeaderValue("x-key".into()))
            );
        }
        let header = Header::parse("X-Key", "hunter2").unwrap();
        assert_eq!(
            (header.name(), header.value().expose()),
            ("x-key", "hunter2")
        );
        assert!(!format!("{header:?}").contains("hunter2"));
        let twice = vec![header, Header::parse("x-key", "second").unwrap()];
        let settings = Settings::default().with_headers(twice).unwrap();
        assert_eq!(settings.headers().len(), 1);
        assert_eq!(settings.headers()[0].value().expose(), "second");
    }
}
