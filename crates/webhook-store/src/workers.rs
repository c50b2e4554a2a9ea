//! The workers that share a database: each says that it lives, learns who else does, and frees what
//! a dead one had leased. Ages are told by the database's clock, so that nobody's own counts.

use std::time::Duration;

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, ExprTrait, QueryFilter, QueryOrder,
    QuerySelect,
    sea_query::{Expr, OnConflict, Query, SelectStatement},
};
use webhook_model::UtcTime;

use crate::{
    Store, StoreError, backend,
    entities::{
        delivery::{self, Column as Delivery},
        replay::{self, Column as Replay},
        state::{self, Column as State},
        worker::{self, Column},
    },
    redelivery::micros,
    session::Txn,
    store,
};

/// How long a worker may be silent before it is dead to the others: several of its beats, so that
/// a slow commit is not taken for a death.
pub const WORKER_PATIENCE: Duration = Duration::from_secs(15);
/// How long the row of a worker that fell silent stays, for an operator to see.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);

/// What a worker says of itself with every beat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// A uuid of this run; the owner of its leases.
    pub instance: String,
    /// Host and process, for people.
    pub name: String,
    /// Of the program.
    pub version: String,
    /// The config version it works by.
    pub settled: i64,
    /// Subscriptions of which it still holds events that are beyond the end of their pairs.
    pub holding: Vec<String>,
}

/// A worker as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// The owner of its leases.
    pub instance: String,
    /// Host and process, for people.
    pub name: String,
    /// Of its program.
    pub version: String,
    /// Its first beat.
    pub started_at: UtcTime,
    /// How long ago its last beat was.
    pub silent_for: Duration,
    /// The config version it works by.
    pub settled: i64,
    /// Subscriptions of which it still holds events that are beyond the end of their pairs.
    pub holding: Vec<String>,
}

impl Worker {
    /// Whether the others count on it.
    pub fn is_alive(&self) -> bool {
        self.silent_for <= WORKER_PATIENCE
    }
}

/// Everybody, and what they are to work by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roll {
    /// Those who are alive, by instance: the same order for everybody.
    pub alive: Vec<Worker>,
    /// The config version as of now.
    pub version: i64,
}

impl Store {
    /// Says that a worker lives, and answers who does: whoever was heard within `patience`.
    pub async fn beat(&self, beat: &Beat, patience: Duration) -> Result<Roll, StoreError> {
        let holding = serde_json::to_string(&beat.holding).expect("strings are JSON");
        let txn = self.begin_write().await?;
        let clock = || backend::clock(txn.backend());
        let insert = Query::insert()
            .into_table(worker::Entity)
            .columns([
                Column::Instance,
                Column::Name,
                Column::Version,
                Column::StartedAt,
                Column::BeatAt,
                Column::Settled,
                Column::Holding,
            ])
            .values_panic([
                Expr::val(&beat.instance),
                Expr::val(&beat.name),
                Expr::val(&beat.version),
                clock(),
                clock(),
                Expr::val(beat.settled),
                Expr::val(holding),
            ])
            .on_conflict(
                OnConflict::column(Column::Instance)
                    .update_columns([Column::BeatAt, Column::Settled, Column::Holding])
                    .to_owned(),
            )
            .to_owned();
        txn.conn().execute(&insert).await?;
        worker::Entity::delete_many()
            .filter(Expr::col(Column::BeatAt).lt(clock().sub(micros(FORGOTTEN_AFTER))))
            .exec(txn.conn())
            .await?;
        let alive = alive(txn.conn(), patience).await?;
        let version = store::config_version(txn.conn()).await?;
        crate::failpoints::crash_point!(BEATING, Err(crate::failpoints::away()));
        txn.commit().await?;
        Ok(Roll { alive, version })
    }

    /// Takes a worker's row away. Its leases end with
    /// [`free_orphaned_leases`](Self::free_orphaned_leases).
    pub async fn leave(&self, instance: &str) -> Result<(), StoreError> {
        let txn = self.begin_write().await?;
        worker::Entity::delete_by_id(instance)
            .exec(txn.conn())
            .await?;
        txn.commit().await
    }

    /// Ends every lease whose owner was not heard within `patience`: it is dead to the others. Looks
    /// through all that is to be tried again; meant for when somebody came or went.
    pub async fn free_orphaned_leases(&self, patience: Duration) -> Result<(), StoreError> {
        let txn = self.begin_write().await?;
        let since = backend::clock(txn.backend()).sub(micros(patience));
        let living = Query::select()
            .column(Column::Instance)
            .from(worker::Entity)
            .and_where(Expr::col(Column::BeatAt).gte(since))
            .to_owned();
        free_leases(txn.conn(), &living).await?;
        txn.commit().await
    }

    /// Every worker that was heard of within the last hour, by instance.
    pub async fn workers(&self) -> Result<Vec<Worker>, StoreError> {
        alive(self.db(), FORGOTTEN_AFTER).await
    }
}

/// Ends the leases of everybody but these.
async fn free_leases(conn: &Txn, living: &SelectStatement) -> Result<(), StoreError> {
    let none = || Expr::val(Option::<i64>::None);
    let nobody = || Expr::val(Option::<String>::None);
    let orphaned = |until: Expr, owner: Expr| {
        Condition::all()
            .add(until.is_not_null())
            .add(owner.not_in_subquery(living.clone()))
    };
    delivery::Entity::update_many()
        .col_expr(Delivery::LeaseUntil, none())
        .col_expr(Delivery::LeaseOwner, nobody())
        .filter(Delivery::NextAttemptAt.is_not_null())
        .filter(orphaned(
            Expr::col(Delivery::LeaseUntil),
            Expr::col(Delivery::LeaseOwner),
        ))
        .exec(conn)
        .await?;
    state::Entity::update_many()
        .col_expr(State::LeaseUntil, none())
        .col_expr(State::LeaseOwner, nobody())
        .filter(orphaned(
            Expr::col(State::LeaseUntil),
            Expr::col(State::LeaseOwner),
        ))
        .exec(conn)
        .await?;
    replay::Entity::update_many()
        .col_expr(Replay::LeaseUntil, none())
        .col_expr(Replay::LeaseOwner, nobody())
        .filter(orphaned(
            Expr::col(Replay::LeaseUntil),
            Expr::col(Replay::LeaseOwner),
        ))
        .exec(conn)
        .await?;
    Ok(())
}

async fn alive(conn: &impl ConnectionTrait, patience: Duration) -> Result<Vec<Worker>, StoreError> {
    let silence = || backend::clock(conn.get_database_backend()).sub(Expr::col(Column::BeatAt));
    let found: Vec<(String, String, String, i64, i64, String, i64)> = worker::Entity::find()
        .select_only()
        .columns([
            Column::Instance,
            Column::Name,
            Column::Version,
            Column::StartedAt,
            Column::Settled,
            Column::Holding,
        ])
        .column_as(silence(), "silence")
        .filter(silence().lte(micros(patience)))
        .order_by_asc(Column::Instance)
        .into_tuple()
        .all(conn)
        .await?;
    type Row = (String, String, String, i64, i64, String, i64);
    let worker = |(instance, name, version, started_at, settled, holding, silence): Row| {
        // Taken for nothing, it would let others go on too early.
        let holding = serde_json::from_str(&holding).map_err(|error| StoreError::BadRow {
            table: "webhook_workers",
            uuid: instance.clone(),
            reason: format!("holding: {error}"),
        })?;
        Ok(Worker {
            instance,
            name,
            version,
            started_at: UtcTime::from_micros(started_at),
            // A clock that was set back: it was heard just now.
            silent_for: Duration::from_micros(u64::try_from(silence).unwrap_or(0)),
            settled,
            holding,
        })
    };
    found.into_iter().map(worker).collect()
}
