//! What only MySQL does: DECNET's own table with its narrow columns, its times and its collation.

use std::time::Duration;

use webhook_model::{DeliveryStatus::Dead, EndpointUrl, UtcTime};
use webhook_store::{BreakerPhase, DeliveryRecord, NewSubscription, StoreError, SubscriptionPatch};

use crate::support::*;

/// As DECNET makes it in a database whose server has an old default.
async fn decnets(database: &Database) {
    let decnet = database.decnet().await;
    let made = "ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_swedish_ci";
    decnet.run(made).await;
    decnet.create_tables().await;
}

fn long_url(chars: usize) -> EndpointUrl {
    let start = "https://siem.example/";
    EndpointUrl::parse(&format!("{start}{}", "x".repeat(chars - start.len()))).unwrap()
}

#[tokio::test]
#[ignore = "MariaDB: cargo xtask test --full"]
async fn what_decnets_columns_cannot_hold_is_refused_with_a_remedy() {
    let database = Database::of(Engine::MariaDb).await;
    decnets(&database).await;
    let store = database.open().await;
    let with_url = |name: &str, chars| NewSubscription {
        url: long_url(chars),
        ..new(name, &["a"])
    };
    let made = store.create(with_url("fits", 255), &at(1)).await.unwrap();
    let error = store.create(with_url("long", 256), &at(1)).await;
    let error = error.unwrap_err();
    assert!(matches!(error, StoreError::NoRoom { column: "url", .. }));
    let said = error.to_string();
    for part in [
        "256 characters",
        "column 255",
        "ALTER TABLE webhook_subscriptions",
        "restart decnet",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let longer = SubscriptionPatch {
        url: Some(long_url(300)),
        ..SubscriptionPatch::default()
    };
    let error = store.patch(&made.uuid, longer.clone(), &at(1)).await;
    assert!(matches!(error.unwrap_err(), StoreError::NoRoom { .. }));

    let decnet = database.decnet().await;
    let wider = "ALTER TABLE webhook_subscriptions
        MODIFY url VARCHAR(2048) CHARACTER SET utf8mb4 NOT NULL";
    decnet.run(wider).await;
    // As after the restart that an operator who changes tables does.
    let store = database.open().await;
    assert!(
        store
            .patch(&made.uuid, longer, &at(1))
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
#[ignore = "MariaDB: cargo xtask test --full"]
async fn an_error_that_does_not_fit_is_cut_and_loses_no_outcome() {
    let database = Database::of(Engine::MariaDb).await;
    decnets(&database).await;
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let error = format!("http 500 \u{1f980} {}", "x".repeat(600));
    let dead = DeliveryRecord {
        error: Some(error.clone()),
        ..record(&made, "p", 1, Dead)
    };
    store.record(&[dead]).await.unwrap();
    let read = store.get(&made.uuid).await.unwrap().unwrap();
    let kept = read.last_error.unwrap();
    assert!(kept.starts_with("http 500 ? xxx"), "{kept}");
    assert_eq!(kept.chars().count(), 255);
    let decnet = database.decnet().await;
    let logged = decnet.text("SELECT error FROM webhook_deliveries").await;
    assert_eq!(logged, Some(error.chars().take(512).collect()));
}

#[tokio::test]
#[ignore = "MariaDB: cargo xtask test --full"]
async fn ids_and_names_are_exact_where_the_table_is_not() {
    let database = Database::of(Engine::MariaDb).await;
    decnets(&database).await;
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let shouted = made.uuid.to_uppercase();
    assert!(store.get(&shouted).await.unwrap().is_none());
    assert!(!store.delete(&shouted, &at(1)).await.unwrap());
    assert!(store.get(&made.uuid).await.unwrap().is_some());
    // Its index holds them for equal, which is the next best answer.
    let error = store.create(new("SIEM", &["a"]), &at(1)).await;
    assert!(matches!(error.unwrap_err(), StoreError::NameTaken(_)));
}

#[tokio::test]
#[ignore = "MariaDB: cargo xtask test --full"]
async fn a_trip_is_known_again_by_its_time() {
    let database = Database::of(Engine::MariaDb).await;
    decnets(&database).await;
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let probe_at = UtcTime::from_micros(UtcTime::now().micros() + 60_000_000);
    let tripped = store
        .trip(&made.uuid, 1, down("http 500", Some(probe_at)))
        .await;
    assert!(tripped.unwrap());
    let snapshot = store.snapshot().await.unwrap();
    let breaker = &snapshot.subscriptions[0].breaker;
    assert_eq!(breaker.phase, BreakerPhase::Tripped);
    assert_eq!(
        breaker.probe_at,
        Some(probe_at),
        "not taken for a trip of DECNET's"
    );
    let read = store.get(&made.uuid).await.unwrap().unwrap();
    assert!(read.updated_at <= UtcTime::now(), "never rounded up");
}

#[tokio::test]
#[ignore = "MariaDB: cargo xtask test --full"]
async fn a_migration_that_was_cut_short_is_begun_again() {
    let database = Database::of(Engine::MariaDb).await;
    database.open().await.close().await.unwrap();
    let decnet = database.decnet().await;
    for sql in [
        "DELETE FROM webhook_migrations",
        "DROP TABLE webhook_gaps",
        "DROP INDEX ix_webhook_deliveries_topic ON webhook_deliveries",
        "ALTER TABLE webhook_state DROP COLUMN pause_until",
    ] {
        decnet.run(sql).await;
    }
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let paused = store.pause_until(&made.uuid, 1, UtcTime::now()).await;
    assert!(paused.unwrap());
    assert!(store.gaps(None, 1).await.unwrap().is_empty());
}

#[tokio::test]
#[ignore = "MariaDB: cargo xtask test --full"]
async fn a_lost_connection_is_the_databases_fault_and_mends_itself() {
    let mut server = webhook_testkit::MariaDb::start().await;
    let url = server.database().await;
    let mut config = webhook_store::DatabaseConfig::new(url);
    config.acquire_timeout = Duration::from_secs(1);
    let store = webhook_store::Store::open(&config).await.unwrap();
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    server.kill();
    let error = store
        .record(&[record(&made, "p", 1, Dead)])
        .await
        .unwrap_err();
    assert!(error.is_connection(), "{error}");
    server.start_again().await;
    store.record(&[record(&made, "p", 1, Dead)]).await.unwrap();
    let read = store.get(&made.uuid).await.unwrap().unwrap();
    assert_eq!(read.consecutive_failures, 1);
}

#[tokio::test]
#[ignore = "MariaDB: cargo xtask test --full"]
async fn a_server_that_takes_no_large_packets_is_refused_with_a_remedy() {
    let server = webhook_testkit::MariaDb::start().await;
    let url = server.database().await;
    server
        .execute(&url, "SET GLOBAL max_allowed_packet = 1048576")
        .await;
    let config = webhook_store::DatabaseConfig::new(url);
    let error = webhook_store::Store::open(&config).await.unwrap_err();
    assert!(!error.is_connection(), "waiting would not help");
    let said = error.to_string();
    assert!(said.contains("max_allowed_packet=16M"), "{said}");
}
