//! Connections and transactions whose statements end, whatever becomes of who asked for them.
//!
//! A server that falls silent must not hold a caller for ever, so each statement has a deadline.
//! And a caller may be dropped at any time, e.g. with the HTTP request that it serves. The drivers
//! of SQLite and PostgreSQL bear that; MySQL's loses its place in the protocol, and would take one
//! statement's answer for another's. There each statement is a task of its own.

use std::{sync::Arc, time::Duration};

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult,
    QueryResult, RuntimeErr, Statement, TransactionOptions, TransactionTrait,
};
use sea_orm_migration::{SchemaManager, async_trait::async_trait};
use tokio::time::timeout;

/// Longest wait for a server's answer. It ends statements itself after 30 s, so one that takes
/// longer is no server any more.
const DEADLINE: Duration = Duration::from_secs(40);

/// For single queries.
pub(crate) type Reader = Session<DatabaseConnection>;
/// A transaction; rolled back when dropped.
pub(crate) type Txn = Session<DatabaseTransaction>;

/// A connection, or a transaction on one.
#[derive(Debug)]
pub(crate) struct Session<C>(Arc<C>);

impl Reader {
    pub(crate) fn new(db: DatabaseConnection) -> Self {
        Self(Arc::new(db))
    }

    pub(crate) async fn begin(&self, options: TransactionOptions) -> Result<Txn, DbErr> {
        let begin = |db: Arc<DatabaseConnection>| async move {
            let begun = db.begin_with_options(options).await;
            begun.map(Arc::new).map(Session)
        };
        self.whole(begin).await
    }

    /// Whether there is a table with this column.
    pub(crate) async fn has_column(
        &self,
        table: &'static str,
        column: &'static str,
    ) -> Result<bool, DbErr> {
        let look = |db: Arc<DatabaseConnection>| async move {
            let manager = SchemaManager::new(&*db);
            Ok(manager.has_table(table).await? && manager.has_column(table, column).await?)
        };
        self.whole(look).await
    }

    pub(crate) async fn close(&self) -> Result<(), DbErr> {
        self.0.close_by_ref().await
    }
}

impl Txn {
    pub(crate) async fn commit(self) -> Result<(), DbErr> {
        let backend = self.get_database_backend();
        ended(backend, self.into_inner()?.commit()).await
    }

    pub(crate) async fn rollback(self) -> Result<(), DbErr> {
        let backend = self.get_database_backend();
        ended(backend, self.into_inner()?.rollback()).await
    }

    fn into_inner(self) -> Result<DatabaseTransaction, DbErr> {
        // A statement that was not waited for to its end has the other one.
        Arc::into_inner(self.0).ok_or_else(|| gone("a statement of this transaction is under way"))
    }
}

impl<C: ConnectionTrait + Send + Sync + 'static> Session<C> {
    async fn whole<T, F>(&self, run: impl FnOnce(Arc<C>) -> F) -> Result<T, DbErr>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, DbErr>> + Send + 'static,
    {
        ended(self.0.get_database_backend(), run(self.0.clone())).await
    }
}

#[async_trait]
impl<C: ConnectionTrait + Send + Sync + 'static> ConnectionTrait for Session<C> {
    fn get_database_backend(&self) -> DbBackend {
        self.0.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.whole(|on| async move { on.execute_raw(statement).await })
            .await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let sql = sql.to_owned();
        self.whole(|on| async move { on.execute_unprepared(&sql).await })
            .await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.whole(|on| async move { on.query_one_raw(statement).await })
            .await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.whole(|on| async move { on.query_all_raw(statement).await })
            .await
    }
}

/// Waits for one step's end, or its deadline.
async fn ended<T: Send + 'static>(
    backend: DbBackend,
    step: impl Future<Output = Result<T, DbErr>> + Send + 'static,
) -> Result<T, DbErr> {
    let silent = |_| Err(gone("the database server does not answer"));
    match backend {
        // A file has no silence, only locks, whose wait has a bound of its own.
        DbBackend::Sqlite => step.await,
        DbBackend::MySql => match timeout(DEADLINE, tokio::spawn(step)).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(gone("the program ends")),
            },
            Err(late) => silent(late),
        },
        _ => timeout(DEADLINE, step).await.unwrap_or_else(silent),
    }
}

fn gone(why: &str) -> DbErr {
    DbErr::Conn(RuntimeErr::Internal(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::StoreError;

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_given_up_and_is_the_databases_fault() {
        for backend in [DbBackend::Postgres, DbBackend::MySql] {
            let begun = tokio::time::Instant::now();
            let error = ended(backend, pending::<Result<(), DbErr>>()).await;
            assert_eq!(begun.elapsed(), DEADLINE);
            assert!(StoreError::from(error.unwrap_err()).is_connection());
        }
    }

    #[tokio::test]
    async fn a_step_on_mysql_ends_though_its_caller_is_gone() {
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let (done, is_done) = tokio::sync::oneshot::channel();
        let step = async move {
            begun.send(()).unwrap();
            gone.await.unwrap();
            done.send(()).unwrap();
            Ok::<_, DbErr>(())
        };
        let caller = tokio::spawn(ended(DbBackend::MySql, step));
        has_begun.await.unwrap();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        go.send(()).unwrap();
        is_done.await.unwrap();
    }
}
