//! The circuit breaker of one subscription, as a pure step function: Healthy → Tripped → Probing →
//! Healthy. It decides; the supervisor acts and writes, by compare-and-set, what was decided.

use std::time::Duration;

use webhook_model::UtcTime;

/// The longest cool-down: how late a recovered receiver is noticed at worst.
pub(crate) const LONGEST_COOL_DOWN: Duration = Duration::from_secs(600);
/// A receiver that failed this long is left to the operator (Standard Webhooks suggests days).
pub(crate) const GIVE_UP_AFTER: Duration = Duration::from_secs(5 * 24 * 3_600);

/// What makes a breaker trip, and how long it first cools down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// Failed rounds in a row.
    pub(crate) threshold: u32,
    /// The first cool-down; each failed probe doubles it.
    pub(crate) cool_down: Duration,
}

/// Where the breaker of a subscription stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breaker {
    /// Deliveries flow.
    Healthy,
    /// Nothing is sent. `probe_at` is absent when only an operator may switch it on again.
    Tripped {
        probe_at: Option<UtcTime>,
        failed_probes: u32,
        since: UtcTime,
    },
    /// One attempt is on its way.
    Probing { failed_probes: u32, since: UtcTime },
    /// An operator switched the subscription off.
    Paused,
}

/// What the breaker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Failed rounds in a row, as just committed.
    Failures(u32),
    /// The receiver answered 410 Gone.
    Gone,
    /// Time has passed.
    Tick,
    /// The probe's attempt was answered 2xx.
    ProbeSucceeded,
    /// It was not; `gone` when it was answered 410.
    ProbeFailed { gone: bool },
    /// No probe was possible: there was nothing to send, or another worker holds it.
    ProbeReleased,
    /// An operator switched the subscription on.
    Enabled,
    /// An operator switched it off.
    Disabled,
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Nothing,
    /// Switch the subscription off and say so.
    Trip {
        probe_at: Option<UtcTime>,
    },
    /// Let one attempt through.
    Probe,
    /// Write when the next probe is due; never again if absent.
    Wait {
        probe_at: Option<UtcTime>,
    },
    /// Switch the subscription on and say so.
    Recover,
}

impl Breaker {
    /// The next state and what to do. `jitter` in 0.8..1.2 scales the cool-down.
    pub(crate) fn step(
        self,
        input: Input,
        policy: &Policy,
        now: UtcTime,
        jitter: f64,
    ) -> (Self, Action) {
        match (self, input) {
            (_, Input::Disabled) => (Self::Paused, Action::Nothing),
            (_, Input::Enabled) => (Self::Healthy, Action::Nothing),
            (Self::Healthy, Input::Failures(count)) if count >= policy.threshold => {
                trip(Some(now + policy.after(0, jitter)), now)
            }
            (Self::Healthy, Input::Gone) => trip(None, now),
            (
                Self::Tripped {
                    probe_at: Some(at),
                    failed_probes,
                    since,
                },
                Input::Tick,
            ) if now >= at => (
                Self::Probing {
                    failed_probes,
                    since,
                },
                Action::Probe,
            ),
            (Self::Probing { .. }, Input::ProbeSucceeded) => (Self::Healthy, Action::Recover),
            (
                Self::Probing {
                    failed_probes,
                    since,
                },
                Input::ProbeFailed { gone },
            ) => {
                let failed_probes = failed_probes.saturating_add(1);
                let hopeless = gone || now.since(since) >= GIVE_UP_AFTER;
                let probe_at = (!hopeless).then(|| now + policy.after(failed_probes, jitter));
                (
                    Self::Tripped {
                        probe_at,
                        failed_probes,
                        since,
                    },
                    Action::Wait { probe_at },
                )
            }
            (
                Self::Probing {
                    failed_probes,
                    since,
                },
                Input::ProbeReleased,
            ) => (
                Self::Tripped {
                    probe_at: Some(now),
                    failed_probes,
                    since,
                },
                Action::Nothing,
            ),
            (state, _) => (state, Action::Nothing),
        }
    }
}

impl Breaker {
    /// A tripped or probing breaker that is to probe at another time instead.
    pub(crate) fn deferred(self, at: UtcTime) -> Self {
        match self {
            Self::Tripped {
                failed_probes,
                since,
                probe_at: Some(_),
            }
            | Self::Probing {
                failed_probes,
                since,
            } => Self::Tripped {
                probe_at: Some(at),
                failed_probes,
                since,
            },
            other => other,
        }
    }
}

fn trip(probe_at: Option<UtcTime>, now: UtcTime) -> (Breaker, Action) {
    let tripped = Breaker::Tripped {
        probe_at,
        failed_probes: 0,
        since: now,
    };
    (tripped, Action::Trip { probe_at })
}

impl Policy {
    /// The cool-down after this many failed probes: doubled by each, up to the longest.
    pub(crate) fn after(&self, failed_probes: u32, jitter: f64) -> Duration {
        let factor = 2_u32.saturating_pow(failed_probes.min(16));
        self.cool_down
            .saturating_mul(factor)
            .min(LONGEST_COOL_DOWN)
            .mul_f64(jitter)
    }
}

#[cfg(test)]
mod tests;
