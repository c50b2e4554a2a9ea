//! What a round's end means for its event, as a pure function. It knows the three verdicts apart:
//! the event's course is its schedule, whoever tries it; what the endpoint is known to do decides
//! whether an answer can be the event's fault; what failed on this side never comes here.

use std::time::Duration;

use webhook_delivery::{EndpointVerdict, Outcome};
use webhook_model::{DeliveryStatus, Settings, UtcTime};

use crate::schedule::{next_delay, whole};

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

/// How a round ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    /// What its last attempt told of the endpoint.
    pub(crate) endpoint: Option<EndpointVerdict>,
}

/// What is known besides how the round ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances {
    pub(crate) rounds: Rounds,
    /// The subscription changed during the round. A failure then says nothing about the receiver
    /// as it is now, and is tried again at once.
    pub(crate) stale: bool,
    /// One attempt past a breaker that holds everything back.
    pub(crate) probes: bool,
    /// It failed as often as it takes to trip, and whose fault that is is not known yet.
    pub(crate) doubtful: bool,
    /// When an event that others wait for failed first.
    pub(crate) head_since: Option<UtcTime>,
}

/// What is to be recorded and done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Judgement {
    pub(crate) status: DeliveryStatus,
    pub(crate) next_attempt_at: Option<UtcTime>,
    /// Redelivery rounds done.
    pub(crate) rounds: u32,
    /// Whether the event stays where it is, as if nothing had been tried: the attempt spoke of the
    /// endpoint alone.
    pub(crate) waits: bool,
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
        waits: true,
        counts: false,
        success: None,
        pause: None,
        gone: false,
    }
}

/// None when the round was interrupted, or failed on this side: nothing is known, and nothing
/// recorded.
pub(crate) fn judge(
    ended: Ended,
    circumstances: Circumstances,
    settings: &Settings,
    now: UtcTime,
    jitter: f64,
) -> Option<Judgement> {
    let Circumstances {
        rounds,
        stale,
        probes,
        doubtful,
        head_since,
    } = circumstances;
    let waiting = held_back(rounds, now);
    // What others wait for is all that is tried meanwhile.
    let counts = (rounds == Rounds::First || head_since.is_some()) && !probes;
    let silent = ended.endpoint == Some(EndpointVerdict::Silent);
    let of_endpoint = matches!(
        ended.endpoint,
        Some(EndpointVerdict::Objects | EndpointVerdict::Silent | EndpointVerdict::Gone)
    );
    let judgement = match ended.outcome {
        Outcome::Interrupted | Outcome::Ourselves(_) => return None,
        Outcome::Delivered => Judgement {
            status: DeliveryStatus::Delivered,
            next_attempt_at: None,
            waits: false,
            counts: true,
            success: Some(true),
            ..waiting
        },
        _ if stale => waiting,
        Outcome::Final | Outcome::Gone => {
            let gone = ended.outcome == Outcome::Gone;
            let failed = Judgement {
                counts,
                gone,
                ..waiting
            };
            if of_endpoint && (probes || doubtful) {
                failed
            } else {
                dead(failed)
            }
        }
        Outcome::Exhausted if probes && silent => Judgement {
            success: Some(false),
            ..waiting
        },
        Outcome::Exhausted => Judgement {
            counts,
            success: Some(false),
            ..onward(rounds, Duration::ZERO, settings, now, jitter)
        },
        Outcome::Paused { until } if probes && silent => Judgement {
            pause: Some(until),
            ..waiting
        },
        Outcome::Paused { until } => Judgement {
            pause: Some(until),
            ..onward(rounds, until, settings, now, jitter)
        },
    };
    // Others wait for it: not for longer than its whole schedule takes.
    let overdue = head_since.is_some_and(|since| now.since(since) >= whole(settings));
    let delivered = judgement.status == DeliveryStatus::Delivered;
    if overdue && !delivered && !stale {
        return Some(dead(judgement));
    }
    let last = head_since.map(|since| since + whole(settings));
    Some(Judgement {
        next_attempt_at: judgement
            .next_attempt_at
            .map(|next| last.map_or(next, |last| next.min(last.max(now)))),
        ..judgement
    })
}

/// One step along the schedule, and not sooner than `least`.
fn onward(
    rounds: Rounds,
    least: Duration,
    settings: &Settings,
    now: UtcTime,
    jitter: f64,
) -> Judgement {
    let done = match rounds {
        Rounds::First => 0,
        Rounds::Redelivery(before) => before + 1,
    };
    let moved = Judgement {
        rounds: done,
        waits: false,
        ..held_back(rounds, now)
    };
    match next_delay(settings, done, jitter) {
        Some(delay) => Judgement {
            next_attempt_at: Some(now + delay.max(least)),
            ..moved
        },
        None => dead(moved),
    }
}

fn dead(judgement: Judgement) -> Judgement {
    Judgement {
        status: DeliveryStatus::Dead,
        next_attempt_at: None,
        waits: false,
        ..judgement
    }
}

#[cfg(test)]
mod tests;
