//! Deliveries that their subscription's next events wait for.

use std::time::Duration;

use webhook_model::{DeliveryStatus::Retrying, Settings, UtcTime};
use webhook_store::{
    DeliveryRecord, NewSubscription, RetryOutcome, SettingsChange, SkipOutcome, Store,
    SubscriptionPatch,
};

use crate::support::*;

on_each_engine!(
    a_head_is_seen_and_no_redelivery,
    a_head_is_retried_and_skipped,
    a_correction_makes_what_waits_due,
);

const LEASE: Duration = Duration::from_secs(60);
/// Long past, and far in the future.
const PAST: i64 = 1_000_000;
const FUTURE: i64 = 4_000_000_000_000_000;

fn head(record: DeliveryRecord) -> DeliveryRecord {
    DeliveryRecord {
        in_order: true,
        ..record
    }
}

async fn due_in(store: &Store, uuid: &str) -> Duration {
    store.head(uuid).await.unwrap().unwrap().due_in
}

async fn a_head_is_seen_and_no_redelivery(database: Database) {
    let store = database.open().await;
    let ordered = NewSubscription {
        settings: Settings::default().with_ordered(true),
        ..new("siem", &["a"])
    };
    let made = store.create(ordered, &at(1)).await.unwrap();
    assert_eq!(store.head(&made.uuid).await.unwrap(), None);
    let first = head(due_at(&made, 7, PAST));
    store
        .record(&[first.clone(), due_at(&made, 9, PAST)])
        .await
        .unwrap();
    let found = store.head(&made.uuid).await.unwrap().unwrap();
    assert!(found.due_in.is_zero() && !found.is_leased);
    let claimed = store.claim(&made.uuid, 9, "one", LEASE).await.unwrap();
    let claimed: Vec<u64> = claimed.iter().map(|row| row.seq).collect();
    assert_eq!(claimed, [9], "the head is tried in its place alone");
    assert!(
        store
            .claim_earliest(&made.uuid, &[], "one", LEASE)
            .await
            .unwrap()
            .is_none()
    );

    let leased = store.claim_head(found.id, "one", LEASE).await.unwrap();
    assert_eq!(leased.unwrap().seq, 7);
    assert!(
        store
            .claim_head(found.id, "two", LEASE)
            .await
            .unwrap()
            .is_none()
    );
    assert!(store.head(&made.uuid).await.unwrap().unwrap().is_leased);
    assert_eq!(store.skip(found.id).await.unwrap(), SkipOutcome::BeingTried);

    let later = DeliveryRecord {
        attempts: first.attempts + 1,
        next_attempt_at: Some(UtcTime::from_micros(FUTURE)),
        ..first.clone()
    };
    store.record(&[later]).await.unwrap();
    let waits = store.head(&made.uuid).await.unwrap().unwrap();
    assert!(!waits.is_leased && waits.due_in > LEASE);
    let over = DeliveryRecord {
        attempts: first.attempts + 2,
        status: webhook_model::DeliveryStatus::Delivered,
        in_order: false,
        ..first
    };
    store.record(&[over]).await.unwrap();
    assert_eq!(store.head(&made.uuid).await.unwrap(), None);
}

async fn a_head_is_retried_and_skipped(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    store
        .record(&[head(due_at(&made, 7, FUTURE))])
        .await
        .unwrap();
    let id = store.head(&made.uuid).await.unwrap().unwrap().id;
    assert_eq!(store.retry(id).await.unwrap(), RetryOutcome::Queued);
    assert!(
        due_in(&store, &made.uuid).await.is_zero(),
        "and still the head"
    );
    assert_eq!(store.skip(id).await.unwrap(), SkipOutcome::Skipped);
    assert_eq!(store.skip(id).await.unwrap(), SkipOutcome::NotWaiting);
    assert_eq!(store.skip(id + 1).await.unwrap(), SkipOutcome::NotFound);
    assert_eq!(store.head(&made.uuid).await.unwrap(), None);
    // Tried again as a dead letter, it holds nobody up.
    assert_eq!(store.retry(id).await.unwrap(), RetryOutcome::Queued);
    assert_eq!(store.head(&made.uuid).await.unwrap(), None);
    assert_eq!(
        store
            .claim(&made.uuid, 9, "one", LEASE)
            .await
            .unwrap()
            .len(),
        1
    );
}

async fn a_correction_makes_what_waits_due(database: Database) {
    let store = database.open().await;
    let ordered = Settings::default().with_ordered(true);
    let with = NewSubscription {
        settings: ordered.clone(),
        ..new("siem", &["a"])
    };
    let made = store.create(with, &at(1)).await.unwrap();
    let rows = [head(due_at(&made, 7, FUTURE)), due_at(&made, 8, FUTURE)];
    assert!(rows.iter().all(|row| row.status == Retrying));
    store.record(&rows).await.unwrap();
    store
        .patch(&made.uuid, repatterned(&["a", "b"]), &at(1))
        .await
        .unwrap();
    assert!(
        due_in(&store, &made.uuid).await > LEASE,
        "patterns correct nothing"
    );
    let moved = SubscriptionPatch {
        url: Some(webhook_model::EndpointUrl::parse("https://other.example/").unwrap()),
        ..SubscriptionPatch::default()
    };
    store.patch(&made.uuid, moved, &at(1)).await.unwrap();
    assert!(due_in(&store, &made.uuid).await.is_zero());
    let claimed = store.claim(&made.uuid, 9, "one", LEASE).await.unwrap();
    assert_eq!(claimed.len(), 1);
    let unordered = SubscriptionPatch {
        settings: Some(SettingsChange {
            from: ordered.clone(),
            to: ordered.with_ordered(false),
        }),
        ..SubscriptionPatch::default()
    };
    store.patch(&made.uuid, unordered, &at(1)).await.unwrap();
    assert_eq!(store.head(&made.uuid).await.unwrap(), None);
    let claimed = store.claim(&made.uuid, 9, "one", LEASE).await.unwrap();
    assert_eq!(claimed.iter().map(|row| row.seq).collect::<Vec<_>>(), [7]);
}
