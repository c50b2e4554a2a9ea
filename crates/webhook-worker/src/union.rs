//! What a feed subscribes to at a bus that keeps nothing: the patterns of every subscription that is
//! not paused, and the topics that the worker itself listens to.

use std::{collections::BTreeSet, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use webhook_bus::{Bus, BusError};
use webhook_model::{State, TopicPattern, topics};
use webhook_store::Store;

use crate::{heartbeat, in_step, pause::Pauses};

/// Longest pause between tries to read the tables.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Keeps `patterns` at what is wanted until `shutdown`, by the same signals as the worker and its
/// timer. A row that gets its pairs here has them before the feed hears of its patterns: everything
/// that is fed because of it is delivered.
pub async fn feed_patterns(
    store: Store,
    bus: Bus,
    patterns: watch::Sender<Vec<TopicPattern>>,
    interval: Duration,
    shutdown: CancellationToken,
) -> Result<(), BusError> {
    let changes = heartbeat::pattern(topics::SUBSCRIPTIONS_CHANGED);
    let mut changed = bus.watch(&changes).await?;
    let mut pauses = Pauses::new(LONGEST_PAUSE);
    loop {
        let wait = match in_step::snapshot(&store, &bus).await {
            Ok(snapshot) => {
                let all = snapshot.subscriptions.iter().map(|it| &it.subscription);
                let wanted = union(all.map(|it| (it.state, &it.topic_patterns[..])));
                patterns.send_if_modified(|known| {
                    let differ = *known != wanted;
                    *known = wanted;
                    differ
                });
                pauses.reset();
                interval
            }
            Err(error) => {
                if pauses.is_first() {
                    tracing::warn!(%error, "cannot read which patterns to feed; trying again");
                }
                pauses.next_pause()
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            message = changed.next() => if message.is_none() {
                return Ok(());
            },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Sorted, without what another pattern covers. A tripped subscription counts: its backlog waits.
/// The worker's own topics are asked for by name: the feed has to know when orders come through.
fn union<'s>(
    subscriptions: impl Iterator<Item = (State, &'s [TopicPattern])>,
) -> Vec<TopicPattern> {
    let own = [
        topics::CONTROL,
        topics::HEALTH,
        topics::SUBSCRIPTIONS_CHANGED,
    ];
    let wanted: BTreeSet<&TopicPattern> = subscriptions
        .filter(|(state, _)| *state != State::Paused)
        .flat_map(|(_, patterns)| patterns)
        .collect();
    let is_covered =
        |it: &TopicPattern| wanted.iter().any(|&other| other != it && other.covers(it));
    let mut union: Vec<TopicPattern> = (wanted.iter())
        .filter(|it| !is_covered(it))
        .map(|&it| it.clone())
        .collect();
    union.extend(own.map(heartbeat::pattern));
    union.sort();
    union.dedup();
    union
}

#[cfg(test)]
mod tests {
    use webhook_model::UtcTime;

    use super::*;

    #[test]
    fn all_but_the_paused_and_the_covered() {
        let patterns = |texts: [&str; 2]| texts.map(|text| TopicPattern::parse(text).unwrap());
        let (decky, email, attacker) = (
            patterns(["decky.*.state", "decky.>"]),
            patterns(["email.>", "smtp.>"]),
            patterns(["attacker.>", "decky.>"]),
        );
        let tripped = State::Tripped { at: UtcTime::now() };
        let all = [
            (State::Active, &decky[..]),
            (State::Paused, &email[..]),
            (tripped, &attacker[..]),
        ];
        let union = union(all.into_iter());
        let texts: Vec<&str> = union.iter().map(TopicPattern::as_str).collect();
        assert_eq!(
            texts,
            [
                "attacker.>",
                "decky.>",
                topics::CONTROL,
                topics::HEALTH,
                topics::SUBSCRIPTIONS_CHANGED,
            ]
        );
    }
}
