//! Trips, probes and recoveries against PATCHes and DECNET's own writes.

use std::time::Duration;

use webhook_model::{DeliveryStatus::Dead, State, UtcTime};
use webhook_store::{BreakerPhase, Store, SubscriptionView};

use crate::support::*;

on_each_engine!(
    a_trip_is_probed_and_recovers,
    an_operators_patch_wins,
    what_decnet_writes_wins_too,
    a_row_of_decnets_without_a_state_has_a_breaker,
);

const LEASE: Duration = Duration::from_secs(60);

async fn view(store: &Store) -> SubscriptionView {
    store.snapshot().await.unwrap().subscriptions.remove(0)
}

fn soon() -> Option<UtcTime> {
    Some(UtcTime::from_micros(4_000_000_000_000_000))
}

async fn a_trip_is_probed_and_recovers(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let uuid = made.uuid.as_str();
    store.record(&[record(&made, "p", 1, Dead)]).await.unwrap();
    let version = store.config_version().await.unwrap();
    assert!(
        store
            .trip(uuid, 1, down("5 failures in a row", soon()))
            .await
            .unwrap()
    );
    assert!(store.config_version().await.unwrap() > version);
    let tripped = view(&store).await;
    let State::Tripped { at: since } = tripped.subscription.state else {
        panic!("{:?}", tripped.subscription.state);
    };
    assert_eq!(tripped.epoch, 2);
    assert_eq!(tripped.pairs.len(), 1, "its backlog waits on the bus");
    assert_eq!(
        tripped.subscription.last_error.as_deref(),
        Some("5 failures in a row")
    );
    assert_eq!(tripped.breaker.phase, BreakerPhase::Tripped);
    assert_eq!(tripped.breaker.probe_at, soon());
    assert_eq!(tripped.breaker.failing_since, Some(since));
    assert!(!store.trip(uuid, 2, down("again", soon())).await.unwrap());

    // One worker probes; its lease may run out.
    assert!(
        store
            .claim_probe(uuid, 2, "dead", Duration::ZERO)
            .await
            .unwrap()
    );
    assert!(store.claim_probe(uuid, 2, "one", LEASE).await.unwrap());
    assert!(!store.claim_probe(uuid, 2, "two", LEASE).await.unwrap());
    assert_eq!(view(&store).await.breaker.phase, BreakerPhase::Probing);
    store.free_orphaned_leases(LEASE).await.unwrap();
    assert!(store.claim_probe(uuid, 2, "two", LEASE).await.unwrap());

    for trips in 1..=2 {
        assert!(
            store
                .probe_failed(uuid, 2, turn("http 500", soon(), trips))
                .await
                .unwrap()
        );
        let failed = view(&store).await;
        assert_eq!((failed.epoch, failed.breaker.trips), (2, trips));
        assert_eq!(failed.breaker.phase, BreakerPhase::Tripped);
        assert_eq!(failed.breaker.failing_since, Some(since));
        assert_eq!(failed.subscription.last_error.as_deref(), Some("http 500"));
    }
    // A turn for which there was nothing to try says nothing new.
    let nothing = turn("", soon(), 3);
    assert!(store.probe_failed(uuid, 2, nothing).await.unwrap());
    let failed = view(&store).await;
    assert_eq!(failed.breaker.trips, 3);
    assert_eq!(failed.subscription.last_error.as_deref(), Some("http 500"));
    assert!(
        store
            .probe_failed(uuid, 2, turn("http 410", None, 1))
            .await
            .unwrap()
    );
    assert_eq!(
        view(&store).await.breaker.probe_at,
        None,
        "left to the operator"
    );

    assert!(!store.recover(uuid, 1).await.unwrap());
    assert!(store.recover(uuid, 2).await.unwrap());
    let well = view(&store).await;
    assert_eq!(well.subscription.state, State::Active);
    assert_eq!(well.subscription.consecutive_failures, 0);
    assert_eq!(well.subscription.last_error, None);
    assert_eq!((well.epoch, well.breaker), (3, Default::default()));
    assert!(!store.recover(uuid, 3).await.unwrap());
    assert!(!store.claim_probe(uuid, 3, "one", LEASE).await.unwrap());
}

async fn an_operators_patch_wins(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let uuid = made.uuid.as_str();
    // Paused, or only changed, since the outcomes that trip it.
    store
        .patch(uuid, repatterned(&["b"]), &at(1))
        .await
        .unwrap();
    assert!(!store.trip(uuid, 1, down("old", soon())).await.unwrap());
    store.patch(uuid, enabled(false), &at(1)).await.unwrap();
    assert!(!store.trip(uuid, 3, down("paused", soon())).await.unwrap());
    assert_eq!(view(&store).await.subscription.state, State::Paused);

    // Paused while tripped: no probe brings it back.
    store.patch(uuid, enabled(true), &at(1)).await.unwrap();
    assert!(store.trip(uuid, 4, down("down", soon())).await.unwrap());
    store.patch(uuid, enabled(false), &at(1)).await.unwrap();
    for epoch in [5, 6] {
        assert!(!store.recover(uuid, epoch).await.unwrap());
        assert!(
            !store
                .probe_failed(uuid, epoch, turn("x", soon(), 1))
                .await
                .unwrap()
        );
    }
    let paused = view(&store).await;
    assert_eq!(paused.subscription.state, State::Paused);
    assert_eq!(paused.breaker, Default::default());

    // Switched on while tripped: a clean slate.
    store.patch(uuid, enabled(true), &at(1)).await.unwrap();
    assert!(store.trip(uuid, 7, down("down", soon())).await.unwrap());
    store.patch(uuid, enabled(true), &at(1)).await.unwrap();
    assert_eq!(view(&store).await.breaker, Default::default());
    assert!(
        !store
            .probe_failed(uuid, 8, turn("late", soon(), 1))
            .await
            .unwrap()
    );
    assert_eq!(view(&store).await.subscription.last_error, None);
}

async fn what_decnet_writes_wins_too(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let uuid = made.uuid.as_str();
    let decnet = database.decnet().await;
    let set = async |what: &str| {
        decnet
            .run(&format!("UPDATE webhook_subscriptions SET {what}"))
            .await;
    };
    // It leaves the epoch alone; the row itself tells.
    set("enabled = FALSE").await;
    assert!(!store.trip(uuid, 1, down("x", soon())).await.unwrap());
    set("enabled = TRUE").await;
    assert!(store.trip(uuid, 1, down("x", soon())).await.unwrap());
    set("auto_disabled_at = NULL").await;
    assert!(!store.recover(uuid, 2).await.unwrap(), "DECNET paused it");
    assert!(
        !store
            .probe_failed(uuid, 2, turn("x", soon(), 1))
            .await
            .unwrap()
    );
    set("enabled = TRUE").await;
    assert_eq!(view(&store).await.breaker, Default::default());
    assert!(!store.recover(uuid, 2).await.unwrap());

    // DECNET's own trip is probed at once, with nothing left of ours.
    set("enabled = FALSE, auto_disabled_at = '2026-04-24 12:00:00'").await;
    let since = UtcTime::parse_sql("2026-04-24 12:00:00").unwrap();
    let breaker = view(&store).await.breaker;
    assert_eq!(breaker.phase, BreakerPhase::Tripped);
    assert_eq!((breaker.probe_at, breaker.trips), (Some(since), 0));
    assert!(
        store
            .probe_failed(uuid, 2, turn("http 500", soon(), 1))
            .await
            .unwrap()
    );
    let breaker = view(&store).await.breaker;
    assert_eq!((breaker.probe_at, breaker.trips), (soon(), 1));
    assert_eq!(breaker.failing_since, Some(since));
    assert!(store.recover(uuid, 2).await.unwrap());
}

async fn a_row_of_decnets_without_a_state_has_a_breaker(database: Database) {
    let decnet = database.decnet().await;
    decnet.create_tables().await;
    decnet
        .insert("u", "siem", "https://siem.example/", "[\"a\"]")
        .await;
    let store = database.open().await;
    assert!(!store.trip("nobody", 0, down("x", None)).await.unwrap());
    assert!(store.trip("u", 0, down("x", soon())).await.unwrap());
    assert_eq!(view(&store).await.epoch, 1);
    assert!(store.recover("u", 1).await.unwrap());
    assert!(!store.recover("nobody", 0).await.unwrap());
}
