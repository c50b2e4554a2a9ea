//! Replay jobs: dead letters are put back into the queue where they are; what was delivered comes
//! as new rows whose bodies the worker reads from the bus.
//!
//! A job walks the log from its oldest match on, never beyond the moment it was made, and its cursor
//! moves in the transaction that queues the rows: a crash repeats nothing and leaves nothing out.

mod row;
mod taking_over;

use std::{collections::HashMap, time::Duration};

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait, Order},
};
use webhook_model::{DeliveryStatus, UtcTime};

use crate::{
    Cursor, DeliveryRecord, DeliveryRow, Store, StoreError, backend,
    entities::{
        delivery::{self, Column as Delivery, status_code},
        replay::{self, Column},
    },
    redelivery::{self, micros},
    store::WriteTxn,
    subscriptions,
};

pub(crate) use row::RUNNING;
pub use row::{Candidate, NewReplay, Replay, ReplaySource, ReplayState, ReplayStep};
use taking_over::Present;

/// Most deliveries of one subscription that wait because of replays: more would only age in the
/// queue and hide what fails now.
const MAX_OUTSTANDING: u64 = 1_000;
/// Rows that one step looks at.
const CHUNK: u64 = 500;

impl Store {
    /// How many deliveries a replay would match now.
    pub async fn count_replay(&self, new: &NewReplay) -> Result<u64, StoreError> {
        self.count_matches(&new.filter(UtcTime::now())).await
    }

    /// Makes a job; `None` when there is no such subscription.
    pub async fn create_replay(&self, new: NewReplay) -> Result<Option<Replay>, StoreError> {
        let matched = self.count_replay(&new).await?;
        let txn = self.begin_write().await?;
        if subscriptions::find(txn.conn(), &new.subscription)
            .await?
            .is_none()
        {
            return txn.unused(None).await;
        }
        let replay = Replay::begin(new, matched, UtcTime::now());
        replay::Entity::insert(row::insert(&replay))
            .exec_without_returning(txn.conn())
            .await?;
        txn.commit().await?;
        Ok(Some(replay))
    }

    /// One job. Any string may be asked for.
    pub async fn replay(&self, id: &str) -> Result<Option<Replay>, StoreError> {
        let found = replay::Entity::find_by_id(id).one(self.db()).await?;
        found.map(row::decode).transpose()
    }

    /// Leases the oldest running job that nobody works on, or that is the caller's already.
    pub async fn claim_replay(
        &self,
        owner: &str,
        lease: Duration,
    ) -> Result<Option<Replay>, StoreError> {
        let txn = self.begin_write().await?;
        let clock = || backend::clock(txn.backend());
        let free = Column::LeaseUntil
            .is_null()
            .or(Expr::col(Column::LeaseUntil).lte(clock()))
            .or(Column::LeaseOwner.eq(owner));
        let select = replay::Entity::find()
            .filter(Column::State.eq(RUNNING))
            .filter(free)
            .order_by_asc(Column::UpdatedAt);
        let found = backend::lock_free_rows(txn.backend(), select)
            .one(txn.conn())
            .await?;
        let Some(found) = found else {
            return txn.unused(None).await;
        };
        replay::Entity::update_many()
            .col_expr(Column::LeaseOwner, Expr::val(owner))
            .col_expr(Column::LeaseUntil, clock().add(micros(lease)))
            .filter(Column::Id.eq(&found.id))
            .exec(txn.conn())
            .await?;
        txn.commit().await?;
        row::decode(found).map(Some)
    }

    /// Queues the next dead letters of a job, as many as may be outstanding, or makes the next
    /// waiting deliveries due now, whose schedules go on; what has no body to send counts as
    /// unavailable. For jobs with [`Replay::status`] dead or retrying.
    pub async fn advance_dead_letters(
        &self,
        id: &str,
        owner: &str,
    ) -> Result<ReplayStep, StoreError> {
        let Some(job) = self.replay(id).await? else {
            return Ok(ReplayStep::Lost);
        };
        let rows = self
            .scan(&job.filter(), job.cursor, Order::Asc, CHUNK)
            .await?;
        let last_chunk = (rows.len() as u64) < CHUNK;
        let txn = self.begin_write().await?;
        let Some(job) = held(&txn, &job, owner).await? else {
            return txn.unused(ReplayStep::Lost).await;
        };
        let waits = job.status == DeliveryStatus::Retrying;
        let room = if waits {
            CHUNK
        } else {
            room(&txn, &job.subscription).await?
        };
        if room == 0 {
            return txn.unused(ReplayStep::Full).await;
        }
        let (mut next, mut taken, mut whole) = (job.clone(), Vec::new(), last_chunk);
        let filter = job.filter();
        let there = still(&txn, job.status, &rows).await?;
        let mut present = Present::of(&txn, &job, &rows).await?;
        for row in &rows {
            if taken.len() as u64 == room {
                whole = false;
                break;
            }
            next.cursor = Some(row.cursor());
            let Some(has_body) = there.get(&row.id).filter(|_| filter.matches(row)) else {
                continue;
            };
            if !redelivery::is_sendable(*has_body, row.error.as_deref()) {
                next.unavailable += 1;
            } else if present.has(row) {
                next.present += 1;
            } else {
                taken.push(row);
            }
        }
        if job.source.is_some() {
            taking_over::hand_over(&txn, &job, &taken).await?;
        }
        let taken: Vec<i64> = taken.into_iter().map(|row| row.id).collect();
        let queued = if waits {
            redelivery::hasten(&txn, &taken).await?
        } else {
            redelivery::requeue(&txn, &taken).await?
        };
        next.replayed += queued;
        finish(txn, next, whole).await
    }

    /// The next delivered events of a job, whose bodies are then to be read from the bus. Empty at
    /// its end; [`Candidate::matches`] false only carries the cursor on.
    pub async fn replay_candidates(
        &self,
        id: &str,
        limit: u64,
    ) -> Result<Vec<Candidate>, StoreError> {
        let Some(job) = self.replay(id).await? else {
            return Ok(Vec::new());
        };
        let filter = job.filter();
        let size = limit.clamp(1, CHUNK);
        let rows = self.scan(&filter, job.cursor, Order::Asc, size).await?;
        Ok(rows
            .into_iter()
            .map(|row| Candidate {
                matches: filter.matches(&row),
                cursor: row.cursor(),
                incarnation: row.incarnation,
                seq: row.seq,
                event_id: row.event_id,
                topic: row.topic,
                kind: row.kind,
            })
            .collect())
    }

    /// Queues what was read for the candidates up to `upto`; `None` says that there are no more. The
    /// records are retrying ones with a body, and the job's id as `pair_id`. For jobs with
    /// [`Replay::status`] delivered.
    pub async fn advance_replay(
        &self,
        job: &Replay,
        owner: &str,
        upto: Option<Cursor>,
        records: &[DeliveryRecord],
        unavailable: u64,
    ) -> Result<ReplayStep, StoreError> {
        let txn = self.begin_write().await?;
        let Some(mut next) = held(&txn, job, owner).await? else {
            return txn.unused(ReplayStep::Lost).await;
        };
        if room(&txn, &next.subscription).await? < records.len() as u64 {
            return txn.unused(ReplayStep::Full).await;
        }
        let inserted = self.inserts().run(txn.conn(), records.iter()).await?;
        next.replayed += inserted as u64;
        next.unavailable += unavailable;
        next.cursor = upto.or(next.cursor);
        finish(txn, next, upto.is_none()).await
    }

    /// Ends a job that cannot go on, and says why. False when it is not the caller's.
    pub async fn fail_replay(
        &self,
        job: &Replay,
        owner: &str,
        reason: &str,
    ) -> Result<bool, StoreError> {
        let txn = self.begin_write().await?;
        let Some(mut next) = held(&txn, job, owner).await? else {
            return txn.unused(false).await;
        };
        next.state = ReplayState::Failed;
        next.reason = Some(reason.to_owned());
        save(&txn, next).await?;
        txn.commit().await?;
        Ok(true)
    }
}

/// The job as it stands, if it runs, is the caller's, and is where the caller saw it.
async fn held(txn: &WriteTxn, seen: &Replay, owner: &str) -> Result<Option<Replay>, StoreError> {
    let found = replay::Entity::find_by_id(&seen.id)
        .filter(Column::State.eq(RUNNING))
        .filter(Column::LeaseOwner.eq(owner))
        .lock_exclusive()
        .one(txn.conn())
        .await?;
    let found = found.map(row::decode).transpose()?;
    Ok(found.filter(|job| job.cursor == seen.cursor))
}

async fn finish(txn: WriteTxn, mut job: Replay, done: bool) -> Result<ReplayStep, StoreError> {
    if done {
        job.state = ReplayState::Done;
    }
    crate::failpoints::crash_point!(REPLAYING, Err(crate::failpoints::away()));
    save(&txn, job).await?;
    txn.commit().await?;
    crate::failpoints::crash_point!(REPLAYED, Err(crate::failpoints::away()));
    Ok(if done {
        ReplayStep::Done
    } else {
        ReplayStep::Moved
    })
}

async fn save(txn: &WriteTxn, job: Replay) -> Result<(), StoreError> {
    let ended = job.state != ReplayState::Running;
    let mut update = row::progress(&job, UtcTime::now());
    if ended {
        (update.lease_until, update.lease_owner) = (Set(None), Set(None));
    }
    replay::Entity::update(update).exec(txn.conn()).await?;
    Ok(())
}

/// How many more deliveries of a subscription may wait.
async fn room(txn: &WriteTxn, subscription: &str) -> Result<u64, StoreError> {
    let waiting: Vec<i64> = delivery::Entity::find()
        .select_only()
        .column(Delivery::Id)
        .filter(Delivery::Subscription.eq(subscription))
        .filter(Delivery::NextAttemptAt.is_not_null())
        .limit(MAX_OUTSTANDING)
        .into_tuple()
        .all(txn.conn())
        .await?;
    Ok(MAX_OUTSTANDING.saturating_sub(waiting.len() as u64))
}

/// Those of the rows that still have this status, and whether they have a body.
async fn still(
    txn: &WriteTxn,
    status: DeliveryStatus,
    rows: &[DeliveryRow],
) -> Result<HashMap<i64, bool>, StoreError> {
    let found: Vec<(i64, bool)> = delivery::Entity::find()
        .select_only()
        .column(Delivery::Id)
        .column_as(Delivery::Body.is_not_null(), "has_body")
        .filter(Delivery::Id.is_in(rows.iter().map(|row| row.id)))
        .filter(Delivery::Status.eq(status_code(status)))
        .into_tuple()
        .all(txn.conn())
        .await?;
    Ok(found.into_iter().collect())
}
