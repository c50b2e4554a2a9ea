//! A round: attempts on the short schedule until one of them settles the matter.

use std::{future::Future, sync::Arc, time::Duration};

use crate::{
    Attempt, DeliveryClient, Endpoint, EndpointVerdict, EventVerdict, LocalFault, PreparedEvent,
    RetryPolicy, Verdict,
};

/// What a round came to, attempt by attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// In order; empty only if the round was interrupted before its first.
    pub attempts: Vec<Attempt>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Round {
    /// Whether the receiver has the event.
    pub fn is_delivered(&self) -> bool {
        self.outcome == Outcome::Delivered
    }

    /// What the last attempt told of the endpoint; nothing where there was none, or the fault was
    /// ours.
    pub fn endpoint(&self) -> Option<EndpointVerdict> {
        self.attempts.last()?.verdict.endpoint()
    }
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has the event.
    Delivered,
    /// The schedule's end was reached; a later round may fare better.
    Exhausted,
    /// No attempt will fare better.
    Final,
    /// 410: the receiver wants no more events at all.
    Gone,
    /// A 429 or 503 asked for a pause of the whole subscription: the round stopped at once.
    Paused {
        /// From the answer on, at most [`MAX_RETRY_AFTER`](crate::MAX_RETRY_AFTER).
        until: Duration,
    },
    /// It failed on this side: neither event nor endpoint had a part in it. Worth another round as
    /// soon as that has passed.
    Ourselves(LocalFault),
    /// The caller ended it between two attempts.
    Interrupted,
}

/// What a caller that bounds its concurrency or watches for changes plugs into a round.
pub trait RoundHooks {
    /// Held during an attempt, not during a backoff.
    type Permit: Send;

    /// Asked before each attempt: the endpoint as it is now, and a place to deliver in. `None`
    /// ends the round as [`Outcome::Interrupted`].
    fn admit(&self) -> impl Future<Output = Option<(Arc<Endpoint>, Self::Permit)>> + Send;

    /// Completes when the backoff after this attempt should end early, at once if there should be
    /// none. An attempt in flight is never cut.
    fn interrupted(&self, last: &Attempt) -> impl Future<Output = Interruption> + Send;
}

/// Why a backoff ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// The round is cut short: [`Outcome::Interrupted`].
    Stop,
    /// Further attempts are not worth their wait now: [`Outcome::Exhausted`].
    GiveUp,
}

/// One endpoint, no bound, no interruption.
struct Fixed(Arc<Endpoint>);

impl RoundHooks for Fixed {
    type Permit = ();

    async fn admit(&self) -> Option<(Arc<Endpoint>, ())> {
        Some((Arc::clone(&self.0), ()))
    }

    async fn interrupted(&self, _: &Attempt) -> Interruption {
        std::future::pending().await
    }
}

impl DeliveryClient {
    /// Delivers an event within one round.
    pub async fn deliver(
        &self,
        endpoint: &Endpoint,
        event: &PreparedEvent,
        policy: &RetryPolicy,
    ) -> Round {
        let hooks = Fixed(Arc::new(endpoint.clone()));
        self.deliver_with(&hooks, event, policy).await
    }

    /// [`deliver`](Self::deliver), asking `hooks` before each attempt and during each backoff.
    pub async fn deliver_with<H: RoundHooks + Sync>(
        &self,
        hooks: &H,
        event: &PreparedEvent,
        policy: &RetryPolicy,
    ) -> Round {
        let attempt = |endpoint: Arc<Endpoint>| async move { self.attempt(&endpoint, event).await };
        run(hooks, policy, attempt).await
    }
}

async fn run<H, A, F>(hooks: &H, policy: &RetryPolicy, mut attempt: A) -> Round
where
    H: RoundHooks + Sync,
    A: FnMut(Arc<Endpoint>) -> F,
    F: Future<Output = Attempt>,
{
    let mut delays = policy.schedule();
    let mut attempts = Vec::new();
    let outcome = loop {
        let Some((endpoint, permit)) = hooks.admit().await else {
            break Outcome::Interrupted;
        };
        let done = attempt(endpoint).await;
        drop(permit);
        let verdict = done.verdict;
        let outcome = match next(verdict, &mut delays) {
            Next::End(outcome) => Some(outcome),
            Next::Wait(delay) => tokio::select! {
                biased;
                interruption = hooks.interrupted(&done) => Some(match interruption {
                    Interruption::Stop => Outcome::Interrupted,
                    Interruption::GiveUp => Outcome::Exhausted,
                }),
                () = tokio::time::sleep(delay) => None,
            },
        };
        attempts.push(done);
        if let Some(outcome) = outcome {
            break outcome;
        }
    };
    Round { attempts, outcome }
}

enum Next {
    End(Outcome),
    Wait(Duration),
}

fn next(verdict: Verdict, delays: &mut impl Iterator<Item = Duration>) -> Next {
    let (event, endpoint) = match verdict {
        Verdict::Ourselves(fault) => return Next::End(Outcome::Ourselves(fault)),
        Verdict::Receiver { event, endpoint } => (event, endpoint),
    };
    match event {
        EventVerdict::Delivered => Next::End(Outcome::Delivered),
        EventVerdict::Refused if endpoint == EndpointVerdict::Gone => Next::End(Outcome::Gone),
        EventVerdict::Refused => Next::End(Outcome::Final),
        // `Retry-After: 0` asks for no pause.
        EventVerdict::NotYet { after: Some(until) } if !until.is_zero() => {
            Next::End(Outcome::Paused { until })
        }
        EventVerdict::NotYet { .. } => match delays.next() {
            Some(delay) => Next::Wait(delay),
            None => Next::End(Outcome::Exhausted),
        },
    }
}

#[cfg(test)]
mod tests;
