//! Contract §2: what create, PATCH and DELETE do to a row.

use webhook_model::{EndpointUrl, Secret, State, SubscriptionName, UtcTime};
use webhook_store::{NewSubscription, SettingsChange, StoreError, SubscriptionPatch};

use crate::support::*;

on_each_engine!(
    what_was_created_is_read_back,
    the_list_is_by_creation,
    names_are_unique_and_case_sensitive,
    a_subscription_needs_a_pattern,
    a_patch_that_changes_nothing_writes_nothing,
    every_field_can_be_changed,
    enabling_a_tripped_row_gives_it_a_clean_slate,
    pausing_a_tripped_row_makes_it_paused,
    a_forgotten_trip_time_does_not_come_back,
    deleting_deletes_once,
    a_subscription_may_be_created_paused,
);

async fn what_was_created_is_read_back(database: Database) {
    let store = database.open().await;
    let before = UtcTime::now();
    let made = store
        .create(new("siem", &["attacker.>", "decky.*.state"]), &at(1))
        .await
        .unwrap();
    let read = store.get(&made.uuid).await.unwrap().unwrap();
    assert_eq!(format!("{read:?}"), format!("{made:?}"));
    assert_eq!(read.secret.expose(), SECRET);
    assert_eq!(read.state, State::Active);
    assert_eq!(read.created_at, read.updated_at);
    assert!(read.created_at >= before);
    assert_eq!(read.uuid.len(), 36);
    assert_eq!(read.uuid, read.uuid.to_lowercase());
    assert!(store.get("no-such").await.unwrap().is_none());
    assert!(
        store
            .get("any ' string \" at % all")
            .await
            .unwrap()
            .is_none()
    );
}

async fn the_list_is_by_creation(database: Database) {
    let store = database.open().await;
    for name in ["c", "a", "b"] {
        store
            .create(new(name, &["attacker.>"]), &at(1))
            .await
            .unwrap();
    }
    let names: Vec<_> = store
        .list()
        .await
        .unwrap()
        .into_iter()
        .map(|s| s.name)
        .collect();
    assert_eq!(names, ["c", "a", "b"]);
}

async fn names_are_unique_and_case_sensitive(database: Database) {
    let store = database.open().await;
    let siem = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let version = store.config_version().await.unwrap();
    let error = store.create(new("siem", &["a"]), &at(1)).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::NameTaken(name) if name == "siem"),
        "{error:?}"
    );
    assert!(!error.is_connection());
    assert_eq!(store.config_version().await.unwrap(), version);

    let other = store.create(new("SIEM", &["a"]), &at(1)).await.unwrap();
    let rename = |name: &str| SubscriptionPatch {
        name: Some(SubscriptionName::parse(name).unwrap()),
        ..SubscriptionPatch::default()
    };
    let error = store
        .patch(&other.uuid, rename("siem"), &at(1))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::NameTaken(_)), "{error:?}");
    assert!(
        !store
            .patch(&siem.uuid, rename("siem"), &at(1))
            .await
            .unwrap()
            .unwrap()
            .changed
    );
    assert!(
        store
            .patch(&other.uuid, rename("Siem"), &at(1))
            .await
            .unwrap()
            .unwrap()
            .changed
    );
}

async fn a_subscription_needs_a_pattern(database: Database) {
    let store = database.open().await;
    let error = store.create(new("siem", &[]), &at(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::NoPatterns));
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let error = store
        .patch(&made.uuid, repatterned(&[]), &at(1))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::NoPatterns));
}

async fn a_patch_that_changes_nothing_writes_nothing(database: Database) {
    let store = database.open().await;
    let made = store
        .create(new("siem", &["a", "b"]), &at(1))
        .await
        .unwrap();
    let version = store.config_version().await.unwrap();
    let same = SubscriptionPatch {
        settings: Some(SettingsChange {
            from: made.settings.clone(),
            to: made.settings.clone(),
        }),
        name: Some(SubscriptionName::parse("siem").unwrap()),
        url: Some(EndpointUrl::parse("HTTPS://siem.example:443/hook").unwrap()),
        secret: Some(Secret::parse(SECRET).unwrap()),
        topic_patterns: Some(patterns(&["a", "b"])),
        enabled: Some(true),
    };
    for patch in [SubscriptionPatch::default(), same] {
        let patched = store
            .patch(&made.uuid, patch, &at(9))
            .await
            .unwrap()
            .unwrap();
        assert!(!patched.changed);
        assert_eq!(patched.subscription.updated_at, made.updated_at);
        assert!(patched.ended.is_empty());
    }
    let read = store.get(&made.uuid).await.unwrap().unwrap();
    assert_eq!(read.updated_at, made.updated_at);
    assert_eq!(store.config_version().await.unwrap(), version);
    assert_eq!(store.snapshot().await.unwrap().subscriptions[0].epoch, 1);
}

async fn every_field_can_be_changed(database: Database) {
    let store = database.open().await;
    let made = store
        .create(new("siem", &["a", "b"]), &at(1))
        .await
        .unwrap();
    let patches = [
        SubscriptionPatch {
            name: Some(SubscriptionName::parse("soar").unwrap()),
            ..SubscriptionPatch::default()
        },
        SubscriptionPatch {
            url: Some(EndpointUrl::parse("http://other.example/").unwrap()),
            ..SubscriptionPatch::default()
        },
        SubscriptionPatch {
            secret: Some(Secret::parse("another-secret-of-it").unwrap()),
            ..SubscriptionPatch::default()
        },
        repatterned(&["b", "a"]),
        enabled(false),
    ];
    let mut last = made.updated_at;
    let mut version = store.config_version().await.unwrap();
    for (number, patch) in patches.into_iter().enumerate() {
        let patched = store
            .patch(&made.uuid, patch, &at(2))
            .await
            .unwrap()
            .unwrap();
        assert!(patched.changed, "patch {number}");
        assert!(patched.subscription.updated_at > last, "patch {number}");
        last = patched.subscription.updated_at;
        let read = store.get(&made.uuid).await.unwrap().unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", patched.subscription));
        let now = store.config_version().await.unwrap();
        assert!(now > version);
        version = now;
    }
    let read = store.get(&made.uuid).await.unwrap().unwrap();
    assert_eq!(read.name, "soar");
    assert_eq!(read.url.as_str(), "http://other.example/");
    assert_eq!(read.secret.expose(), "another-secret-of-it");
    assert_eq!(read.topic_patterns, patterns(&["b", "a"]));
    assert_eq!(read.state, State::Paused);
    assert_eq!(read.created_at, made.created_at);
    assert_eq!(store.snapshot().await.unwrap().subscriptions[0].epoch, 6);
    assert!(
        store
            .patch("no-such", enabled(true), &at(1))
            .await
            .unwrap()
            .is_none()
    );
}

/// Trips as the breaker of DECNET does.
async fn trip(database: &Database, uuid: &str) {
    let sql = format!(
        "UPDATE webhook_subscriptions SET enabled = FALSE, consecutive_failures = 5,
         auto_disabled_at = '2026-04-24 12:30:00.000000', last_error = 'http 503',
         last_failure_at = '2026-04-24 12:30:00.000000' WHERE uuid = '{uuid}'"
    );
    assert_eq!(database.decnet().await.run(&sql).await, 1);
}

async fn enabling_a_tripped_row_gives_it_a_clean_slate(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    trip(&database, &made.uuid).await;
    let tripped = store.get(&made.uuid).await.unwrap().unwrap();
    let when = UtcTime::parse_sql("2026-04-24T12:30:00Z").unwrap();
    assert_eq!(tripped.state, State::Tripped { at: when });

    // Another change leaves it tripped.
    let patched = store
        .patch(&made.uuid, repatterned(&["a", "b"]), &at(1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(patched.subscription.state, State::Tripped { at: when });
    assert_eq!(patched.subscription.consecutive_failures, 5);

    let patched = store
        .patch(&made.uuid, enabled(true), &at(1))
        .await
        .unwrap()
        .unwrap();
    let read = store.get(&made.uuid).await.unwrap().unwrap();
    for now in [patched.subscription, read] {
        assert_eq!(now.state, State::Active);
        assert_eq!(now.consecutive_failures, 0);
        assert_eq!(now.last_error, None);
        assert_eq!(now.last_failure_at, Some(when), "history stays");
    }
}

async fn pausing_a_tripped_row_makes_it_paused(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    trip(&database, &made.uuid).await;
    let patched = store
        .patch(&made.uuid, enabled(false), &at(1))
        .await
        .unwrap()
        .unwrap();
    assert!(patched.changed);
    assert_eq!(patched.subscription.state, State::Paused);
    let read = store.get(&made.uuid).await.unwrap().unwrap();
    assert_eq!(read.state, State::Paused);
    assert_eq!(read.consecutive_failures, 5, "only enabling clears it");
    assert!(
        !store
            .patch(&made.uuid, enabled(false), &at(1))
            .await
            .unwrap()
            .unwrap()
            .changed
    );
}

async fn a_forgotten_trip_time_does_not_come_back(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let sql = "UPDATE webhook_subscriptions SET auto_disabled_at = '2026-04-24 12:30:00.000000'";
    database.decnet().await.run(sql).await;
    assert_eq!(
        store.get(&made.uuid).await.unwrap().unwrap().state,
        State::Active
    );
    store
        .patch(&made.uuid, enabled(false), &at(1))
        .await
        .unwrap();
    assert_eq!(
        store.get(&made.uuid).await.unwrap().unwrap().state,
        State::Paused
    );
}

async fn deleting_deletes_once(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let version = store.config_version().await.unwrap();
    assert!(store.delete(&made.uuid, &at(5)).await.unwrap());
    assert!(store.config_version().await.unwrap() > version);
    assert!(store.get(&made.uuid).await.unwrap().is_none());
    assert!(!store.delete(&made.uuid, &at(5)).await.unwrap());
    store.create(new("siem", &["a"]), &at(6)).await.unwrap();
}

async fn a_subscription_may_be_created_paused(database: Database) {
    let store = database.open().await;
    let paused = NewSubscription {
        enabled: false,
        ..new("siem", &["a"])
    };
    let made = store.create(paused, &at(1)).await.unwrap();
    assert_eq!(made.state, State::Paused);
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(live(&snapshot, &made.uuid), [""; 0]);
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.active, counts.paused, counts.tripped), (0, 1, 0));
}
