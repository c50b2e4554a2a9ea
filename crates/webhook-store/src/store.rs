use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    BadRow, DatabaseConfig, StoreError,
    accounts::Accounts,
    backend,
    connect::{self, OpenFile},
    entities::{meta, state},
    migrations,
    record::Inserts,
    room::Room,
    session::{Reader, Txn},
};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QuerySelect,
    TransactionTrait,
    sea_query::{Expr, ExprTrait},
};
use webhook_model::UtcTime;

/// Bad rows whose warning is remembered, so that it is given once and not with every read.
const MAX_WARNED: usize = 1_024;

/// The database of one installation. Clones share their connections.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    readers: Reader,
    writer: Reader,
    deployment_id: String,
    warned: Mutex<HashSet<BadRow>>,
    accounts: Accounts,
    inserts: Inserts,
    room: Arc<Room>,
    /// SQLite's.
    file: Option<OpenFile>,
}

impl Store {
    /// Connects, making an SQLite file that is missing (for its owner alone), and migrates. A
    /// database that DECNET made is taken over with its rows.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] when a newer decnet migrated it;
    /// [`StoreError::is_connection`] when trying again later may help.
    pub async fn open(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let connections = connect::connect(config).await?;
        let txn = connections
            .writer
            .begin_with_options(backend::writing(connections.writer.get_database_backend()))
            .await?;
        let meta = migrations::migrate(&txn, &config.shown_url(), config.awaits_decnet).await?;
        txn.commit().await?;
        let readers = Reader::new(connections.readers);
        let room = Room::read(&readers).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                readers,
                writer: Reader::new(connections.writer),
                deployment_id: meta.deployment_id,
                warned: Mutex::default(),
                accounts: Accounts::default(),
                inserts: Inserts::default(),
                room: Arc::new(room),
                file: connections.file,
            }),
        })
    }

    /// Closes every connection; calls after that fail.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.inner.readers.close().await?;
        // Last, so that nobody keeps SQLite from folding the WAL into the file.
        Ok(self.inner.writer.close().await?)
    }

    /// Fails where SQLite's file was moved away since it was opened. What would be written now would
    /// be gone with it, so writing fails likewise.
    pub fn still_there(&self) -> Result<(), StoreError> {
        self.inner
            .file
            .as_ref()
            .map_or(Ok(()), OpenFile::still_there)
    }

    /// Whether the database answers, and is still where it was.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.still_there()?;
        self.config_version().await.map(drop)
    }

    /// A uuid that names this installation; made once, then kept in the database.
    pub fn deployment_id(&self) -> &str {
        &self.inner.deployment_id
    }

    /// A number that grows with every change of subscriptions and pairs made through a store (not
    /// with DECNET's own writes). One cheap query.
    pub async fn config_version(&self) -> Result<i64, StoreError> {
        crate::failpoints::crash_point!(LOOKING, Err(crate::failpoints::away()));
        config_version(self.db()).await
    }

    /// For single queries; what writes takes [`begin_write`](Self::begin_write).
    pub(crate) fn db(&self) -> &Reader {
        &self.inner.readers
    }

    pub(crate) fn accounts(&self) -> &Accounts {
        &self.inner.accounts
    }

    pub(crate) fn inserts(&self) -> &Inserts {
        &self.inner.inserts
    }

    pub(crate) async fn begin_read(&self) -> Result<Txn, StoreError> {
        let options = backend::reading(self.db().get_database_backend());
        Ok(self.db().begin(options).await?)
    }

    pub(crate) async fn begin_write(&self) -> Result<WriteTxn, StoreError> {
        self.still_there()?;
        let writer = &self.inner.writer;
        let options = backend::writing(writer.get_database_backend());
        let txn = writer.begin(options).await?;
        let room = self.inner.room.clone();
        Ok(WriteTxn { txn, room })
    }

    /// Warns of each bad row once per reason.
    pub(crate) fn warn_of(&self, bad: &[BadRow]) {
        let mut warned = self
            .inner
            .warned
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if warned.len() > MAX_WARNED {
            warned.clear();
        }
        for row in bad {
            if warned.insert(row.clone()) {
                tracing::warn!(
                    uuid = row.uuid,
                    reason = row.reason,
                    "webhook subscription cannot be read and is skipped; correct or delete its row"
                );
            }
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("deployment_id", &self.inner.deployment_id)
            .finish_non_exhaustive()
    }
}

pub(crate) async fn config_version(conn: &impl ConnectionTrait) -> Result<i64, StoreError> {
    let version = meta::Entity::find_by_id(meta::ROW)
        .select_only()
        .column(meta::Column::ConfigVersion)
        .into_tuple::<i64>()
        .one(conn)
        .await?;
    version.ok_or_else(|| StoreError::BadRow {
        table: "webhook_meta",
        uuid: meta::ROW.to_string(),
        reason: "it is missing".to_owned(),
    })
}

/// A transaction that writes. Dropped without a commit, it is rolled back.
pub(crate) struct WriteTxn {
    txn: Txn,
    room: Arc<Room>,
}

impl WriteTxn {
    pub(crate) fn conn(&self) -> &Txn {
        &self.txn
    }

    pub(crate) fn backend(&self) -> DbBackend {
        self.txn.get_database_backend()
    }

    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    /// Now, as DECNET's table keeps it.
    pub(crate) fn now(&self) -> UtcTime {
        self.room.as_kept(UtcTime::now())
    }

    /// A value for one of its datetime columns.
    pub(crate) fn datetime(&self, time: Option<UtcTime>) -> Expr {
        backend::datetime(self.backend(), time.map(|time| self.room.as_kept(time)))
    }

    pub(crate) async fn rollback(self) -> Result<(), StoreError> {
        Ok(self.txn.rollback().await?)
    }

    /// Ends it without having written anything. Dropping it would, too, but some time later: a
    /// lock that it took would make others skip the row until then.
    pub(crate) async fn unused<T>(self, answer: T) -> Result<T, StoreError> {
        self.rollback().await?;
        Ok(answer)
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        Ok(self.txn.commit().await?)
    }

    /// Counts a change of one subscription, and of the configuration as a whole. What the receiver
    /// asked for ends with it.
    pub(crate) async fn bump_epoch(&self, uuid: &str) -> Result<(), StoreError> {
        let bumped = state::Entity::update_many()
            .col_expr(state::Column::Epoch, Expr::col(state::Column::Epoch).add(1))
            .col_expr(state::Column::PauseUntil, Expr::val(Option::<i64>::None))
            .filter(state::Column::Uuid.eq(uuid))
            .exec(self.conn())
            .await?;
        if bumped.rows_affected == 0 {
            self.insert_state(uuid, 1).await?;
        }
        self.bump_config_version().await
    }

    /// Gives a subscription that has no state the one that a missing row stands for.
    pub(crate) async fn ensure_state(&self, uuid: &str) -> Result<(), StoreError> {
        self.insert_state(uuid, 0).await
    }

    async fn insert_state(&self, uuid: &str, epoch: i64) -> Result<(), StoreError> {
        let first = state::ActiveModel {
            uuid: Set(uuid.to_owned()),
            epoch: Set(epoch),
            probe_at: Set(None),
            trips: Set(0),
            failing_since: Set(None),
            lease_until: Set(None),
            lease_owner: Set(None),
            pause_until: Set(None),
            answers: Set(None),
            silent_since: Set(None),
            ahead_seq: Set(None),
            fingerprint: Set(None),
        };
        state::Entity::insert(first)
            .exec_without_returning(self.conn())
            .await?;
        Ok(())
    }

    pub(crate) async fn bump_config_version(&self) -> Result<(), StoreError> {
        meta::Entity::update_many()
            .col_expr(
                meta::Column::ConfigVersion,
                Expr::col(meta::Column::ConfigVersion).add(1),
            )
            .filter(meta::Column::Id.eq(meta::ROW))
            .exec(self.conn())
            .await?;
        Ok(())
    }
}
