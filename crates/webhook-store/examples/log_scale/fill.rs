//! Fills a delivery log within SQLite itself. The rows are what a recorder writes; how they get
//! there is not what is measured.

use std::{error::Error, path::Path};

use sea_orm::sqlx::{
    self, AssertSqlSafe, Connection, Row, SqliteConnection, sqlite::SqliteConnectOptions,
};
use webhook_model::UtcTime;
use webhook_store::{DatabaseConfig, Store};

use crate::rows::subscriptions;

/// Subscriptions: the first has two fifths of all rows, the last one row in a hundred thousand,
/// the others share the rest.
pub(crate) const SUBSCRIPTIONS: usize = 50;
/// Time that the log spans: what retention keeps, and an hour that it would take.
const SPAN_MICROS: i64 = (7 * 24 + 1) * 3_600 * 1_000_000;
/// Rows of one transaction.
const CHUNK: i64 = 1_000_000;

/// Where everything is.
pub(crate) struct Log {
    pub(crate) store: Store,
    pub(crate) uuids: Vec<String>,
    /// When its first row was recorded, and its last.
    pub(crate) begin: UtcTime,
    pub(crate) end: UtcTime,
}

pub(crate) async fn fill(file: &Path, rows: i64) -> Result<Log, Box<dyn Error>> {
    let config = DatabaseConfig::new(format!("sqlite://{}", file.display()));
    let store = Store::open(&config).await?;
    let uuids = subscriptions(&store, SUBSCRIPTIONS).await?;
    store.close().await?;

    let end = UtcTime::now();
    let begin = UtcTime::from_micros(end.micros() - SPAN_MICROS);
    let mut connection =
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(file)).await?;
    let quick = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000";
    run(&mut connection, quick).await?;
    let indexes = take_indexes(&mut connection).await?;
    run(
        &mut connection,
        "CREATE TEMP TABLE s (n INTEGER PRIMARY KEY, uuid TEXT)",
    )
    .await?;
    for (number, uuid) in uuids.iter().enumerate() {
        let insert = format!("INSERT INTO s VALUES ({number}, '{uuid}')");
        run(&mut connection, &insert).await?;
    }
    let mut from = 0;
    while from < rows {
        let to = (from + CHUNK).min(rows);
        let insert = deliveries(from, to, begin.micros(), SPAN_MICROS / rows.max(1));
        run(&mut connection, &insert).await?;
        from = to;
    }
    run(&mut connection, ATTEMPTS).await?;
    for index in indexes {
        run(&mut connection, &index).await?;
    }
    connection.close().await?;
    Ok(Log {
        store: Store::open(&config).await?,
        uuids,
        begin,
        end,
    })
}

async fn run(connection: &mut SqliteConnection, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .map(drop)
}

/// Drops the log's indexes and returns how to make them: sorting once is faster.
async fn take_indexes(connection: &mut SqliteConnection) -> Result<Vec<String>, sqlx::Error> {
    let found = sqlx::query(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL
         AND tbl_name IN ('webhook_deliveries', 'webhook_attempts')",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut indexes = Vec::new();
    for row in found {
        let name: String = row.get("name");
        run(connection, &format!("DROP INDEX {name}")).await?;
        indexes.push(row.get("sql"));
    }
    Ok(indexes)
}

/// One row in fifty is dead, one in two hundred waits; twenty at a time were recorded together.
fn deliveries(from: i64, to: i64, begin: i64, step: i64) -> String {
    // Knuth's multiplier, so that statuses do not go by subscription.
    let mixed = 2_654_435_761_i64;
    let last = SUBSCRIPTIONS - 1;
    format!(
        "WITH RECURSIVE numbers (i) AS (
             SELECT {from} UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < {to}
         ), kinds (i, status, n) AS (
             SELECT i,
                 CASE WHEN i * {mixed} / 512 % 50 = 1 THEN 1
                      WHEN i * {mixed} / 512 % 200 = 3 THEN 0 ELSE 2 END,
                 CASE WHEN i % 100000 = 7 THEN {last} WHEN i % 5 < 2 THEN 0
                      ELSE 1 + (i * 7919) % ({last} - 1) END
             FROM numbers
         )
         INSERT INTO webhook_deliveries (id, pair_id, seq, incarnation, subscription, event_id,
             topic, type, status, attempts, round, status_code, error, duration_ms, created_at,
             updated_at, next_attempt_at, body)
         SELECT i + 1, printf('00000000-0000-0000-0000-%012d', n), i + 1, 'bus', uuid,
             lower(hex(randomblob(16))),
             CASE WHEN i % 1000000 = 11 THEN 'canary.rare.hit'
                  ELSE 'attacker.session.kind-' || (i * 31 % 200) END,
             'observed', status, CASE status WHEN 2 THEN 1 ELSE 4 END, 0,
             CASE status WHEN 2 THEN 200 ELSE 503 END, CASE status WHEN 2 THEN NULL ELSE 'http 503' END,
             3, {begin} + i / 20 * 20 * {step}, {begin} + i / 20 * 20 * {step},
             CASE status WHEN 0 THEN {begin} + {SPAN_MICROS} + 3600000000 + i END,
             CASE status WHEN 2 THEN NULL ELSE randomblob(600) END
         FROM kinds JOIN s USING (n)"
    )
}

/// Four for each row that failed.
const ATTEMPTS: &str = "
    INSERT INTO webhook_attempts (delivery_id, at, status_code, duration_ms, error, answer)
    SELECT id, created_at, 503, 3, 'http 503', randomblob(100)
    FROM webhook_deliveries, (SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4)
    WHERE status <> 2";
