//! A subscription's rate limit: attempts are spaced out evenly after a burst (the generic cell
//! rate algorithm).

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// What is allowed: one attempt each `every`, `burst` at once after a quiet time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    every: Duration,
    burst: u32,
}

impl Rate {
    /// None for 0, which is unlimited; without a burst it is one second's worth.
    pub(crate) fn new(per_second: u32, burst: Option<u32>) -> Option<Self> {
        let every = Duration::from_secs(1).checked_div(per_second)?;
        let burst = burst.unwrap_or(per_second).max(1);
        Some(Self { every, burst })
    }
}

/// When the next attempt would be on time if all came evenly spaced.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<Option<Instant>>);

impl Pace {
    /// Waits for this attempt's turn. A cancelled wait has used its turn up.
    pub(crate) async fn turn(&self, rate: Option<Rate>) {
        let Some(rate) = rate else { return };
        let at = self.reserve(rate, Instant::now());
        tokio::time::sleep_until(at).await;
    }

    fn reserve(&self, rate: Rate, now: Instant) -> Instant {
        let mut due = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let on_time = due.unwrap_or(now).max(now);
        *due = Some(on_time + rate.every);
        // As early as the burst allows, never before now.
        let slack = rate.every * (rate.burst - 1);
        on_time.checked_sub(slack).unwrap_or(now).max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_even_spacing() {
        let (pace, rate) = (Pace::default(), Rate::new(10, Some(5)));
        let begun = Instant::now();
        let mut times = Vec::new();
        for _ in 0..10 {
            pace.turn(rate).await;
            times.push(begun.elapsed().as_millis());
        }
        assert_eq!(times, [0, 0, 0, 0, 0, 100, 200, 300, 400, 500]);
        tokio::time::advance(Duration::from_secs(60)).await;
        let quiet = Instant::now();
        for _ in 0..5 {
            pace.turn(rate).await;
        }
        assert_eq!(
            quiet.elapsed(),
            Duration::ZERO,
            "a quiet time earns one burst"
        );
        pace.turn(rate).await;
        assert_eq!(quiet.elapsed().as_millis(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn zero_is_unlimited() {
        let pace = Pace::default();
        let begun = Instant::now();
        for _ in 0..1_000 {
            pace.turn(Rate::new(0, None)).await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
