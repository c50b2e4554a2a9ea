//! How long to wait before the next attempt to connect.

use std::time::Duration;

/// Pause between two looks at each server while an outage is young.
const SHORT: Duration = Duration::from_secs(1);
/// So many of those: with jitter they last for more than 30 s, in which a restart is noticed at
/// once.
const SHORT_ROUNDS: usize = 64;

/// The pause before an attempt, counted from 1 since the connection was lost, over all servers.
/// `random` in 0..1 takes off up to half of it, so that many clients do not come at once.
pub(super) fn pause(attempt: usize, servers: usize, longest: Duration, random: f64) -> Duration {
    let servers = servers.max(1);
    let round = attempt.saturating_sub(1) / servers;
    if round == 0 {
        return Duration::ZERO;
    }
    let doublings = u32::try_from(round.saturating_sub(SHORT_ROUNDS)).unwrap_or(u32::MAX);
    let whole = SHORT.saturating_mul(2_u32.saturating_pow(doublings));
    let share = u32::try_from(servers).unwrap_or(u32::MAX);
    (whole.min(longest) / share).mul_f64(1.0 - random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(60);

    #[test]
    fn the_first_half_minute_is_looked_at_every_second() {
        let mut after = Duration::ZERO;
        let mut attempt = 1;
        while after <= Duration::from_secs(31) {
            let pause = pause(attempt, 1, LONGEST, 1.0);
            assert!(pause <= Duration::from_secs(1), "{attempt}: {pause:?}");
            after += pause;
            attempt += 1;
        }
    }

    #[test]
    fn pauses_grow_to_the_longest() {
        assert_eq!(pause(1, 3, LONGEST, 0.0), Duration::ZERO);
        assert_eq!(pause(3, 3, LONGEST, 0.0), Duration::ZERO);
        assert_eq!(pause(1_000, 1, LONGEST, 0.0), LONGEST);
        assert_eq!(pause(usize::MAX, 1, LONGEST, 0.0), LONGEST);
        assert_eq!(pause(1_000, 3, LONGEST, 0.0) * 3, LONGEST);
        assert_eq!(pause(1_000, 1, LONGEST, 1.0) * 2, LONGEST);
        assert_eq!(
            pause(2, 1, Duration::from_millis(10), 0.0),
            Duration::from_millis(10)
        );
    }
}
