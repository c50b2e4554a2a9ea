//! Growing, jittered pauses between tries of what is expected to come back.

use std::time::Duration;

/// The first pause; short, since most absences are.
const FIRST: Duration = Duration::from_millis(100);

/// 0.1 s, then twice as long each time up to a limit, each × 0.8..1.2.
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    pub(crate) fn new(longest: Duration) -> Self {
        Self {
            next: FIRST.min(longest),
            longest,
        }
    }

    /// Whether nothing failed since the last reset: the time to warn, once.
    pub(crate) fn is_first(&self) -> bool {
        self.next == FIRST.min(self.longest)
    }

    pub(crate) fn reset(&mut self) {
        self.next = FIRST.min(self.longest);
    }

    pub(crate) fn next_pause(&mut self) -> Duration {
        let pause = self.next.mul_f64(rand::random_range(0.8..1.2));
        self.next = (self.next * 2).min(self.longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_limit() {
        let mut pauses = Pauses::new(Duration::from_secs(1));
        assert!(pauses.is_first());
        for nominal in [0.1, 0.2, 0.4, 0.8, 1.0, 1.0] {
            let pause = pauses.next_pause().as_secs_f64();
            assert!(
                (nominal * 0.8..=nominal * 1.2).contains(&pause),
                "{pause} around {nominal}"
            );
            assert!(!pauses.is_first());
        }
        pauses.reset();
        assert!(pauses.is_first());
    }
}
