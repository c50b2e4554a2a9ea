//! Putting a backup's tables into a database that is DECNET's too, and goes on being: a file in the
//! place of its file would take DECNET's own tables back to the time of the backup.

use std::path::Path;

use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{
        self, AssertSqlSafe, ConnectOptions, Connection,
        sqlite::{SqliteConnectOptions, SqliteConnection},
    },
};

use crate::StoreError;

/// The one table that is DECNET's and ours.
const SHARED: &str = "webhook_subscriptions";
/// Ours are the tables whose names begin so, the shared one aside.
const OURS: &str = r"name LIKE 'webhook\_%' ESCAPE '\' AND name <> 'webhook_subscriptions'";

/// Whether an SQLite file has tables that are DECNET's alone.
///
/// # Errors
/// [`StoreError::Copy`] when the file cannot be read.
pub async fn has_tables_of_decnet(file: &Path) -> Result<bool, StoreError> {
    const OTHERS: &str = r"SELECT count(*) FROM sqlite_schema WHERE type = 'table'
        AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT LIKE 'webhook\_%' ESCAPE '\'";
    let counted: Result<i64, sqlx::Error> = async {
        let mut connection = open(file).await?;
        let count = sqlx::query_scalar(OTHERS)
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok(count)
    }
    .await;
    counted
        .map(|count| count > 0)
        .map_err(|error| StoreError::Copy {
            path: file.to_owned(),
            source: driver(error),
        })
}

/// Replaces our tables and the rows of the shared one in `file` by those of a backup, all of them or
/// none. DECNET's other tables, and the file itself, stay as they are.
///
/// # Errors
/// [`StoreError::Restore`] when a row does not fit, or somebody else is writing; nothing has changed
/// then.
pub async fn restore_tables(backup: &Path, file: &Path) -> Result<(), StoreError> {
    let restored = async {
        let mut connection = open(file).await?;
        sqlx::query("ATTACH DATABASE ? AS backup")
            .bind(backup.to_string_lossy().into_owned())
            .execute(&mut connection)
            .await?;
        let mut txn = connection.begin_with("BEGIN IMMEDIATE").await?;
        for table in names(&mut txn, "main").await? {
            run(&mut txn, format!("DROP TABLE main.{}", quoted(&table))).await?;
        }
        for table in names(&mut txn, "backup").await? {
            make(&mut txn, &table).await?;
            let table = quoted(&table);
            let copy = format!("INSERT INTO main.{table} SELECT * FROM backup.{table}");
            run(&mut txn, copy).await?;
        }
        shared(&mut txn).await?;
        txn.commit().await?;
        connection.close().await
    }
    .await;
    restored.map_err(|error| StoreError::Restore {
        path: file.to_owned(),
        source: driver(error),
    })
}

async fn names(db: &mut SqliteConnection, schema: &str) -> Result<Vec<String>, sqlx::Error> {
    let sql = format!("SELECT name FROM {schema}.sqlite_schema WHERE type = 'table' AND {OURS}");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(db).await
}

/// A table as the backup has it, with its indexes.
async fn make(db: &mut SqliteConnection, table: &str) -> Result<(), sqlx::Error> {
    const STATEMENTS: &str = "SELECT sql FROM backup.sqlite_schema
        WHERE tbl_name = ? AND type IN ('table', 'index') AND sql IS NOT NULL ORDER BY type = 'index'";
    let statements: Vec<String> = sqlx::query_scalar(STATEMENTS)
        .bind(table)
        .fetch_all(&mut *db)
        .await?;
    for statement in statements {
        run(db, statement).await?;
    }
    Ok(())
}

/// The rows of the shared table, in the columns that both have: DECNET may have added some since.
async fn shared(db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    const COMMON: &str = "SELECT a.name FROM pragma_table_info('webhook_subscriptions', 'main') a
        JOIN pragma_table_info('webhook_subscriptions', 'backup') b ON a.name = b.name";
    const THERE: &str =
        "SELECT count(*) FROM main.sqlite_schema WHERE name = 'webhook_subscriptions'";
    let there: i64 = sqlx::query_scalar(THERE).fetch_one(&mut *db).await?;
    if there == 0 {
        make(db, SHARED).await?;
    }
    let columns: Vec<String> = sqlx::query_scalar(COMMON).fetch_all(&mut *db).await?;
    let columns: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
    let columns = columns.join(", ");
    run(db, format!("DELETE FROM main.{SHARED}")).await?;
    let copy =
        format!("INSERT INTO main.{SHARED} ({columns}) SELECT {columns} FROM backup.{SHARED}");
    run(db, copy).await
}

async fn run(db: &mut SqliteConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::query(AssertSqlSafe(sql)).execute(db).await.map(drop)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

async fn open(file: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .foreign_keys(false)
        .disable_statement_logging()
        .connect()
        .await
}

fn driver(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}
