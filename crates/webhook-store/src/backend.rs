//! Every difference between the databases, in one place.

use sea_orm::{
    AccessMode, ConnAcquireErr, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr,
    EntityTrait, IsolationLevel, QuerySelect, Select, SqliteTransactionMode, Statement,
    TransactionOptions,
    sea_query::{
        BinOper, ColumnDef, Expr, ExprTrait, IndexCreateStatement, IntoColumnRef, LockBehavior,
        LockType, TableCreateStatement, Value,
    },
    sqlx,
};
use sea_orm_migration::SchemaManager;
use webhook_model::UtcTime;

/// Names the lock under which PostgreSQL's tables are migrated.
const MIGRATION_LOCK: u32 = 0x6465_636e;
/// The same for MySQL, whose locks are the whole server's.
const NAMED_LOCK: &str = "CONCAT('decnet_', MD5(DATABASE()))";
/// Longest wait for another process's migration; one of millions of rows takes minutes.
const MIGRATION_SECONDS: u32 = 600;

/// How a transaction that writes begins. SQLite takes the write lock at once: one that began by
/// reading could not wait for it later, but fails with `SQLITE_BUSY_SNAPSHOT`.
pub(crate) fn writing(backend: DbBackend) -> TransactionOptions {
    match backend {
        DbBackend::Sqlite => TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        },
        // Its sessions are so from their beginning, see `connect`.
        DbBackend::MySql => TransactionOptions::default(),
        _ => TransactionOptions {
            isolation_level: Some(IsolationLevel::ReadCommitted),
            ..TransactionOptions::default()
        },
    }
}

/// Waits for this process's turn to migrate. SQLite's transaction has its lock already.
pub(crate) async fn lock_migrations(txn: &DatabaseTransaction) -> Result<(), DbErr> {
    let backend = txn.get_database_backend();
    let sql = match backend {
        DbBackend::Postgres => format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"),
        DbBackend::MySql => format!("SELECT GET_LOCK({NAMED_LOCK}, {MIGRATION_SECONDS})"),
        _ => return Ok(()),
    };
    let answer = txn
        .query_one_raw(Statement::from_string(backend, sql))
        .await?;
    if backend == DbBackend::MySql {
        let taken: Option<i32> = answer.map(|row| row.try_get_by_index(0)).transpose()?;
        if taken != Some(1) {
            return Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout));
        }
    }
    Ok(())
}

/// Lets the next one migrate; elsewhere than on MySQL the transaction's end does.
pub(crate) async fn unlock_migrations(txn: &DatabaseTransaction) -> Result<(), DbErr> {
    if txn.get_database_backend() != DbBackend::MySql {
        return Ok(());
    }
    let sql = format!("SELECT RELEASE_LOCK({NAMED_LOCK})");
    txn.query_all_raw(Statement::from_string(DbBackend::MySql, sql))
        .await
        .map(drop)
}

/// Keeps those who would change the rows from doing so until the transaction ends; others may
/// read them so, too. MariaDB has another syntax for it than MySQL: there one reads at a time.
pub(crate) fn lock_shared<E: EntityTrait>(backend: DbBackend, select: Select<E>) -> Select<E> {
    match backend {
        DbBackend::MySql => select.lock_exclusive(),
        _ => select.lock_shared(),
    }
}

/// Takes rows that nobody else is taking in the same moment.
pub(crate) fn lock_free_rows<E: EntityTrait>(backend: DbBackend, select: Select<E>) -> Select<E> {
    match backend {
        DbBackend::Sqlite => select,
        _ => select.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked),
    }
}

/// How a transaction begins whose queries must all see one moment.
pub(crate) fn reading(backend: DbBackend) -> TransactionOptions {
    match backend {
        // A deferred transaction under WAL does; it knows no isolation levels.
        DbBackend::Sqlite => TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Deferred),
            ..TransactionOptions::default()
        },
        _ => TransactionOptions {
            isolation_level: Some(IsolationLevel::RepeatableRead),
            access_mode: Some(AccessMode::ReadOnly),
            ..TransactionOptions::default()
        },
    }
}

/// A column with one of DECNET's datetimes, as text.
pub(crate) fn datetime_text(backend: DbBackend, column: impl IntoColumnRef) -> Expr {
    let column = Expr::col(column);
    match backend {
        DbBackend::Sqlite => column,
        DbBackend::MySql => column.cast_as("char"),
        _ => column.cast_as("text"),
    }
}

/// A value for one of DECNET's datetime columns.
pub(crate) fn datetime(backend: DbBackend, time: Option<UtcTime>) -> Expr {
    let text = Expr::val(Value::String(time.map(UtcTime::sql)));
    match backend {
        DbBackend::Postgres => text.cast_as("timestamp"),
        _ => text,
    }
}

/// Whether a text column of DECNET's holds just this: its collation in MySQL takes `A` for `a`.
pub(crate) fn is_exactly(
    backend: DbBackend,
    column: impl IntoColumnRef + Copy,
    value: &str,
) -> Expr {
    let equal = Expr::col(column).eq(value);
    match backend {
        // By the index first, then byte by byte.
        DbBackend::MySql => equal.and(Expr::col(column).binary(BinOper::Custom("= BINARY"), value)),
        _ => equal,
    }
}

/// What a table of ours needs said in MySQL, where a server's own defaults may be anything.
pub(crate) fn ours(backend: DbBackend, mut table: TableCreateStatement) -> TableCreateStatement {
    if backend == DbBackend::MySql {
        table
            .engine("InnoDB")
            .character_set("utf8mb4")
            .collate("utf8mb4_bin");
    }
    table
}

/// Makes an index unless it is there: see [`migrations::migrate`](crate::migrations::migrate).
pub(crate) async fn create_index(
    manager: &SchemaManager<'_>,
    table: &str,
    index: IndexCreateStatement,
) -> Result<(), DbErr> {
    let name = index.get_index_spec().get_name().unwrap_or_default();
    if manager.has_index(table, name).await? {
        return Ok(());
    }
    manager.create_index(index).await
}

/// The database's clock in epoch microseconds, by which leases run. SQLite is this process.
pub(crate) fn clock(backend: DbBackend) -> Expr {
    match backend {
        DbBackend::Sqlite => Expr::val(UtcTime::now().micros()),
        DbBackend::MySql => Expr::cust("CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)"),
        _ => Expr::cust("CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"),
    }
}

/// The type of DECNET's datetime columns.
pub(crate) fn datetime_type(backend: DbBackend, column: &mut ColumnDef) -> &mut ColumnDef {
    match backend {
        DbBackend::Sqlite => column.custom("DATETIME"),
        DbBackend::MySql => column.custom("DATETIME(6)"),
        _ => column.date_time(),
    }
}

/// The type of a column for up to a few MiB of bytes.
pub(crate) fn bytes_type(backend: DbBackend, column: &mut ColumnDef) -> &mut ColumnDef {
    match backend {
        DbBackend::MySql => column.custom("LONGBLOB"),
        _ => column.blob(),
    }
}

/// The type of a text column that is compared case by case, also as part of a key.
pub(crate) fn exact_text_type(
    backend: DbBackend,
    column: &mut ColumnDef,
    chars: u32,
) -> &mut ColumnDef {
    match backend {
        DbBackend::MySql => column.custom(format!("VARCHAR({chars}) COLLATE utf8mb4_bin")),
        _ => column.string_len(chars),
    }
}

/// Whether a database error is about the data that was sent, not about the database's own state.
/// Everything unknown is taken as the latter: waiting loses nothing, bisecting may.
pub(crate) fn is_row_fault(error: &dyn sqlx::error::DatabaseError) -> bool {
    let Some(code) = error.code() else {
        return false;
    };
    if is_sqlite(error) {
        const TOO_BIG: i32 = 18;
        const CONSTRAINT: i32 = 19;
        const MISMATCH: i32 = 20;
        const RANGE: i32 = 25;
        return matches!(
            primary(&code),
            Some(TOO_BIG | CONSTRAINT | MISMATCH | RANGE)
        );
    }
    if let Some(mysql) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        // These have no class of their own in MySQL: an incorrect value, a violated check.
        const INCORRECT_VALUE: u16 = 1366;
        const CHECK_VIOLATED: u16 = 3819;
        if matches!(mysql.number(), INCORRECT_VALUE | CHECK_VIOLATED) {
            return true;
        }
    }
    // SQLSTATE classes: data exception, integrity violation, program limit exceeded.
    ["22", "23", "54"]
        .iter()
        .any(|class| code.starts_with(class))
}

/// Whether SQLite found the file locked.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    const BUSY: i32 = 5;
    error.as_database_error().is_some_and(|error| {
        is_sqlite(error) && error.code().and_then(|code| primary(&code)) == Some(BUSY)
    })
}

fn is_sqlite(error: &dyn sqlx::error::DatabaseError) -> bool {
    error
        .try_downcast_ref::<sqlx::sqlite::SqliteError>()
        .is_some()
}

/// The low byte of an extended result code (sqlite.org/rescode.html).
fn primary(code: &str) -> Option<i32> {
    code.parse::<i32>().ok().map(|code| code & 0xff)
}
