//! What a round's outcome means for the delivery and for its subscription, as a pure function.

use std::time::Duration;

use webhook_delivery::Outcome;
use webhook_model::{DeliveryStatus, Settings, UtcTime};

use crate::schedule::next_delay;

/// Which round it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounds {
    /// The first, straight off the bus.
    First,
    /// One of the long schedule, after this many before it.
    Redelivery(u32),
}

impl Rounds {
    /// Redelivery rounds before it.
    fn done(self) -> u32 {
        match self {
            Self::First => 0,
            Self::Redelivery(before) => before,
        }
    }
}

/// What is to be recorded and done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Judgement {
    pub(crate) status: DeliveryStatus,
    pub(crate) next_attempt_at: Option<UtcTime>,
    /// Redelivery rounds done.
    pub(crate) rounds: u32,
    /// Whether it counts towards a trip.
    pub(crate) counts: bool,
    /// What the window learns from it.
    pub(crate) success: Option<bool>,
    /// The receiver asked for a pause.
    pub(crate) pause: Option<Duration>,
    /// The receiver said 410.
    pub(crate) gone: bool,
}

/// What a round came to that the breaker cut short: the rest of its attempts waits for the recovery.
pub(crate) fn held_back(rounds: Rounds, now: UtcTime) -> Judgement {
    Judgement {
        status: DeliveryStatus::Retrying,
        next_attempt_at: Some(now),
        rounds: rounds.done(),
        counts: false,
        success: None,
        pause: None,
        gone: false,
    }
}

/// None when the round was interrupted: nothing is known, and nothing recorded.
///
/// `stale` says that the subscription changed during the round. A failure then says nothing about
/// the receiver as it is now, and is tried again at once.
pub(crate) fn judge(
    outcome: &Outcome,
    rounds: Rounds,
    stale: bool,
    settings: &Settings,
    now: UtcTime,
    jitter: f64,
) -> Option<Judgement> {
    let done = rounds.done();
    let retrying = held_back(rounds, now);
    let first = rounds == Rounds::First;
    Some(match outcome {
        Outcome::Interrupted | Outcome::Ourselves(_) => return None,
        Outcome::Delivered => Judgement {
            status: DeliveryStatus::Delivered,
            next_attempt_at: None,
            counts: true,
            success: Some(true),
            ..retrying
        },
        Outcome::Paused { until } => Judgement {
            next_attempt_at: Some(now + *until),
            pause: Some(*until),
            ..retrying
        },
        Outcome::Exhausted | Outcome::Final | Outcome::Gone if stale => retrying,
        Outcome::Final | Outcome::Gone => Judgement {
            status: DeliveryStatus::Dead,
            next_attempt_at: None,
            counts: first,
            success: Some(false),
            gone: matches!(outcome, Outcome::Gone),
            ..retrying
        },
        Outcome::Exhausted => {
            let rounds = if first { 0 } else { done + 1 };
            let next = next_delay(settings, rounds, jitter).map(|delay| now + delay);
            Judgement {
                status: match next {
                    Some(_) => DeliveryStatus::Retrying,
                    None => DeliveryStatus::Dead,
                },
                next_attempt_at: next,
                rounds,
                counts: first,
                success: Some(false),
                ..retrying
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(outcome: Outcome, rounds: Rounds, stale: bool) -> Judgement {
        let settings = Settings::default()
            .with_redelivery_schedule(vec![30, 60])
            .unwrap();
        judge(&outcome, rounds, stale, &settings, UtcTime::EPOCH, 1.0).unwrap()
    }

    fn due(seconds: u64) -> Option<UtcTime> {
        Some(UtcTime::EPOCH + Duration::from_secs(seconds))
    }

    #[test]
    fn the_schedule_runs_from_the_first_failure_to_the_dead_letter() {
        let first = judged(Outcome::Exhausted, Rounds::First, false);
        assert_eq!(
            (first.status, first.next_attempt_at),
            (DeliveryStatus::Retrying, due(30))
        );
        assert!(first.counts && first.rounds == 0);
        let second = judged(Outcome::Exhausted, Rounds::Redelivery(0), false);
        assert_eq!(
            (second.status, second.next_attempt_at),
            (DeliveryStatus::Retrying, due(60))
        );
        assert!(!second.counts && second.rounds == 1);
        let last = judged(Outcome::Exhausted, Rounds::Redelivery(1), false);
        assert_eq!(
            (last.status, last.next_attempt_at),
            (DeliveryStatus::Dead, None)
        );
    }

    #[test]
    fn final_answers_are_dead_letters_at_once() {
        for (outcome, gone) in [(Outcome::Final, false), (Outcome::Gone, true)] {
            let judged = judged(outcome, Rounds::First, false);
            assert_eq!((judged.status, judged.gone), (DeliveryStatus::Dead, gone));
            assert!(judged.counts);
        }
    }

    #[test]
    fn a_pause_uses_up_no_round_and_counts_for_nothing() {
        let until = Duration::from_secs(90);
        let judged = judged(Outcome::Paused { until }, Rounds::Redelivery(1), false);
        assert_eq!(
            (judged.status, judged.next_attempt_at),
            (DeliveryStatus::Retrying, due(90))
        );
        assert_eq!(
            (judged.rounds, judged.counts, judged.pause),
            (1, false, Some(until))
        );
    }

    #[test]
    fn a_failure_under_old_settings_is_tried_again_at_once() {
        for outcome in [Outcome::Exhausted, Outcome::Final, Outcome::Gone] {
            let judged = judged(outcome, Rounds::First, true);
            assert_eq!(
                (judged.status, judged.next_attempt_at),
                (DeliveryStatus::Retrying, due(0))
            );
            assert!(!judged.counts && !judged.gone);
        }
        assert_eq!(
            judged(Outcome::Delivered, Rounds::First, true).status,
            DeliveryStatus::Delivered
        );
    }
}
