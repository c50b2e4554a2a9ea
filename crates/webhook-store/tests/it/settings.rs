//! Settings of a subscription.

use webhook_model::{Header, Settings};
use webhook_store::{SettingsChange, StoreError, SubscriptionPatch};

use crate::support::*;

on_each_engine!(
    every_setting_is_kept_and_can_be_reset,
    changes_at_the_same_time_keep_each_other,
    an_ordered_subscription_has_one_pair,
    settings_that_cannot_be_read_are_told_without_their_values,
);

fn every_setting() -> Settings {
    Settings::default()
        .with_max_in_flight(3)
        .and_then(|s| s.with_rate_per_second(50))
        .and_then(|s| s.with_burst(Some(7)))
        .and_then(|s| s.with_timeout_seconds(20))
        .and_then(|s| s.with_redelivery_schedule(vec![1, 2, 3]))
        .and_then(|s| s.with_headers(vec![Header::parse("X-Key", "hunter2")?]))
        .unwrap()
        .with_ordered(true)
}

fn patch(from: Settings, to: Settings) -> SubscriptionPatch {
    SubscriptionPatch {
        settings: Some(SettingsChange { from, to }),
        ..SubscriptionPatch::default()
    }
}

async fn changes_at_the_same_time_keep_each_other(database: Database) {
    const EACH: u32 = 15;
    let made = database.open().await;
    let made = made.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let first = made.settings.max_in_flight();
    let mut processes = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (store, uuid) = (database.open().await, made.uuid.clone());
        processes.spawn(async move {
            for _ in 0..EACH {
                loop {
                    let from = store.get(&uuid).await.unwrap().unwrap().settings;
                    let to = from.clone().with_max_in_flight(from.max_in_flight() + 1);
                    match store.patch(&uuid, patch(from, to.unwrap()), &at(2)).await {
                        Err(StoreError::SettingsChanged) => {}
                        written => {
                            assert!(written.unwrap().unwrap().changed);
                            break;
                        }
                    }
                }
            }
        });
    }
    processes.join_all().await;
    let read = database
        .open()
        .await
        .get(&made.uuid)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read.settings.max_in_flight(), first + 2 * EACH);
}

async fn every_setting_is_kept_and_can_be_reset(database: Database) {
    let store = database.open().await;
    let new = webhook_store::NewSubscription {
        settings: every_setting(),
        ..new("siem", &["a"])
    };
    let made = store.create(new, &at(1)).await.unwrap();
    assert_eq!(made.settings, every_setting());
    assert_eq!(
        store.get(&made.uuid).await.unwrap().unwrap().settings,
        every_setting()
    );
    assert_eq!(store.list().await.unwrap()[0].settings, every_setting());

    let before = store.snapshot().await.unwrap();
    let same = store
        .patch(&made.uuid, patch(every_setting(), every_setting()), &at(2))
        .await;
    assert!(!same.unwrap().unwrap().changed);
    let reset = store
        .patch(
            &made.uuid,
            patch(every_setting(), Settings::default()),
            &at(2),
        )
        .await;
    assert!(reset.unwrap().unwrap().changed);
    let after = store.snapshot().await.unwrap();
    assert!(after.version > before.version);
    assert!(after.subscriptions[0].epoch > before.subscriptions[0].epoch);
    let read = &after.subscriptions[0].subscription;
    assert_eq!(read.settings, Settings::default());
    let rows = "SELECT count(*) FROM webhook_settings";
    assert_eq!(database.decnet().await.number(rows).await, 0);
}

async fn an_ordered_subscription_has_one_pair(database: Database) {
    let store = database.open().await;
    let made = store
        .create(new("siem", &["attacker.x", "attacker.y.*"]), &at(1))
        .await
        .unwrap();
    let ordered = Settings::default().with_ordered(true);
    let change = patch(Settings::default(), ordered.clone());
    store.patch(&made.uuid, change, &at(10)).await.unwrap();
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(live(&snapshot, &made.uuid), ["attacker.> 10"]);
    let filter = &snapshot.subscriptions[0].pairs[0].filter;
    assert_eq!(filter.patterns, patterns(&["attacker.x", "attacker.y.*"]));
    assert_eq!(ended(&snapshot).len(), 2);
    assert!(snapshot.out_of_step.is_empty());

    store
        .patch(&made.uuid, patch(ordered, Settings::default()), &at(20))
        .await
        .unwrap();
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(
        live(&snapshot, &made.uuid),
        ["attacker.x 20", "attacker.y.* 20"]
    );
}

async fn settings_that_cannot_be_read_are_told_without_their_values(database: Database) {
    let store = database.open().await;
    let new = webhook_store::NewSubscription {
        settings: every_setting(),
        ..new("siem", &["a"])
    };
    let made = store.create(new, &at(1)).await.unwrap();
    let decnet = database.decnet().await;
    for (column, value) in [
        ("headers", "'{\"x-key\":\"hunter2\",}'"),
        ("headers", "'{\"x key\":\"hunter2\"}'"),
        ("max_in_flight", "-1"),
        ("redelivery_schedule", "'[0]'"),
    ] {
        let quoted = decnet.quoted(column);
        let before = decnet
            .text(&format!("SELECT {quoted} FROM webhook_settings"))
            .await
            .unwrap();
        decnet
            .run(&format!("UPDATE webhook_settings SET {column} = {value}"))
            .await;
        let error = store.get(&made.uuid).await.unwrap_err();
        assert!(matches!(error, StoreError::Broken(_)));
        assert!(error.to_string().contains("webhook_settings"), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert_eq!(store.snapshot().await.unwrap().skipped.len(), 1);
        decnet
            .run(&format!("UPDATE webhook_settings SET {column} = {before}"))
            .await;
    }
    assert!(store.get(&made.uuid).await.unwrap().is_some());
}
