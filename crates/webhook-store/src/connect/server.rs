//! Database servers: one pool of connections, reads and writes alike.

use std::{io, time::Duration};

use sea_orm::{
    DbErr, RuntimeErr, SqlxMySqlConnector, SqlxPostgresConnector,
    sqlx::{
        self, ConnectOptions, Connection, Executor,
        mysql::{MySqlConnectOptions, MySqlPoolOptions},
        pool::PoolOptions,
        postgres::{PgConnectOptions, PgPoolOptions},
    },
};

use tokio::time::timeout;

use super::{Connections, fitness};
use crate::{DatabaseConfig, StoreError};

/// A connection that nobody has used for this long is closed: before firewalls forget it.
const IDLE: Duration = Duration::from_secs(300);
/// A connection is renewed after this long: so that a failover or a changed name is noticed.
const LIFETIME: Duration = Duration::from_secs(1_800);
/// Longest wait for the first connection, which tells why there is none. A pool tries again by itself
/// until it gives up, and then says that it timed out.
const FIRST_CONNECTION: Duration = Duration::from_secs(5);
/// Longest statement, in milliseconds: all of ours take well under a second, and a batch that waits
/// for a lock longer than this is better tried again.
const STATEMENT_MILLIS: &str = "30000";
/// What a session of MySQL's has otherwise than its server may: nothing is cut to fit a column, a
/// transaction sees what was committed while it waited for a lock, and waits for none for longer
/// than a statement of PostgreSQL's may take.
const SESSION: [&str; 3] = [
    "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION innodb_lock_wait_timeout = 30",
];
/// Longest idleness within a transaction, in milliseconds: a process that hangs keeps no locks.
const IDLE_TRANSACTION_MILLIS: &str = "60000";

pub(super) async fn postgres(
    config: &DatabaseConfig,
    options: PgConnectOptions,
) -> Result<Connections, StoreError> {
    let options = options
        .application_name("decnet")
        .options([
            ("statement_timeout", STATEMENT_MILLIS),
            (
                "idle_in_transaction_session_timeout",
                IDLE_TRANSACTION_MILLIS,
            ),
        ])
        .disable_statement_logging();
    let place = (options.get_host(), options.get_port());
    can_connect(&options, place)
        .await
        .map_err(|error| cannot_open(config, error))?;
    let pool = bounded(PgPoolOptions::new(), config)
        .connect_with(options)
        .await
        .map_err(|error| cannot_open(config, error))?;
    let both = SqlxPostgresConnector::from_sqlx_postgres_pool(pool);
    Ok(Connections {
        readers: both.clone(),
        writer: both,
        file: None,
    })
}

pub(super) async fn mysql(
    config: &DatabaseConfig,
    options: MySqlConnectOptions,
) -> Result<Connections, StoreError> {
    let options = options.charset("utf8mb4").disable_statement_logging();
    let place = (options.get_host(), options.get_port());
    can_connect(&options, place)
        .await
        .map_err(|error| cannot_open(config, error))?;
    let pool = bounded(MySqlPoolOptions::new(), config)
        .after_connect(|session, _| {
            Box::pin(async move {
                for setting in SESSION {
                    session.execute(setting).await?;
                }
                Ok(())
            })
        })
        .connect_with(options)
        .await
        .map_err(|error| cannot_open(config, error))?;
    let (version, packet): (String, u64) =
        sqlx::query_as("SELECT VERSION(), CAST(@@max_allowed_packet AS UNSIGNED)")
            .fetch_one(&pool)
            .await
            .map_err(|error| cannot_open(config, error))?;
    if let Some(reason) = fitness::lacks(&version, packet) {
        let url = config.shown_url();
        return Err(StoreError::Unsuitable { url, reason });
    }
    let both = SqlxMySqlConnector::from_sqlx_mysql_pool(pool);
    Ok(Connections {
        readers: both.clone(),
        writer: both,
        file: None,
    })
}

/// Fails with the reason where there is no connection to be had, and names host and port.
async fn can_connect<O: ConnectOptions>(
    options: &O,
    (host, port): (&str, u16),
) -> Result<(), sqlx::Error>
where
    O::Connection: Sized,
{
    let named = |kind, reason: String| {
        sqlx::Error::Io(io::Error::new(
            kind,
            format!("{host}, port {port}: {reason}"),
        ))
    };
    match timeout(FIRST_CONNECTION, options.connect()).await {
        // How it ends is of no interest.
        Ok(Ok(connection)) => drop(connection.close().await),
        Ok(Err(sqlx::Error::Io(error))) => return Err(named(error.kind(), error.to_string())),
        Ok(Err(error)) => return Err(error),
        Err(_) => {
            let reason = format!("no answer within {FIRST_CONNECTION:?}");
            return Err(named(io::ErrorKind::TimedOut, reason));
        }
    }
    Ok(())
}

fn bounded<DB: sqlx::Database>(
    options: PoolOptions<DB>,
    config: &DatabaseConfig,
) -> PoolOptions<DB> {
    options
        .max_connections(config.max_connections)
        .acquire_timeout(config.acquire_timeout)
        // Waiting for a server that is away is said once, by the caller.
        .acquire_slow_threshold(config.acquire_timeout)
        .idle_timeout(IDLE)
        .max_lifetime(LIFETIME)
        .test_before_acquire(true)
}

fn cannot_open(config: &DatabaseConfig, error: sqlx::Error) -> StoreError {
    StoreError::Open {
        url: config.shown_url(),
        source: DbErr::Conn(RuntimeErr::SqlxError(error.into())),
    }
}
