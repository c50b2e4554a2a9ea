//! When a delivery that a round did not get through is tried again.

use std::time::Duration;

use webhook_model::Settings;

/// The delay after `rounds` failed redelivery rounds, × `jitter` in 0.8..1.2; none when the
/// schedule is at its end and the delivery becomes a dead letter.
pub(crate) fn next_delay(settings: &Settings, rounds: u32, jitter: f64) -> Option<Duration> {
    let delay = settings.redelivery_schedule().get(rounds as usize)?;
    Some(Duration::from_secs(u64::from(*delay)).mul_f64(jitter))
}

/// How long the whole schedule takes.
pub(crate) fn whole(settings: &Settings) -> Duration {
    let delays = settings.redelivery_schedule().iter();
    delays
        .map(|delay| Duration::from_secs(u64::from(*delay)))
        .sum()
}

/// A factor that keeps receivers which failed together from being tried together.
pub(crate) fn jitter() -> f64 {
    rand::random_range(0.8..1.2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_delay_is_used_once_and_in_order(
            delays in proptest::collection::vec(1..40_000_u32, 0..64),
            jitter in 0.8..1.2_f64,
        ) {
            let settings = Settings::default().with_redelivery_schedule(delays.clone()).unwrap();
            for (round, delay) in delays.iter().enumerate() {
                let found = next_delay(&settings, round as u32, jitter).unwrap().as_secs_f64();
                let nominal = f64::from(*delay);
                prop_assert!((nominal * 0.79..=nominal * 1.21).contains(&found));
            }
            prop_assert_eq!(next_delay(&settings, delays.len() as u32, jitter), None);
            prop_assert_eq!(next_delay(&settings, u32::MAX, jitter), None);
        }

        #[test]
        fn a_longer_delay_or_a_larger_factor_waits_longer(
            delays in (1..86_400_u32, 1..86_400_u32),
            factors in (0.8..1.2_f64, 0.8..1.2_f64),
        ) {
            let wait = |delay: u32, factor: f64| {
                let settings = Settings::default().with_redelivery_schedule(vec![delay]).unwrap();
                next_delay(&settings, 0, factor).unwrap()
            };
            let (short, long) = (delays.0.min(delays.1), delays.0.max(delays.1));
            let (small, large) = (factors.0.min(factors.1), factors.0.max(factors.1));
            prop_assert!(wait(short, small) <= wait(long, small));
            prop_assert!(wait(short, small) <= wait(short, large));
        }

        #[test]
        fn jitter_stays_within_its_bounds(_ in 0..256) {
            prop_assert!((0.8..1.2).contains(&jitter()));
        }
    }
}
