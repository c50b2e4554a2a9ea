use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How much lost time is made up for: a send's own duration, but no burst after an outage.
const CATCH_UP: Duration = Duration::from_millis(250);

/// Spaces events evenly, or not at all.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Option<Duration>,
    next: Instant,
}

impl Pace {
    /// So many events a second.
    pub(crate) fn new(rate: Option<f64>) -> Self {
        Self {
            interval: rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            next: Instant::now(),
        }
    }

    /// Waits until the next event may go. Dropping it changes nothing.
    pub(crate) async fn wait(&self) {
        if self.interval.is_some() && self.next > Instant::now() {
            sleep_until(self.next).await;
        }
    }

    /// One has gone.
    pub(crate) fn took(&mut self) {
        if let Some(interval) = self.interval {
            let now = Instant::now();
            let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
            self.next = self.next.max(earliest) + interval;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn keeps_its_rate_and_makes_no_burst_after_a_pause() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(200.0));
        for _ in 0..400 {
            pace.wait().await;
            pace.took();
        }
        let took = start.elapsed().as_secs_f64();
        assert!((1.99..2.01).contains(&took), "{took}");

        tokio::time::advance(Duration::from_secs(3600)).await;
        let start = Instant::now();
        for _ in 0..250 {
            pace.wait().await;
            pace.took();
        }
        let took = start.elapsed().as_secs_f64();
        assert!(
            (0.99..1.01).contains(&took),
            "50 are made up for, 200 take their second: {took}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nothing_waits() {
        let start = Instant::now();
        let mut pace = Pace::new(None);
        for _ in 0..10_000 {
            pace.wait().await;
            pace.took();
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
