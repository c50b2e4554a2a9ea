//! What the tables say of a breaker. They have the last word.

use webhook_model::{State, UtcTime};
use webhook_store::{BreakerPhase, SubscriptionView};

use crate::breaker::{Breaker, Manner, Outage, Phase};

/// The breaker of a subscription that is new, or was changed by somebody.
pub(super) fn read(view: &SubscriptionView) -> Breaker {
    Breaker::new(match view.subscription.state {
        State::Active => Phase::Healthy,
        State::Paused => Phase::Paused,
        State::Tripped { at } => tripped(view, at),
    })
}

/// What this worker knows itself of a version of the subscription, unless its row says otherwise:
/// then somebody wrote it who bumps no epoch, as DECNET does.
pub(super) fn unless_told(breaker: Breaker, view: &SubscriptionView) -> Breaker {
    let agrees = match (breaker.phase, view.subscription.state) {
        (Phase::Healthy | Phase::Checking, state) => state == State::Active,
        (Phase::Tripped { .. } | Phase::Probing { .. }, state) => {
            matches!(state, State::Tripped { .. })
        }
        (Phase::Paused, state) => state == State::Paused,
    };
    if !agrees {
        return read(view);
    }
    match breaker.phase {
        // Another worker has probed since.
        Phase::Tripped { probe_at, outage }
            if view.breaker.trips > outage.turns || view.breaker.probe_at > probe_at =>
        {
            Breaker {
                phase: Phase::Tripped {
                    probe_at: view.breaker.probe_at,
                    outage: outage_of(view),
                },
                ..breaker
            }
        }
        _ => breaker,
    }
}

/// A tripped breaker as a restarted worker finds it. A row that DECNET tripped itself has no phase
/// of ours; it gets a probe like any other.
fn tripped(view: &SubscriptionView, at: UtcTime) -> Phase {
    Phase::Tripped {
        probe_at: match view.breaker.phase {
            BreakerPhase::Tripped | BreakerPhase::Probing => view.breaker.probe_at,
            BreakerPhase::Healthy => Some(at),
        },
        outage: outage_of(view),
    }
}

fn outage_of(view: &SubscriptionView) -> Outage {
    Outage {
        turns: view.breaker.trips,
        manner: if view.breaker.answers {
            Manner::Answers
        } else {
            Manner::Silent
        },
        silent_since: view.breaker.silent_since,
    }
}
