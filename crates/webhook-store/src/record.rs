//! The recorder's side of the delivery log: many outcomes in one transaction, each counted once.
//!
//! The common batch holds only new rows and is inserted as it is. When some were there already
//! (the bus handed their message out again, or the answer to a commit got lost), the transaction
//! starts anew the careful way: it looks up what is there, inserts what is not, raises what rose.

mod attempts;
mod fold;
mod insert;
mod row;

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder,
    sea_query::{Expr, ExprTrait, Query},
};

use webhook_model::{DeliveryStatus, UtcTime};

use crate::{
    DeliveryRecord, FailureCount, Store, StoreError, backend,
    entities::{
        delivery::{self, Column, status_code},
        state,
        subscription::WebhookSubscriptions as Subscription,
    },
    places::{self, Place, padded},
    redelivery::micros,
    session::Txn,
    store::WriteTxn,
};
use fold::Fold;

pub(crate) use insert::{Inserts, MAX_ROWS};
pub(crate) use row::{MAX_ERROR_CHARS, seq, text};

/// How far a row has come: its status, then its attempts.
type Progress = (i16, i32);

/// Successes closer together than this move `last_success_at` once.
const SUCCESS_PAUSE: Duration = Duration::from_secs(1);

impl Store {
    /// Commits outcomes in one transaction: one row each, and what they mean for
    /// `consecutive_failures`, `last_success_at`, `last_failure_at` and `last_error` of their
    /// subscriptions, folded in the order given.
    ///
    /// A delivered event sets `consecutive_failures` to 0 and clears `last_error`, as DECNET does,
    /// and moves `last_success_at`, which costs a write, once a second; a failure adds one and
    /// leaves its text. Neither touches `updated_at`, the epoch or the
    /// config version. The status of a row only rises (retrying < dead < delivered), and a retrying
    /// row takes a retrying outcome with more attempts; an outcome that raises nothing changes
    /// nothing, so recording twice is harmless. One that does ends the row's lease. An outcome
    /// whose epoch is older than its subscription's is stored, not counted.
    ///
    /// Answers the subscriptions that have failed since their last success in this batch, by uuid.
    ///
    /// # Errors
    /// All or none. When [`StoreError::is_connection`] says no, some record can never be stored:
    /// bisect the batch.
    pub async fn record(
        &self,
        records: &[DeliveryRecord],
    ) -> Result<Vec<FailureCount>, StoreError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let txn = self.begin_write().await?;
        let epochs = epochs(txn.conn(), records).await?;
        if self.inserts().run(txn.conn(), records.iter()).await? == records.len() {
            attempts::insert(txn.conn(), records.iter()).await?;
            let failures = count(&txn, records.iter(), &epochs).await?;
            crate::failpoints::crash_point!(RECORDING, Err(crate::failpoints::away()));
            txn.commit().await?;
            return Ok(failures);
        }
        txn.rollback().await?;

        let txn = self.begin_write().await?;
        let epochs = self::epochs(txn.conn(), records).await?;
        let risen = raise(txn.conn(), self.inserts(), records).await?;
        attempts::insert(txn.conn(), risen.iter().copied()).await?;
        let failures = count(&txn, risen.into_iter(), &epochs).await?;
        crate::failpoints::crash_point!(RECORDING, Err(crate::failpoints::away()));
        txn.commit().await?;
        Ok(failures)
    }
}

/// The epochs of the batch's subscriptions, held until the transaction ends.
async fn epochs(
    conn: &Txn,
    records: &[DeliveryRecord],
) -> Result<HashMap<String, i64>, StoreError> {
    let uuids: BTreeSet<&str> = records.iter().map(|r| r.subscription.as_str()).collect();
    let uuids: Vec<&str> = uuids.into_iter().collect();
    let mut epochs = HashMap::new();
    for chunk in uuids.chunks(MAX_ROWS) {
        let select = state::Entity::find()
            .filter(state::Column::Uuid.is_in(padded(chunk)))
            .order_by_asc(state::Column::Uuid);
        let found = backend::lock_shared(conn.get_database_backend(), select)
            .all(conn)
            .await?;
        epochs.extend(found.into_iter().map(|state| (state.uuid, state.epoch)));
    }
    Ok(epochs)
}

/// Stores records some of which are there already; answers those that changed something.
async fn raise<'a>(
    conn: &Txn,
    inserts: &Inserts,
    records: &'a [DeliveryRecord],
) -> Result<Vec<&'a DeliveryRecord>, StoreError> {
    let known = places::of_records(conn, records.iter()).await?;
    let mut known: HashMap<Place<'_>, Progress> = (known.into_iter())
        .map(|(place, row)| (place, (row.status, row.attempts)))
        .collect();
    let (mut new, mut higher, mut risen) = (Vec::new(), Vec::new(), Vec::new());
    for record in records {
        let place = (record.pair_id.as_str(), record.seq);
        match known.get(&place) {
            None => new.push(record),
            Some(old) if rises(*old, record) => higher.push(record),
            Some(_) => continue,
        }
        known.insert(place, progress(record));
        risen.push(record);
    }
    if inserts.run(conn, new.iter().copied()).await? < new.len() {
        // Another worker inserted some since the look-up; raising is harmless where it is too late.
        higher.splice(0..0, new);
    }
    for record in higher {
        let values = row::outcome(record).map(Expr::val);
        let update = Query::update()
            .table(delivery::Entity)
            .values(row::OUTCOME.into_iter().zip(values))
            .value(Column::AcknowledgedAt, Option::<i64>::None)
            .and_where(Column::PairId.eq(&record.pair_id))
            .and_where(Column::Seq.eq(row::seq(record)?))
            .and_where(below(record))
            .to_owned();
        conn.execute(&update).await?;
    }
    Ok(risen)
}

fn progress(record: &DeliveryRecord) -> Progress {
    let attempts = i32::try_from(record.attempts).unwrap_or(i32::MAX);
    (status_code(record.status), attempts)
}

/// Whether an outcome is news to a row. More attempts are only while none of them was the last.
fn rises(old: Progress, record: &DeliveryRecord) -> bool {
    let new = progress(record);
    let retried = record.status == DeliveryStatus::Retrying && old.1 < new.1;
    old.0 < new.0 || (old.0 == new.0 && retried)
}

/// The same in SQL.
fn below(record: &DeliveryRecord) -> Expr {
    let (status, attempts) = progress(record);
    let lower = Column::Status.lt(status);
    if record.status != DeliveryStatus::Retrying {
        return lower;
    }
    lower.or(Column::Status.eq(status).and(Column::Attempts.lt(attempts)))
}

/// Writes what the outcomes mean for their subscriptions, one UPDATE each; answers those that
/// failed last.
async fn count<'a>(
    txn: &WriteTxn,
    records: impl Iterator<Item = &'a DeliveryRecord>,
    epochs: &HashMap<String, i64>,
) -> Result<Vec<FailureCount>, StoreError> {
    let mut failing = Vec::new();
    for (uuid, fold) in Fold::by_subscription(records, epochs) {
        let failures = i32::try_from(fold.failures).unwrap_or(i32::MAX);
        let mut update = Query::update();
        update.table(Subscription::Table);
        update.and_where(Expr::col(Subscription::Uuid).eq(uuid));
        if let Some(at) = fold.last_success {
            update.value(Subscription::ConsecutiveFailures, failures);
            update.value(Subscription::LastSuccessAt, txn.datetime(Some(at)));
            if fold.last_failure.is_none() {
                update.cond_where(is_news(txn, at));
            }
        } else {
            let sum = Expr::col(Subscription::ConsecutiveFailures).add(failures);
            update.value(Subscription::ConsecutiveFailures, sum);
        }
        if let Some(at) = fold.last_failure {
            update.value(Subscription::LastFailureAt, txn.datetime(Some(at)));
        }
        let last_error = fold.last_error.map(|error| txn.room().last_error(&error));
        update.value(Subscription::LastError, last_error);
        txn.conn().execute(&update).await?;
        if fold.failures > 0 {
            let epoch = epochs.get(uuid).copied().unwrap_or(0);
            failing.extend(failure_count(txn, uuid, epoch).await?);
        }
    }
    Ok(failing)
}

/// Whether a success says more than that all goes well still.
fn is_news(txn: &WriteTxn, at: UtcTime) -> Condition {
    let known = || Expr::col(Subscription::LastSuccessAt);
    let earlier = UtcTime::from_micros(at.micros().saturating_sub(micros(SUCCESS_PAUSE)));
    Condition::any()
        .add(Expr::col(Subscription::ConsecutiveFailures).ne(0))
        .add(Expr::col(Subscription::LastError).is_not_null())
        .add(known().is_null())
        .add(known().lte(txn.datetime(Some(earlier))))
        // A clock was set back.
        .add(known().gt(txn.datetime(Some(at))))
}

/// How often a subscription has failed in a row, as the row says now.
pub(crate) async fn failure_count(
    txn: &WriteTxn,
    uuid: &str,
    epoch: i64,
) -> Result<Option<FailureCount>, StoreError> {
    let select = Query::select()
        .column(Subscription::ConsecutiveFailures)
        .from(Subscription::Table)
        .and_where(Expr::col(Subscription::Uuid).eq(uuid))
        .to_owned();
    let Some(row) = txn.conn().query_one(&select).await? else {
        return Ok(None);
    };
    let failures: i32 = row.try_get("", "consecutive_failures")?;
    Ok(Some(FailureCount {
        subscription: uuid.to_owned(),
        epoch,
        consecutive_failures: u32::try_from(failures).unwrap_or(0),
    }))
}

#[cfg(test)]
mod tests;
