//! Which subscriptions get nothing at present, and why: for `GET /status`.

use std::cmp::Reverse;

use serde::Serialize;
use utoipa::ToSchema;
use webhook_model::{State, UtcTime};
use webhook_store::Standing;

/// Subscriptions that are named, the worst first; the others are counted.
const NAMED: usize = 20;

/// Subscriptions to which nothing goes out at present, though no operator said so.
#[derive(Serialize, ToSchema)]
pub(crate) struct Troubles {
    /// Those whose receiver asked for a pause (`Retry-After`).
    #[schema(example = 1)]
    asked_for_pause: u64,
    /// The worst, at most 20: tripped ones that wait for an operator, other tripped ones, then those
    /// whose receiver asked for a pause; the longest in trouble first.
    subscriptions: Vec<Trouble>,
    /// How many there are beyond those.
    #[schema(example = 0)]
    more: u64,
}

/// One of them.
#[derive(Serialize, ToSchema)]
pub(crate) struct Trouble {
    /// Its uuid.
    subscription: String,
    #[schema(example = "siem")]
    name: String,
    #[schema(value_type = TroubleName, example = "tripped")]
    state: &'static str,
    /// Its last error.
    #[schema(required = true, example = "http 503")]
    reason: Option<String>,
    /// When it tripped, else when its last error was.
    #[schema(required = true, value_type = Option<String>, format = DateTime, example = "2026-04-24T12:00:00.000000Z")]
    since: Option<UtcTime>,
    /// Until when its receiver asked to be left alone.
    #[schema(required = true, value_type = Option<String>, format = DateTime, example = json!(null))]
    paused_until: Option<UtcTime>,
    /// When a tripped one is probed next; null when it waits for an operator.
    #[schema(required = true, value_type = Option<String>, format = DateTime, example = "2026-04-24T12:00:30.000000Z")]
    next_probe_at: Option<UtcTime>,
}

/// `tripped` by the circuit breaker, or `waiting` as its receiver asked for.
#[derive(ToSchema)]
#[schema(as = TroubleState, rename_all = "lowercase")]
#[expect(dead_code, reason = "documents the texts in `Trouble::of`")]
pub(crate) enum TroubleName {
    Tripped,
    Waiting,
}

impl Troubles {
    pub(crate) fn of(standings: Vec<Standing>) -> Self {
        let paused = standings.iter().filter(|one| one.paused_until.is_some());
        let asked_for_pause = paused.count() as u64;
        let mut all: Vec<Trouble> = standings.into_iter().filter_map(Trouble::of).collect();
        all.sort_by_key(|one| {
            let waits_for_operator = one.state == "tripped" && one.next_probe_at.is_none();
            (
                Reverse(waits_for_operator),
                one.state,
                one.since.map_or(i64::MAX, UtcTime::micros),
            )
        });
        let more = all.len().saturating_sub(NAMED) as u64;
        all.truncate(NAMED);
        Self {
            asked_for_pause,
            subscriptions: all,
            more,
        }
    }
}

impl Trouble {
    fn of(standing: Standing) -> Option<Self> {
        let Standing {
            subscription,
            paused_until,
            next_probe_at,
        } = standing;
        let (state, since) = match (subscription.state, paused_until) {
            (State::Tripped { at }, _) => ("tripped", Some(at)),
            (State::Active, Some(_)) => {
                // A success since then has cleared the error.
                let failed = subscription.last_failure_at;
                let since = failed.filter(|_| subscription.last_error.is_some());
                ("waiting", since)
            }
            (State::Active | State::Paused, _) => return None,
        };
        Some(Self {
            subscription: subscription.uuid,
            name: subscription.name,
            state,
            reason: subscription.last_error,
            since,
            paused_until,
            next_probe_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use webhook_model::{EndpointUrl, Secret, Settings, Subscription, TopicPattern};

    use super::*;

    fn standing(name: &str, state: State, until: Option<u64>, probe: Option<u64>) -> Standing {
        let at = |seconds| UtcTime::EPOCH + Duration::from_secs(seconds);
        Standing {
            subscription: Subscription {
                uuid: name.to_owned(),
                name: name.to_owned(),
                url: EndpointUrl::parse("https://siem.example/").unwrap(),
                secret: Secret::parse("0123456789abcdef").unwrap(),
                topic_patterns: vec![TopicPattern::parse("attacker.>").unwrap()],
                skipped_patterns: Vec::new(),
                settings: Settings::default(),
                state,
                consecutive_failures: 0,
                last_success_at: None,
                last_failure_at: None,
                last_error: None,
                created_at: UtcTime::EPOCH,
                updated_at: UtcTime::EPOCH,
            },
            paused_until: until.map(at),
            next_probe_at: probe.map(at),
        }
    }

    fn tripped(seconds: u64) -> State {
        let at = UtcTime::EPOCH + Duration::from_secs(seconds);
        State::Tripped { at }
    }

    #[test]
    fn the_worst_come_first_and_the_rest_is_counted() {
        let mut all = vec![
            standing("well", State::Active, None, None),
            standing("off", State::Paused, None, None),
            standing("waits", State::Active, Some(9), None),
            standing("late", tripped(2), Some(9), Some(9)),
            standing("early", tripped(1), None, Some(9)),
            standing("given up", tripped(3), None, None),
        ];
        let found = Troubles::of(all.clone());
        let names: Vec<_> = (found.subscriptions.iter())
            .map(|one| (one.name.as_str(), one.state))
            .collect();
        assert_eq!(
            names,
            [
                ("given up", "tripped"),
                ("early", "tripped"),
                ("late", "tripped"),
                ("waits", "waiting"),
            ]
        );
        assert_eq!((found.asked_for_pause, found.more), (2, 0));
        all.extend((0..30).map(|_| standing("more", tripped(9), None, Some(9))));
        let found = Troubles::of(all);
        assert_eq!((found.subscriptions.len(), found.more), (NAMED, 14));
    }
}
