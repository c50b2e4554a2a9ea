//! How long to wait before asking for a broker that is not there.

use std::time::Duration;

use tokio::time::Instant;

/// The first pause; most absences are a restart.
const FIRST: Duration = Duration::from_millis(100);
/// Longest pause while the outage is young, so that the feed is back within 2 s, jitter included.
const LONGEST_WHILE_YOUNG: Duration = Duration::from_millis(1_500);
/// An outage is young for so long.
const YOUNG: Duration = Duration::from_secs(31);

/// An outage, or none.
#[derive(Debug)]
pub(super) struct Away {
    longest: Duration,
    next: Duration,
    since: Option<Instant>,
}

impl Away {
    pub(super) fn new(longest: Duration) -> Self {
        Self {
            longest,
            next: FIRST,
            since: None,
        }
    }

    /// Whether nothing has failed since the last outage: the time to warn, once.
    pub(super) fn is_new(&self) -> bool {
        self.since.is_none()
    }

    /// The broker is there.
    pub(super) fn over(&mut self) {
        *self = Self::new(self.longest);
    }

    /// Twice the last one up to a limit, × 0.8..1.2.
    pub(super) fn pause(&mut self, now: Instant) -> Duration {
        let since = *self.since.get_or_insert(now);
        let young = now.duration_since(since) < YOUNG;
        let limit = if young {
            LONGEST_WHILE_YOUNG.min(self.longest)
        } else {
            self.longest
        };
        let pause = self.next.min(limit);
        self.next = (pause * 2).max(FIRST);
        pause
            .mul_f64(rand::random_range(0.8..1.2))
            .min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(60);

    #[test]
    fn short_while_young_then_growing_to_the_limit() {
        let mut away = Away::new(LONGEST);
        let start = Instant::now();
        let mut now = start;
        let mut pauses = Vec::new();
        while now - start < Duration::from_secs(600) {
            assert_eq!(away.is_new(), now == start);
            let pause = away.pause(now);
            assert!(pause <= LONGEST);
            if now - start < Duration::from_secs(30) {
                assert!(pause <= Duration::from_secs(2), "{pause:?}");
            }
            pauses.push(pause);
            now += pause;
        }
        assert!(pauses[0] < Duration::from_millis(130));
        assert!(*pauses.last().unwrap() > Duration::from_secs(40));
        away.over();
        assert!(away.is_new());
        assert!(away.pause(now) < Duration::from_millis(130));
    }

    #[test]
    fn the_setting_is_never_exceeded() {
        let mut away = Away::new(Duration::from_secs(1));
        let start = Instant::now();
        for second in 0..100 {
            let pause = away.pause(start + Duration::from_secs(second));
            assert!(pause <= Duration::from_secs(1));
        }
    }
}
