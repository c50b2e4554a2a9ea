//! Fills a delivery log within the database itself. The rows are what a recorder writes; how they
//! get there is not what is measured.

use std::error::Error;

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, Statement};
use webhook_model::UtcTime;
use webhook_store::{DatabaseConfig, Store};

use crate::{dialect::Dialect, rows::subscriptions};

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

/// The log, and its bytes.
pub(crate) async fn fill(url: &str, rows: i64) -> Result<(Log, i64), Box<dyn Error>> {
    let config = DatabaseConfig::new(url);
    let store = Store::open(&config).await?;
    let uuids = subscriptions(&store, SUBSCRIPTIONS).await?;
    store.close().await?;

    let end = UtcTime::now();
    let begin = UtcTime::from_micros(end.micros() - SPAN_MICROS);
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    let db = Database::connect(options).await?;
    let dialect = Dialect::of(&db);
    db.execute_unprepared(dialect.quick).await?;
    let indexes = take_indexes(&db, dialect).await?;
    db.execute_unprepared("CREATE TEMP TABLE s (n INTEGER PRIMARY KEY, uuid TEXT)")
        .await?;
    for (number, uuid) in uuids.iter().enumerate() {
        db.execute_unprepared(&format!("INSERT INTO s VALUES ({number}, '{uuid}')"))
            .await?;
    }
    let mut from = 0;
    while from < rows {
        let to = (from + CHUNK).min(rows);
        let step = SPAN_MICROS / rows.max(1);
        let insert = deliveries(dialect, from, to, begin.micros(), step);
        db.execute_unprepared(&insert).await?;
        from = to;
    }
    db.execute_unprepared(&attempts(dialect)).await?;
    for index in indexes {
        db.execute_unprepared(&index).await?;
    }
    db.execute_unprepared(dialect.finish).await?;
    let size = Statement::from_string(db.get_database_backend(), dialect.size);
    let size = db.query_one_raw(size).await?.ok_or("it has no size")?;
    let bytes = size.try_get("", "bytes")?;
    db.close().await?;
    let log = Log {
        store: Store::open(&config).await?,
        uuids,
        begin,
        end,
    };
    Ok((log, bytes))
}

/// Drops the log's indexes and returns how to make them: sorting once is faster.
async fn take_indexes(db: &DatabaseConnection, dialect: &Dialect) -> Result<Vec<String>, DbErr> {
    let all = Statement::from_string(db.get_database_backend(), dialect.indexes);
    let mut indexes = Vec::new();
    for row in db.query_all_raw(all).await? {
        let name: String = row.try_get("", "name")?;
        db.execute_unprepared(&format!("DROP INDEX {name}")).await?;
        indexes.push(row.try_get("", "sql")?);
    }
    Ok(indexes)
}

/// One row in fifty is dead, one in two hundred waits; twenty at a time were recorded together.
fn deliveries(dialect: &Dialect, from: i64, to: i64, begin: i64, step: i64) -> String {
    // Knuth's multiplier, so that statuses do not go by subscription.
    let mixed = 2_654_435_761_i64;
    let last = SUBSCRIPTIONS - 1;
    let (pair, id, body) = (dialect.pair, dialect.event_id, dialect.body);
    format!(
        "WITH RECURSIVE numbers (i) AS (
             SELECT CAST({from} AS BIGINT) UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < {to}
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
         SELECT i + 1, {pair}, i + 1, 'bus', uuid,
             {id},
             CASE WHEN i % 1000000 = 11 THEN 'canary.rare.hit'
                  ELSE 'attacker.session.kind-' || (i * 31 % 200) END,
             'observed', status, CASE status WHEN 2 THEN 1 ELSE 4 END, 0,
             CASE status WHEN 2 THEN 200 ELSE 503 END, CASE status WHEN 2 THEN NULL ELSE 'http 503' END,
             3, {begin} + i / 20 * 20 * {step}, {begin} + i / 20 * 20 * {step},
             CASE status WHEN 0 THEN {begin} + {SPAN_MICROS} + 3600000000 + i END,
             CASE status WHEN 2 THEN NULL ELSE {body} END
         FROM kinds JOIN s USING (n)"
    )
}

/// Four for each row that failed.
fn attempts(dialect: &Dialect) -> String {
    let answer = dialect.answer;
    format!(
        "INSERT INTO webhook_attempts (delivery_id, at, status_code, duration_ms, error, answer)
         SELECT id, created_at, 503, 3, 'http 503', {answer}
         FROM webhook_deliveries,
             (SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4) AS four
         WHERE status <> 2"
    )
}
