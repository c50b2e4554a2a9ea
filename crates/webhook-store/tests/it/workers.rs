//! Workers that share a database.

use std::time::Duration;

use webhook_model::{DeliveryStatus::Retrying, UtcTime};
use webhook_store::{Beat, DeliveryRecord, SubscriptionPatch};

use crate::support::{Database, at, down, new, on_each_engine, record};

on_each_engine!(
    everybody_sees_the_same_roll,
    a_dead_workers_leases_are_free_and_no_others,
    a_receivers_pause_is_for_everybody_until_something_changes,
    what_is_held_back_is_seen_while_it_is,
    a_failure_in_place_counts_like_a_recorded_one,
);

/// Nobody of these tests is silent for that long.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// Everybody is silent for longer.
const NONE: Duration = Duration::ZERO;

fn beat(instance: &str, settled: i64) -> Beat {
    Beat {
        instance: instance.into(),
        name: format!("host/{instance}"),
        version: "1.2.3".into(),
        settled,
        holding: vec![format!("of {instance}")],
    }
}

async fn everybody_sees_the_same_roll(database: Database) {
    let store = database.open().await;
    let alone = store.beat(&beat("two", 0), PATIENCE).await.unwrap();
    assert_eq!(alone.alive.len(), 1);
    let both = store.beat(&beat("one", 7), PATIENCE).await.unwrap();
    let names: Vec<(&str, i64)> = both
        .alive
        .iter()
        .map(|worker| (worker.instance.as_str(), worker.settled))
        .collect();
    assert_eq!(names, [("one", 7), ("two", 0)]);
    assert_eq!(both.version, store.config_version().await.unwrap());
    assert_eq!(both.alive[0].name, "host/one");
    assert_eq!(both.alive[1].holding, ["of two"]);
    assert!(both.alive[0].silent_for < Duration::from_secs(60));

    let later = store.beat(&beat("two", 9), PATIENCE).await.unwrap();
    assert_eq!(later.alive[1].settled, 9);
    assert_eq!(later.alive[1].started_at, alone.alive[0].started_at);
    store.leave("one").await.unwrap();
    assert_eq!(store.workers().await.unwrap().len(), 1);
}

async fn a_dead_workers_leases_are_free_and_no_others(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    for seq in 1..=2 {
        let due = DeliveryRecord {
            body: Some("{}".into()),
            next_attempt_at: Some(UtcTime::EPOCH),
            ..record(&made, "p", seq, Retrying)
        };
        store.record(&[due]).await.unwrap();
    }
    store.beat(&beat("alive", 0), PATIENCE).await.unwrap();
    let kept = store.claim(&made.uuid, 1, "alive", PATIENCE).await.unwrap();
    let lost = store.claim(&made.uuid, 1, "dead", PATIENCE).await.unwrap();
    assert_eq!((kept.len(), lost.len()), (1, 1));
    store.free_orphaned_leases(PATIENCE).await.unwrap();
    let freed = store.claim(&made.uuid, 9, "alive", PATIENCE).await.unwrap();
    assert_eq!(freed[0].id, lost[0].id);
    assert_eq!(freed.len(), 1);
    store.free_orphaned_leases(NONE).await.unwrap();
    let all = store.claim(&made.uuid, 9, "alive", PATIENCE).await.unwrap();
    assert_eq!(all.len(), 2);
}

async fn a_receivers_pause_is_for_everybody_until_something_changes(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let read = async || store.snapshot().await.unwrap().subscriptions[0].clone();
    let (early, late) = (UtcTime::from_micros(1_000), UtcTime::from_micros(2_000));
    let epoch = read().await.epoch;
    let before = store.config_version().await.unwrap();
    assert!(store.pause_until(&made.uuid, epoch, late).await.unwrap());
    assert!(!store.pause_until(&made.uuid, epoch, early).await.unwrap());
    assert!(
        !store
            .pause_until(&made.uuid, epoch + 1, late)
            .await
            .unwrap()
    );
    assert_eq!(read().await.pause_until, Some(late));
    assert!(store.config_version().await.unwrap() > before);
    assert!(
        store
            .trip(&made.uuid, epoch, down("no", None))
            .await
            .unwrap()
    );
    assert_eq!(read().await.pause_until, None);
}

async fn what_is_held_back_is_seen_while_it_is(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let seen = async || {
        let one = store.get(&made.uuid).await.unwrap().unwrap();
        let one = store.standing(one).await.unwrap();
        let all = store.standings().await.unwrap().standings;
        assert_eq!(all.len(), 1);
        let found = (one.paused_until, one.next_probe_at);
        assert_eq!((all[0].paused_until, all[0].next_probe_at), found);
        found
    };
    assert_eq!(seen().await, (None, None));
    let epoch = store.snapshot().await.unwrap().subscriptions[0].epoch;
    let over = UtcTime::from_micros(1_000);
    assert!(store.pause_until(&made.uuid, epoch, over).await.unwrap());
    assert_eq!(seen().await, (None, None), "that is over");
    let later = UtcTime::from_micros(4_000_000_000_000_000);
    assert!(store.pause_until(&made.uuid, epoch, later).await.unwrap());
    assert_eq!(seen().await, (Some(later), None));
    let trip = down("http 503", Some(later));
    assert!(store.trip(&made.uuid, epoch, trip).await.unwrap());
    assert_eq!(seen().await, (None, Some(later)));
    let off = SubscriptionPatch {
        enabled: Some(false),
        ..SubscriptionPatch::default()
    };
    store.patch(&made.uuid, off, &at(1)).await.unwrap();
    assert_eq!(seen().await, (None, None));
}

async fn a_failure_in_place_counts_like_a_recorded_one(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let epoch = store.snapshot().await.unwrap().subscriptions[0].epoch;
    let now = UtcTime::now();
    for count in 1..=2 {
        let failed = store
            .count_failure(&made.uuid, epoch, "http 500", now)
            .await;
        let failed = failed.unwrap().unwrap();
        assert_eq!((failed.consecutive_failures, failed.epoch), (count, epoch));
    }
    let stale = store.count_failure(&made.uuid, epoch + 1, "x", now).await;
    assert_eq!(stale.unwrap(), None);
    let row = store.get(&made.uuid).await.unwrap().unwrap();
    assert_eq!(row.consecutive_failures, 2);
    assert_eq!(row.last_error.as_deref(), Some("http 500"));
}
