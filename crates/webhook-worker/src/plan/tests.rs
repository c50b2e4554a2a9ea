use webhook_model::{
    EndpointUrl, Filter, Secret, Settings, State, Subscription, TopicPattern, UtcTime,
};
use webhook_store::{BadRow, BreakerState, SubscriptionView};

use super::*;

fn pair(id: &str, subscription: &str) -> Pair {
    Pair {
        id: id.into(),
        subscription: subscription.into(),
        filter: Filter {
            cover: TopicPattern::parse("attacker.>").unwrap(),
            patterns: Vec::new(),
        },
        incarnation: "j1".into(),
        start_seq: 1,
        end_seq: None,
        drain: false,
    }
}

fn ended(id: &str, subscription: &str, end: u64, drain: bool) -> Pair {
    Pair {
        end_seq: Some(end),
        drain,
        ..pair(id, subscription)
    }
}

fn snapshot(rows: &[(&str, &[Pair])], ended: &[Pair], bad: &[&str]) -> Snapshot {
    let view = |uuid: &str, pairs: &[Pair]| SubscriptionView {
        subscription: Subscription {
            uuid: uuid.into(),
            name: uuid.into(),
            url: EndpointUrl::parse("http://127.0.0.1/").unwrap(),
            secret: Secret::generate(),
            topic_patterns: Vec::new(),
            state: State::Active,
            consecutive_failures: 0,
            last_success_at: None,
            last_failure_at: None,
            last_error: None,
            created_at: UtcTime::EPOCH,
            updated_at: UtcTime::EPOCH,
            skipped_patterns: Vec::new(),
            settings: Settings::default(),
        },
        epoch: 0,
        pause_until: None,
        ahead_seq: None,
        breaker: BreakerState::default(),
        pairs: pairs.to_vec(),
    };
    Snapshot {
        version: 1,
        subscriptions: rows.iter().map(|(uuid, pairs)| view(uuid, pairs)).collect(),
        ended: ended.to_vec(),
        skipped: bad
            .iter()
            .map(|uuid| BadRow {
                uuid: (*uuid).into(),
                reason: "bad".into(),
            })
            .collect(),
        out_of_step: Vec::new(),
        unmarked: Vec::new(),
    }
}

fn running(pairs: &[(&str, Option<u64>)]) -> BTreeMap<String, Option<u64>> {
    pairs
        .iter()
        .map(|(id, end)| ((*id).to_owned(), *end))
        .collect()
}

#[test]
fn what_did_not_change_is_not_touched() {
    let found = plan(
        &running(&[("p1", None), ("p2", Some(7))]),
        &snapshot(
            &[("s", &[pair("p1", "s")])],
            &[ended("p2", "s", 7, true)],
            &[],
        ),
        "j1",
    );
    assert_eq!(found, Plan::default());
}

#[test]
fn a_changed_list_finishes_one_pair_and_starts_another() {
    let found = plan(
        &running(&[("old", None)]),
        &snapshot(
            &[("s", &[pair("new", "s")])],
            &[ended("old", "s", 7, true)],
            &[],
        ),
        "j1",
    );
    assert_eq!(found.finish, [("old".to_owned(), 7)]);
    assert_eq!(found.start, [pair("new", "s")]);
    assert!(found.stop.is_empty() && found.remove.is_empty());
}

#[test]
fn after_a_restart_ended_pairs_drain_first() {
    let old = ended("old", "s", 7, true);
    let found = plan(
        &running(&[]),
        &snapshot(
            &[("s", &[pair("new", "s")])],
            std::slice::from_ref(&old),
            &[],
        ),
        "j1",
    );
    // The order matters: a successor waits for the pairs that run before it.
    assert_eq!(found.start, [old, pair("new", "s")]);
}

#[test]
fn paused_and_deleted_subscriptions_lose_their_pairs() {
    let (paused, deleted) = (ended("p1", "s", 7, false), ended("p2", "gone", 7, true));
    let found = plan(
        &running(&[("p1", None)]),
        &snapshot(&[("s", &[])], &[paused.clone(), deleted.clone()], &[]),
        "j1",
    );
    assert_eq!(found.remove, [paused, deleted]);
    assert!(found.start.is_empty());
}

#[test]
fn a_row_that_cannot_be_read_keeps_its_consumers() {
    let found = plan(
        &running(&[("p1", None)]),
        &snapshot(&[], &[], &["bad"]),
        "j1",
    );
    assert_eq!(found.stop, ["p1"]);
    assert!(found.remove.is_empty() && found.start.is_empty());
}

#[test]
fn what_counts_on_another_bus_is_only_forgotten() {
    let old = ended("old", "s", 7, true);
    let found = plan(
        &running(&[]),
        &snapshot(
            &[("s", &[pair("new", "s")])],
            std::slice::from_ref(&old),
            &[],
        ),
        "j2",
    );
    assert_eq!(found.remove, [old]);
    assert_eq!(found.start, [pair("new", "s")]);
}
