//! A database of one test, our store on it, and DECNET beside us.

use std::time::Duration;

use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, QueryResult, Statement,
    TryGetable,
};
use tempfile::TempDir;
use webhook_model::{
    DeliveryStatus, EndpointUrl, Secret, Settings, Subscription, SubscriptionName, TopicPattern,
    UtcTime,
};
use webhook_store::{
    DatabaseConfig, DeliveryRecord, FailedTurn, NewSubscription, Position, Snapshot, Store,
    SubscriptionPatch, Trip,
};
use webhook_testkit::{MariaDb, Postgres};

pub(crate) const SECRET: &str = "top-secret-of-the-test";

/// What the tests run against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
    MariaDb,
}

/// A database of one test.
pub(crate) struct Database {
    _folder: TempDir,
    url: String,
}

/// Runs each of these tests on every engine; one that is left out is dead code, which clippy tells.
macro_rules! on_each_engine {
    ($($test:ident),+ $(,)?) => {
        on_each_engine!(@ sqlite Sqlite $($test)+);
        on_each_engine!(@ postgres Postgres $($test)+);
        on_each_engine!(
            @ mariadb MariaDb
            #[ignore = "MariaDB: cargo xtask test --full"]
            $($test)+
        );
    };
    (@ $name:ident $engine:ident $(#[$ignored:meta])? $($test:ident)+) => {
        on_each_engine!(@@ $name $engine [$(#[$ignored])?] $($test)+);
    };
    (@@ $name:ident $engine:ident $ignored:tt $($test:ident)+) => {
        mod $name {
            use crate::support::{Database, Engine, on_each_engine};

            $(on_each_engine!(@@@ $engine $ignored $test);)+
        }
    };
    (@@@ $engine:ident [$($ignored:tt)*] $test:ident) => {
                #[tokio::test]
                $($ignored)*
                async fn $test() {
                    super::$test(Database::of(Engine::$engine).await).await;
                }
    };
}
pub(crate) use on_each_engine;

impl Database {
    /// A file of SQLite's.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("decnet.db").display());
        Self {
            _folder: folder,
            url,
        }
    }

    pub(crate) async fn of(engine: Engine) -> Self {
        let sqlite = Self::new();
        match engine {
            Engine::Sqlite => sqlite,
            Engine::Postgres => Self {
                url: Postgres::shared().await.database().await,
                ..sqlite
            },
            Engine::MariaDb => Self {
                url: MariaDb::shared().await.database().await,
                ..sqlite
            },
        }
    }

    pub(crate) fn config(&self) -> DatabaseConfig {
        DatabaseConfig::new(&self.url)
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.config()).await.unwrap()
    }

    /// A connection as DECNET has one, for its own SQL.
    pub(crate) async fn decnet(&self) -> Decnet {
        let create = if self.url.starts_with("sqlite") {
            "?mode=rwc"
        } else {
            ""
        };
        let mut options = ConnectOptions::new(format!("{}{create}", self.url));
        options.max_connections(1).sqlx_logging(false);
        let db = sea_orm::Database::connect(options).await.unwrap();
        Decnet { db }
    }
}

/// Raw SQL beside the store.
pub(crate) struct Decnet {
    db: DatabaseConnection,
}

impl Decnet {
    /// Runs statements written for SQLite, in the engine's own types.
    pub(crate) async fn try_run(&self, sql: &str) -> Result<u64, DbErr> {
        match self.db.get_database_backend() {
            DbBackend::Sqlite => self.execute(sql).await,
            // SQLAlchemy's types there; one statement at a time is taken.
            DbBackend::MySql => {
                let sql = sql
                    .replace("VARCHAR ", "VARCHAR(255) ")
                    .replace("VARCHAR,", "VARCHAR(255),");
                let mut rows = 0;
                for statement in sql.split(";\n").filter(|it| !it.trim().is_empty()) {
                    rows += self.execute(statement).await?;
                }
                Ok(rows)
            }
            _ => self.execute(&sql.replace("DATETIME", "TIMESTAMP")).await,
        }
    }

    async fn execute(&self, sql: &str) -> Result<u64, DbErr> {
        Ok(self.db.execute_unprepared(sql).await?.rows_affected())
    }

    pub(crate) async fn run(&self, sql: &str) -> u64 {
        self.try_run(sql).await.unwrap()
    }

    pub(crate) async fn text(&self, sql: &str) -> Option<String> {
        self.first(sql).await
    }

    /// One column of every row, as text.
    pub(crate) async fn column(&self, sql: &str, name: &str) -> Vec<String> {
        self.rows(sql)
            .await
            .iter()
            .map(|row| row.try_get("", name).unwrap())
            .collect()
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.first(sql).await
    }

    async fn first<T: TryGetable>(&self, sql: &str) -> T {
        self.rows(sql).await[0].try_get_by_index(0).unwrap()
    }

    async fn rows(&self, sql: &str) -> Vec<QueryResult> {
        let statement = Statement::from_string(self.db.get_database_backend(), sql);
        self.db.query_all_raw(statement).await.unwrap()
    }

    /// A time as DECNET's columns keep it: SQLAlchemy's have no fractions in MySQL.
    pub(crate) fn kept(&self, time: &str) -> UtcTime {
        let whole = match self.db.get_database_backend() {
            DbBackend::MySql => time.split('.').next().unwrap(),
            _ => time,
        };
        UtcTime::parse_sql(whole).unwrap()
    }

    /// A column of bytes as digits.
    pub(crate) fn hex(&self, column: &str) -> String {
        match self.db.get_database_backend() {
            DbBackend::Postgres => format!("upper(encode({column}, 'hex'))"),
            _ => format!("hex({column})"),
        }
    }

    /// A column as a literal.
    pub(crate) fn quoted(&self, column: &str) -> String {
        match self.db.get_database_backend() {
            DbBackend::Postgres => format!("quote_literal({column})"),
            _ => format!("quote({column})"),
        }
    }

    /// Has the database refuse every delivery with this number.
    pub(crate) async fn refuse_seq(&self, seq: u64, why: &str) {
        let sql = match self.db.get_database_backend() {
            DbBackend::Sqlite => format!(
                "CREATE TRIGGER refuse BEFORE INSERT ON webhook_deliveries WHEN new.seq = {seq}
                BEGIN SELECT RAISE(ABORT, '{why}'); END"
            ),
            DbBackend::MySql => {
                format!(
                    "ALTER TABLE webhook_deliveries ADD CONSTRAINT `{why}` CHECK (seq <> {seq})"
                )
            }
            _ => format!(
                "ALTER TABLE webhook_deliveries ADD CONSTRAINT \"{why}\" CHECK (seq <> {seq})"
            ),
        };
        self.run(&sql).await;
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
        let quoted =
            [uuid, name, url, SECRET, patterns].map(|it| format!("'{}'", it.replace('\'', "''")));
        let sql = format!(
            "INSERT INTO webhook_subscriptions VALUES
            ({}, TRUE, 0, NULL, NULL, NULL, NULL,
             '2026-04-24 12:00:00.000120', '2026-04-24 12:00:00.000120')",
            quoted.join(", ")
        );
        self.run(&sql).await;
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
        in_order: false,
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

/// A trip of an endpoint that is silent.
pub(crate) fn down(cause: &str, probe_at: Option<UtcTime>) -> Trip<'_> {
    Trip {
        cause: Some(cause),
        probe_at,
        answers: false,
    }
}

/// The so-many-th turn of probing that found it silent.
pub(crate) fn turn(error: &str, next_probe_at: Option<UtcTime>, turns: u32) -> FailedTurn<'_> {
    FailedTurn {
        error,
        next_probe_at,
        turns,
        answers: false,
        silent_since: next_probe_at,
    }
}
