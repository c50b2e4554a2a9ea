//! The short schedule of a round. The `backoff` crate draws the jitter and stays behind this type.

use std::{sync::Arc, time::Duration};

use backoff::{
    SystemClock,
    backoff::Backoff,
    exponential::{ExponentialBackoff, ExponentialBackoffBuilder},
};

/// Attempts of a round beyond which a queue, not a caller in memory, should hold the event.
const MAX_DELAYS: usize = 32;
/// Longest single pause: a policy of this crate holds its event in memory meanwhile.
const MAX_DELAY: Duration = Duration::from_secs(24 * 3600);
/// Contract: pauses of 1, 2 and 4 s, each × 0.8..1.2.
const DEFAULT_DELAYS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
const DEFAULT_JITTER: f64 = 0.2;

/// A schedule that makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PolicyError {
    /// A list longer than a round should be.
    #[error("retry policy has {0} delays; at most {MAX_DELAYS} are taken")]
    TooMany(usize),
    /// A pause that is too long to sit in memory.
    #[error("retry delay {0:?} is longer than {MAX_DELAY:?}")]
    TooLong(Duration),
    /// A jitter that could turn a pause negative, or is no number.
    #[error("retry jitter {0} is not within 0..1")]
    Jitter(f64),
}

/// When a round tries again: a list of pauses, jittered. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    delays: Arc<[Duration]>,
    jitter: f64,
}

impl RetryPolicy {
    /// A single attempt.
    pub fn none() -> Self {
        Self {
            delays: Arc::new([]),
            jitter: 0.0,
        }
    }

    /// One attempt, then one after each delay × a random factor in `1 - jitter..1 + jitter`.
    pub fn try_new(
        delays: impl IntoIterator<Item = Duration>,
        jitter: f64,
    ) -> Result<Self, PolicyError> {
        let delays: Vec<_> = delays.into_iter().collect();
        if delays.len() > MAX_DELAYS {
            return Err(PolicyError::TooMany(delays.len()));
        }
        if let Some(long) = delays.iter().find(|&&delay| delay > MAX_DELAY) {
            return Err(PolicyError::TooLong(*long));
        }
        if !(0.0..1.0).contains(&jitter) {
            return Err(PolicyError::Jitter(jitter));
        }
        Ok(Self {
            delays: delays.into(),
            jitter,
        })
    }

    /// The pauses of one round, drawn anew.
    pub fn schedule(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        let jitter = self.jitter;
        let delays = Arc::clone(&self.delays);
        (0..delays.len()).map(move |i| jittered(delays[i], jitter))
    }

    /// Attempts of a round that never succeeds.
    pub fn max_attempts(&self) -> usize {
        self.delays.len() + 1
    }
}

impl Default for RetryPolicy {
    /// 1, 2, 4 s, each × 0.8..1.2.
    fn default() -> Self {
        Self {
            delays: Arc::new(DEFAULT_DELAYS),
            jitter: DEFAULT_JITTER,
        }
    }
}

fn jittered(delay: Duration, jitter: f64) -> Duration {
    if jitter == 0.0 {
        return delay;
    }
    let mut backoff: ExponentialBackoff<SystemClock> = ExponentialBackoffBuilder::new()
        .with_initial_interval(delay)
        .with_max_interval(delay)
        .with_randomization_factor(jitter)
        .with_max_elapsed_time(None)
        .build();
    backoff.next_backoff().unwrap_or(delay)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn default_is_the_contracts() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.max_attempts(), 4);
        for _ in 0..1000 {
            let drawn: Vec<_> = policy.schedule().collect();
            assert_eq!(drawn.len(), 3);
            for (delay, base) in drawn.iter().zip([1.0, 2.0, 4.0]) {
                let factor = delay.as_secs_f64() / base;
                assert!((0.8..=1.2 + 1e-6).contains(&factor), "{factor}");
            }
        }
    }

    #[test]
    fn jitter_spreads() {
        let policy = RetryPolicy::default();
        let drawn: std::collections::HashSet<_> =
            (0..100).filter_map(|_| policy.schedule().next()).collect();
        assert!(drawn.len() > 50);
    }

    proptest! {
        /// As many pauses as there are delays, in their order, each within the jitter.
        #[test]
        fn every_pause_is_its_delay_within_the_jitter(
            millis in proptest::collection::vec(0..86_400_000_u64, 0..=MAX_DELAYS),
            jitter in 0.0..1.0_f64,
        ) {
            let delays: Vec<Duration> = millis.into_iter().map(Duration::from_millis).collect();
            let policy = RetryPolicy::try_new(delays.clone(), jitter).unwrap();
            prop_assert_eq!(policy.max_attempts(), delays.len() + 1);
            let drawn: Vec<Duration> = policy.schedule().collect();
            prop_assert_eq!(drawn.len(), delays.len());
            for (pause, delay) in drawn.iter().zip(&delays) {
                let (pause, delay) = (pause.as_secs_f64(), delay.as_secs_f64());
                let (least, most) = (delay * (1.0 - jitter), delay * (1.0 + jitter));
                // The factor is drawn in whole nanoseconds.
                prop_assert!((least - 1e-6..=most + 1e-6).contains(&pause), "{pause} of {delay}");
            }
        }
    }

    #[test]
    fn no_jitter_is_exact() {
        let delays = [Duration::ZERO, Duration::from_millis(5)];
        let policy = RetryPolicy::try_new(delays, 0.0).unwrap();
        assert_eq!(policy.schedule().collect::<Vec<_>>(), delays);
        assert_eq!(RetryPolicy::none().schedule().count(), 0);
    }

    #[test]
    fn refuses_nonsense() {
        let second = Duration::from_secs(1);
        let error = |delays: Vec<Duration>, jitter| RetryPolicy::try_new(delays, jitter).err();
        assert_eq!(error(vec![second; 33], 0.1), Some(PolicyError::TooMany(33)));
        assert_eq!(
            error(vec![second * 100_000], 0.1),
            Some(PolicyError::TooLong(second * 100_000))
        );
        for jitter in [-0.1, 1.0, f64::INFINITY] {
            assert_eq!(
                error(vec![second], jitter),
                Some(PolicyError::Jitter(jitter))
            );
        }
        assert!(error(vec![second], f64::NAN).is_some());
    }
}
