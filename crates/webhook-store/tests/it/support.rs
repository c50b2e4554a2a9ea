//! A database file of one test, our store on it, and DECNET beside us.

use std::{path::PathBuf, time::Duration};

use sea_orm::sqlx::{
    self, Row, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tempfile::TempDir;
use webhook_model::{
    DeliveryStatus, EndpointUrl, Secret, Settings, Subscription, SubscriptionName, TopicPattern,
    UtcTime,
};
use webhook_store::{
    DatabaseConfig, DeliveryRecord, NewSubscription, Position, Snapshot, Store, SubscriptionPatch,
};

pub(crate) const SECRET: &str = "top-secret-of-the-test";

pub(crate) struct Database {
    folder: TempDir,
}

impl Database {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("decnet.db")
    }

    pub(crate) fn config(&self) -> DatabaseConfig {
        DatabaseConfig::new(format!("sqlite://{}", self.path().display()))
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.config()).await.unwrap()
    }

    /// A connection as DECNET has one, for its own SQL.
    pub(crate) async fn decnet(&self) -> Decnet {
        let options = SqliteConnectOptions::new()
            .filename(self.path())
            .create_if_missing(true)
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .unwrap();
        Decnet { pool }
    }
}

/// Raw SQL beside the store.
pub(crate) struct Decnet {
    pub(crate) pool: SqlitePool,
}

impl Decnet {
    pub(crate) async fn run(&self, sql: &str) -> u64 {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&self.pool)
            .await
            .unwrap()
            .rows_affected()
    }

    pub(crate) async fn text(&self, sql: &str) -> Option<String> {
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_one(&self.pool)
            .await
            .unwrap()
            .get(0)
    }

    /// One column of every row, as text.
    pub(crate) async fn column(&self, sql: &str, name: &str) -> Vec<String> {
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_all(&self.pool)
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(name))
            .collect()
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_one(&self.pool)
            .await
            .unwrap()
            .get(0)
    }

    /// The tables as SQLModel emits them.
    pub(crate) async fn create_tables(&self) {
        self.run(
            "CREATE TABLE webhook_subscriptions (
                uuid VARCHAR NOT NULL, name VARCHAR NOT NULL, url VARCHAR NOT NULL,
                secret VARCHAR NOT NULL, topic_patterns VARCHAR NOT NULL,
                enabled BOOLEAN NOT NULL, consecutive_failures INTEGER NOT NULL,
                last_success_at DATETIME, last_failure_at DATETIME, last_error VARCHAR,
                auto_disabled_at DATETIME, created_at DATETIME NOT NULL,
                updated_at DATETIME NOT NULL, PRIMARY KEY (uuid));
             CREATE UNIQUE INDEX ix_webhook_subscriptions_name ON webhook_subscriptions (name);
             CREATE INDEX ix_webhook_subscriptions_enabled ON webhook_subscriptions (enabled);",
        )
        .await;
    }

    pub(crate) async fn insert(&self, uuid: &str, name: &str, url: &str, patterns: &str) {
        let sql = "INSERT INTO webhook_subscriptions VALUES
            (?, ?, ?, ?, ?, 1, 0, NULL, NULL, NULL, NULL,
             '2026-04-24 12:00:00.000120', '2026-04-24 12:00:00.000120')";
        sqlx::query(sql)
            .bind(uuid)
            .bind(name)
            .bind(url)
            .bind(SECRET)
            .bind(patterns)
            .execute(&self.pool)
            .await
            .unwrap();
    }
}

pub(crate) fn at(next_seq: u64) -> Position {
    Position {
        incarnation: "bus-a".into(),
        next_seq,
    }
}

pub(crate) fn patterns(texts: &[&str]) -> Vec<TopicPattern> {
    texts
        .iter()
        .map(|text| TopicPattern::parse(text).unwrap())
        .collect()
}

pub(crate) fn new(name: &str, texts: &[&str]) -> NewSubscription {
    NewSubscription {
        name: SubscriptionName::parse(name).unwrap(),
        url: EndpointUrl::parse("https://siem.example/hook").unwrap(),
        secret: Secret::parse(SECRET).unwrap(),
        topic_patterns: patterns(texts),
        settings: Settings::default(),
        enabled: true,
    }
}

pub(crate) fn enabled(enabled: bool) -> SubscriptionPatch {
    SubscriptionPatch {
        enabled: Some(enabled),
        ..SubscriptionPatch::default()
    }
}

pub(crate) fn repatterned(texts: &[&str]) -> SubscriptionPatch {
    SubscriptionPatch {
        topic_patterns: Some(patterns(texts)),
        ..SubscriptionPatch::default()
    }
}

pub(crate) fn record(
    subscription: &Subscription,
    pair_id: &str,
    seq: u64,
    status: DeliveryStatus,
) -> DeliveryRecord {
    DeliveryRecord {
        pair_id: pair_id.to_owned(),
        seq,
        incarnation: "bus-a".into(),
        subscription: subscription.uuid.clone(),
        event_id: format!("event-{seq}"),
        topic: "attacker.observed".into(),
        kind: "observed".into(),
        status,
        attempts: 1,
        round: 0,
        failed_attempts: Vec::new(),
        status_code: Some(if status == DeliveryStatus::Delivered {
            200
        } else {
            503
        }),
        error: (status != DeliveryStatus::Delivered).then(|| "http 503".to_owned()),
        duration: Duration::from_millis(12),
        body: None,
        at: UtcTime::now(),
        next_attempt_at: None,
        epoch: 1,
        counts: true,
    }
}

/// A delivery that is to be tried again since this moment.
pub(crate) fn due_at(subscription: &Subscription, seq: u64, micros: i64) -> DeliveryRecord {
    DeliveryRecord {
        body: Some(format!("{{\"seq\":{seq}}}").into()),
        next_attempt_at: Some(UtcTime::from_micros(micros)),
        ..record(subscription, "p", seq, DeliveryStatus::Retrying)
    }
}

/// A dead letter.
pub(crate) fn dead(subscription: &Subscription, seq: u64) -> DeliveryRecord {
    DeliveryRecord {
        body: Some(format!("{{\"seq\":{seq}}}").into()),
        ..record(subscription, "p", seq, DeliveryStatus::Dead)
    }
}

/// The live pairs of a subscription as `cover start`.
pub(crate) fn live(snapshot: &Snapshot, uuid: &str) -> Vec<String> {
    let view = snapshot
        .subscriptions
        .iter()
        .find(|v| v.subscription.uuid == uuid)
        .unwrap();
    view.pairs
        .iter()
        .map(|p| format!("{} {}", p.filter.cover, p.start_seq))
        .collect()
}

/// The ended pairs as `cover start..end`, with `drain` where they still deliver.
pub(crate) fn ended(snapshot: &Snapshot) -> Vec<String> {
    let mut ended: Vec<_> = snapshot
        .ended
        .iter()
        .map(|p| {
            let drain = if p.drain { " drain" } else { "" };
            format!(
                "{} {}..{}{drain}",
                p.filter.cover,
                p.start_seq,
                p.end_seq.unwrap()
            )
        })
        .collect();
    ended.sort();
    ended
}
