//! The circuit breaker of one subscription, as a pure step function: Healthy → (Checking →) Tripped
//! → Probing → Healthy. It decides; the guardian acts and writes, by compare-and-set, what was
//! decided.
//!
//! Whether the endpoint answers makes the difference. Silence trips at once, is probed with one
//! event a turn, another each time, and is given up after days. Where the endpoint answers, the events may be at fault:
//! a test ping is asked before it trips, and its turns try more than one event.

use std::time::Duration;

use webhook_model::UtcTime;

/// The longest cool-down: how late a recovered receiver is noticed at worst.
pub(crate) const LONGEST_COOL_DOWN: Duration = Duration::from_secs(600);
/// A receiver that was silent this long is left to the operator (Standard Webhooks suggests days).
pub(crate) const GIVE_UP_AFTER: Duration = Duration::from_secs(5 * 24 * 3_600);
/// How long the answer to a test ping stands, and so the least time between two of them.
pub(crate) const CONTROL_STANDS: Duration = Duration::from_secs(30);

/// What makes a breaker trip, and how long it first cools down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// Failed rounds in a row.
    pub(crate) threshold: u32,
    /// The first cool-down of a silent endpoint; each turn without a 2xx doubles it.
    pub(crate) cool_down: Duration,
    /// The same of one that answers.
    pub(crate) answering_cool_down: Duration,
    /// Whether a test ping may be sent.
    pub(crate) control_ping: bool,
}

/// How an endpoint that takes nothing behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It answers, but takes no event.
    Answers,
    /// No answer, or a gateway's in its place.
    Silent,
}

/// The last word on whether the endpoint takes events at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Control {
    pub(crate) at: UtcTime,
    pub(crate) taken: bool,
}

/// The breaker of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Breaker {
    pub(crate) phase: Phase,
    pub(crate) control: Option<Control>,
}

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Deliveries flow.
    Healthy,
    /// Nothing new is sent until a test ping has told whether endpoint or events are at fault.
    Checking,
    /// Nothing is sent. `probe_at` is absent when only an operator may switch it on again.
    Tripped {
        probe_at: Option<UtcTime>,
        outage: Outage,
    },
    /// A turn of probing is under way; what it is about to try, or tries.
    Probing { outage: Outage, trying: Candidate },
    /// An operator switched the subscription off.
    Paused,
}

/// What is known of the endpoint since the trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outage {
    /// Turns without a 2xx, since it tripped or changed its manner.
    pub(crate) turns: u32,
    pub(crate) manner: Manner,
    /// Since when it has been silent, if it is.
    pub(crate) silent_since: Option<UtcTime>,
}

/// What a turn of probing tries, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidate {
    /// A test ping.
    Ping,
    /// The newest event on the bus.
    Newest,
    /// What has waited longest: the oldest event on the bus, or the row that is due first.
    Oldest,
}

/// What the breaker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Failed rounds in a row, as just committed, and how the last of them ended.
    Failures { count: u32, manner: Manner },
    /// The receiver answered 410 Gone.
    Gone,
    /// Time has passed.
    Tick,
    /// What the test ping came to that was sent before a trip.
    Controlled(Probe),
    /// What the candidate of a turn came to.
    Probed(Probe),
    /// No probe was possible: another worker holds it, or it was cut short.
    ProbeReleased,
}

/// What one attempt of a probe came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probe {
    /// 2xx.
    Taken,
    /// It was not taken; no probe before this time, if the receiver asked for that.
    Refused {
        manner: Manner,
        not_before: Option<UtcTime>,
    },
    /// 410.
    Gone,
    /// There was nothing to send.
    Nothing,
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Nothing,
    /// Hold back what is new, and send a test ping.
    Check,
    /// The endpoint is well: begin the streak anew and let everything pass.
    Clear,
    /// Switch the subscription off and say so.
    Trip {
        probe_at: Option<UtcTime>,
        outage: Outage,
    },
    /// Take the lease of a turn of probing and try the first candidate.
    Probe(Candidate),
    /// Try the next one.
    Next(Candidate),
    /// Write when the next turn is due; never again if absent.
    Wait {
        probe_at: Option<UtcTime>,
        outage: Outage,
    },
    /// Switch the subscription on and say so.
    Recover,
}

impl Breaker {
    /// A breaker that knows nothing of its endpoint's answers to test pings.
    pub(crate) fn new(phase: Phase) -> Self {
        Self {
            phase,
            control: None,
        }
    }

    /// The next state and what to do. `jitter` in 0.8..1.2 scales the cool-down.
    pub(crate) fn step(
        self,
        input: Input,
        policy: &Policy,
        now: UtcTime,
        jitter: f64,
    ) -> (Self, Action) {
        let to = |phase, action| (Self { phase, ..self }, action);
        match (self.phase, input) {
            (Phase::Healthy, Input::Failures { count, manner }) if count >= policy.threshold => {
                match (manner, self.standing(now)) {
                    (Manner::Answers, Some(true)) => to(Phase::Healthy, Action::Clear),
                    (Manner::Answers, None) if policy.control_ping => {
                        to(Phase::Checking, Action::Check)
                    }
                    (Manner::Answers, _) | (Manner::Silent, _) => {
                        self.trip(manner, policy, now, jitter)
                    }
                }
            }
            (Phase::Healthy | Phase::Checking, Input::Gone) => self.give_up(now),
            (Phase::Checking, Input::Controlled(result)) => match result {
                Probe::Taken => (self.controlled(true, now).at(Phase::Healthy), Action::Clear),
                Probe::Gone => self.controlled(false, now).give_up(now),
                Probe::Refused { manner, .. } => self
                    .controlled(false, now)
                    .trip(manner, policy, now, jitter),
                // It could not be asked; the next failure asks again.
                Probe::Nothing => to(Phase::Healthy, Action::Nothing),
            },
            (
                Phase::Tripped {
                    probe_at: Some(at),
                    outage,
                },
                Input::Tick,
            ) if now >= at => {
                let trying = match outage.manner {
                    // Turn about: it may be the oldest events that it does not answer.
                    Manner::Silent if outage.turns.is_multiple_of(3) => Candidate::Newest,
                    Manner::Silent => Candidate::Oldest,
                    Manner::Answers if self.may_ping(policy, now) => Candidate::Ping,
                    Manner::Answers => Candidate::Newest,
                };
                to(Phase::Probing { outage, trying }, Action::Probe(trying))
            }
            (Phase::Probing { outage, trying }, Input::Probed(result)) => {
                self.probed(outage, trying, result, policy, now, jitter)
            }
            (Phase::Probing { outage, .. }, Input::ProbeReleased) => {
                let probe_at = Some(now);
                to(Phase::Tripped { probe_at, outage }, Action::Nothing)
            }
            _ => (self, Action::Nothing),
        }
    }

    fn probed(
        self,
        outage: Outage,
        trying: Candidate,
        result: Probe,
        policy: &Policy,
        now: UtcTime,
        jitter: f64,
    ) -> (Self, Action) {
        let this = match (trying, result) {
            (_, Probe::Taken) => self.controlled(true, now),
            (Candidate::Ping, Probe::Refused { .. } | Probe::Gone) => self.controlled(false, now),
            _ => self,
        };
        if (outage.manner, result) == (Manner::Silent, Probe::Nothing) {
            // With nothing to ask it, the next arrival is tried.
            let trying = Candidate::Oldest;
            let phase = Phase::Probing { outage, trying };
            return (this.at(phase), Action::Next(trying));
        }
        let (manner, not_before) = match result {
            Probe::Taken => return (this.at(Phase::Healthy), Action::Recover),
            Probe::Gone => return this.waits(outage, None),
            Probe::Refused { manner, not_before } => (manner, not_before),
            Probe::Nothing => (outage.manner, None),
        };
        let next = match trying {
            Candidate::Ping => Some(Candidate::Newest),
            Candidate::Newest => Some(Candidate::Oldest),
            Candidate::Oldest => None,
        };
        // A turn goes on only with an endpoint that answers, and did so just now.
        let both_answer = outage.manner == Manner::Answers && manner == Manner::Answers;
        if let (Some(trying), true, None) = (next, both_answer, not_before) {
            let phase = Phase::Probing { outage, trying };
            return (this.at(phase), Action::Next(trying));
        }
        let turned = outage.turned(manner, now);
        let hopeless = turned
            .silent_since
            .is_some_and(|since| now.since(since) >= GIVE_UP_AFTER);
        let at = now + policy.after(turned.manner, turned.turns, jitter);
        let at = not_before.map_or(at, |asked| at.max(asked));
        this.waits(turned, (!hopeless).then_some(at))
    }

    fn waits(self, outage: Outage, probe_at: Option<UtcTime>) -> (Self, Action) {
        let phase = Phase::Tripped { probe_at, outage };
        (self.at(phase), Action::Wait { probe_at, outage })
    }

    fn trip(self, manner: Manner, policy: &Policy, now: UtcTime, jitter: f64) -> (Self, Action) {
        let outage = Outage::new(manner, now);
        self.tripped(outage, Some(now + policy.after(manner, 0, jitter)))
    }

    fn give_up(self, now: UtcTime) -> (Self, Action) {
        self.tripped(Outage::new(Manner::Answers, now), None)
    }

    fn tripped(self, outage: Outage, probe_at: Option<UtcTime>) -> (Self, Action) {
        let phase = Phase::Tripped { probe_at, outage };
        (self.at(phase), Action::Trip { probe_at, outage })
    }

    fn at(self, phase: Phase) -> Self {
        Self { phase, ..self }
    }

    fn controlled(self, taken: bool, now: UtcTime) -> Self {
        let control = Some(Control { at: now, taken });
        Self { control, ..self }
    }

    /// What the last test ping said, while that stands.
    fn standing(&self, now: UtcTime) -> Option<bool> {
        let control = self.control?;
        (now.since(control.at) < CONTROL_STANDS).then_some(control.taken)
    }

    fn may_ping(&self, policy: &Policy, now: UtcTime) -> bool {
        policy.control_ping && self.standing(now).is_none()
    }

    /// A tripped or probing breaker that is to probe at another time instead.
    pub(crate) fn deferred(self, at: UtcTime) -> Self {
        match self.phase {
            Phase::Tripped {
                outage,
                probe_at: Some(_),
            }
            | Phase::Probing { outage, .. } => self.at(Phase::Tripped {
                probe_at: Some(at),
                outage,
            }),
            _ => self,
        }
    }
}

impl Outage {
    pub(crate) fn new(manner: Manner, now: UtcTime) -> Self {
        Self {
            turns: 0,
            manner,
            silent_since: (manner == Manner::Silent).then_some(now),
        }
    }

    /// Whether what has waited longest is looked for among the rows first, turn about.
    pub(crate) fn rows_first(self) -> bool {
        match self.manner {
            Manner::Answers => self.turns % 2 == 1,
            Manner::Silent => self.turns % 3 == 2,
        }
    }

    /// After one more turn. An endpoint that changed its manner begins anew.
    fn turned(self, manner: Manner, now: UtcTime) -> Self {
        if manner != self.manner {
            return Self::new(manner, now);
        }
        Self {
            turns: self.turns.saturating_add(1),
            ..self
        }
    }
}

impl Policy {
    /// The cool-down after this many turns without a 2xx: doubled by each, up to the longest.
    pub(crate) fn after(&self, manner: Manner, turns: u32, jitter: f64) -> Duration {
        let first = match manner {
            Manner::Answers => self.answering_cool_down.min(self.cool_down),
            Manner::Silent => self.cool_down,
        };
        first
            .saturating_mul(2_u32.saturating_pow(turns.min(16)))
            .min(LONGEST_COOL_DOWN)
            .mul_f64(jitter)
    }
}

#[cfg(test)]
mod tests;
