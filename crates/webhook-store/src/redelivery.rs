//! Deliveries that are to be tried again: which are due, and who tries them.
//!
//! A lease is only an optimisation: without one two workers would deliver the same row twice, which
//! at-least-once allows. So one that ran out is simply taken over.

use std::time::Duration;

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, Order, QueryFilter,
    QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait, Query, SelectStatement},
};
use webhook_model::{DeliveryStatus, UtcTime};

use crate::{
    Claimed, Due, Store, StoreError, backend,
    entities::{
        delivery::{self, Column, status_code},
        settings::WebhookSettings as Settings,
        subscription::WebhookSubscriptions as Subscription,
    },
    store::WriteTxn,
};

/// How far the due rows of one subscription are counted: beyond it, it is simply behind.
const MAX_COUNTED: u64 = 1_000;
/// Most rows of one claim: their bodies, up to 1 MiB each, come along.
const MAX_CLAIM: u64 = 256;
/// The error of what was still to be tried when its subscription was deleted.
const DELETED: &str = "subscription deleted";

impl Store {
    /// The active subscriptions that have deliveries due, by uuid. Rows under a lease are not
    /// counted, nor [heads](Self::head), nor those of paused, tripped or deleted subscriptions.
    pub async fn due(&self, now: UtcTime) -> Result<Vec<Due>, StoreError> {
        let conn = self.db();
        let ready = || {
            Condition::all()
                .add(Column::NextAttemptAt.lte(now.micros()))
                .add(is_redelivery())
                .add(free(conn.get_database_backend()))
        };
        let any = Query::select()
            .expr(Expr::val(1))
            .from(delivery::Entity)
            .and_where(of_subscription())
            .cond_where(ready())
            .to_owned();
        let select = active()
            .column(Subscription::Uuid)
            .and_where(Expr::exists(any))
            .order_by(Subscription::Uuid, Order::Asc)
            .to_owned();
        let mut due = Vec::new();
        for row in conn.query_all(&select).await? {
            let subscription: String = row.try_get("", "uuid")?;
            let times: Vec<Option<i64>> = delivery::Entity::find()
                .select_only()
                .column(Column::NextAttemptAt)
                .filter(Column::Subscription.eq(&subscription))
                .filter(ready())
                .order_by_asc(Column::NextAttemptAt)
                .limit(MAX_COUNTED)
                .into_tuple()
                .all(conn)
                .await?;
            if let Some(earliest) = times.first().copied().flatten() {
                due.push(Due {
                    subscription,
                    due: times.len() as u64,
                    earliest: UtcTime::from_micros(earliest),
                });
            }
        }
        Ok(due)
    }

    /// When the next delivery of an active subscription is due, be it past. Rows under a lease are
    /// left out: look again at least once a lease.
    pub async fn next_due_at(&self) -> Result<Option<UtcTime>, StoreError> {
        let first = Query::select()
            .expr(Expr::col((delivery::Entity, Column::NextAttemptAt)).min())
            .from(delivery::Entity)
            .and_where(of_subscription())
            .and_where(Column::NextAttemptAt.is_not_null())
            .and_where(is_redelivery())
            .and_where(Column::LeaseUntil.is_null())
            .to_owned();
        let select = active()
            .expr_as(Expr::SubQuery(None, Box::new(first.into())), "at")
            .to_owned();
        let mut next = None;
        for row in self.db().query_all(&select).await? {
            let at: Option<i64> = row.try_get("", "at")?;
            next = next.into_iter().chain(at).min();
        }
        Ok(next.map(UtcTime::from_micros))
    }

    /// Leases up to `limit` (and 256) due deliveries of an active subscription, those due for
    /// longest first.
    pub async fn claim(
        &self,
        subscription: &str,
        limit: u64,
        owner: &str,
        lease: Duration,
    ) -> Result<Vec<Claimed>, StoreError> {
        let txn = self.begin_write().await?;
        let due = Expr::col(Column::NextAttemptAt).lte(backend::clock(txn.backend()));
        let enabled = Expr::col(Subscription::Enabled).eq(true);
        crate::failpoints::crash_point!(CLAIMING, Err(crate::failpoints::away()));
        lease_rows(txn, subscription, due, Some(enabled), limit, owner, lease).await
    }

    /// Leases the delivery of a subscription, tripped or not, that is due first, be it not yet, and
    /// is none of `tried`: for a probe.
    pub async fn claim_earliest(
        &self,
        subscription: &str,
        tried: &[i64],
        owner: &str,
        lease: Duration,
    ) -> Result<Option<Claimed>, StoreError> {
        let txn = self.begin_write().await?;
        let mut any = Column::NextAttemptAt.is_not_null();
        if !tried.is_empty() {
            any = any.and(Column::Id.is_not_in(tried.iter().copied()));
        }
        let claimed = lease_rows(txn, subscription, any, None, 1, owner, lease).await?;
        Ok(claimed.into_iter().next())
    }

    /// Gives leased deliveries back as they were; leases that are another's by now stay.
    pub async fn release(&self, ids: &[i64], owner: &str) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let owned = Condition::all()
            .add(Column::Id.is_in(ids.iter().copied()))
            .add(Column::LeaseOwner.eq(owner));
        self.free_rows(owned).await
    }

    async fn free_rows(&self, which: Condition) -> Result<(), StoreError> {
        let txn = self.begin_write().await?;
        delivery::Entity::update_many()
            .col_expr(Column::LeaseUntil, Expr::val(Option::<i64>::None))
            .col_expr(Column::LeaseOwner, Expr::val(Option::<String>::None))
            .filter(which)
            .exec(txn.conn())
            .await?;
        txn.commit().await
    }
}

/// Turns what a deleted subscription had still to get into dead letters: kept, and never due.
pub(crate) async fn bury(txn: &WriteTxn, subscription: &str) -> Result<u64, StoreError> {
    let buried = delivery::Entity::update_many()
        .col_expr(Column::Status, Expr::val(status_code(DeliveryStatus::Dead)))
        .col_expr(Column::Error, Expr::val(DELETED))
        .col_expr(Column::UpdatedAt, Expr::val(UtcTime::now().micros()))
        .col_expr(Column::NextAttemptAt, Expr::val(Option::<i64>::None))
        .col_expr(Column::InOrder, Expr::val(Option::<bool>::None))
        .col_expr(Column::LeaseUntil, Expr::val(Option::<i64>::None))
        .col_expr(Column::LeaseOwner, Expr::val(Option::<String>::None))
        .filter(Column::Subscription.eq(subscription))
        .filter(Column::NextAttemptAt.is_not_null())
        .exec(txn.conn())
        .await?;
    Ok(buried.rows_affected)
}

/// Whether a row can be sent once more: what was undecodable never can.
pub(crate) fn is_sendable(has_body: bool, error: Option<&str>) -> bool {
    has_body && !error.is_some_and(|error| error.starts_with("undecodable"))
}

/// Makes rows due now by the clock that they are claimed by, their rounds beginning anew. A lease on
/// one of them goes on.
pub(crate) async fn requeue(txn: &WriteTxn, ids: &[i64]) -> Result<u64, StoreError> {
    let now = backend::clock(txn.backend());
    let requeued = delivery::Entity::update_many()
        .col_expr(
            Column::Status,
            Expr::val(status_code(DeliveryStatus::Retrying)),
        )
        .col_expr(Column::Round, Expr::val(0))
        .col_expr(Column::AcknowledgedAt, Expr::val(Option::<i64>::None))
        .col_expr(Column::UpdatedAt, now.clone())
        .col_expr(Column::NextAttemptAt, now)
        .filter(Column::Id.is_in(ids.iter().copied()))
        .filter(Column::Status.ne(status_code(DeliveryStatus::Delivered)))
        .exec(txn.conn())
        .await?;
    Ok(requeued.rows_affected)
}

/// Makes everything due now that a subscription waits to send again: what made it wait was
/// corrected. Its schedule goes on from where it is. Without an order to keep, no row waits for
/// another any more.
pub(crate) async fn due_now(
    txn: &WriteTxn,
    subscription: &str,
    ordered: bool,
) -> Result<(), StoreError> {
    let now = || backend::clock(txn.backend());
    let mut update = delivery::Entity::update_many()
        .col_expr(Column::NextAttemptAt, now())
        .filter(Column::Subscription.eq(subscription));
    update = if ordered {
        update.filter(Expr::col(Column::NextAttemptAt).gt(now()))
    } else {
        update
            .col_expr(Column::InOrder, Expr::val(Option::<bool>::None))
            .filter(Column::NextAttemptAt.is_not_null())
    };
    update.exec(txn.conn()).await?;
    Ok(())
}

/// Makes waiting rows due now, their schedule going on; answers how many.
pub(crate) async fn hasten(txn: &WriteTxn, ids: &[i64]) -> Result<u64, StoreError> {
    let hastened = delivery::Entity::update_many()
        .col_expr(Column::NextAttemptAt, backend::clock(txn.backend()))
        .filter(Column::Id.is_in(ids.iter().copied()))
        .filter(Column::NextAttemptAt.is_not_null())
        .exec(txn.conn())
        .await?;
    Ok(hastened.rows_affected)
}

/// A span as the unit of our time columns.
pub(crate) fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 2)
}

async fn lease_rows(
    txn: WriteTxn,
    subscription: &str,
    due: Expr,
    only_if: Option<Expr>,
    limit: u64,
    owner: &str,
    lease: Duration,
) -> Result<Vec<Claimed>, StoreError> {
    let exists = Query::select()
        .expr(Expr::val(1))
        .from(Subscription::Table)
        .and_where(Expr::col(Subscription::Uuid).eq(subscription))
        .and_where_option(only_if)
        .to_owned();
    if txn.conn().query_one(&exists).await?.is_none() {
        return txn.unused(Vec::new()).await;
    }
    let select = delivery::Entity::find()
        .filter(Column::Subscription.eq(subscription))
        .filter(due)
        .filter(is_redelivery())
        .filter(free(txn.backend()))
        .order_by_asc(Column::NextAttemptAt)
        .limit(Ord::min(limit, MAX_CLAIM));
    let rows = backend::lock_free_rows(txn.backend(), select)
        .all(txn.conn())
        .await?;
    if rows.is_empty() {
        return txn.unused(Vec::new()).await;
    }
    let until = backend::clock(txn.backend()).add(micros(lease));
    delivery::Entity::update_many()
        .col_expr(Column::LeaseUntil, until)
        .col_expr(Column::LeaseOwner, Expr::val(owner))
        .filter(Column::Id.is_in(rows.iter().map(|row| row.id)))
        .exec(txn.conn())
        .await?;
    txn.commit().await?;
    Ok(rows.into_iter().map(claimed).collect())
}

pub(crate) fn claimed(row: delivery::Model) -> Claimed {
    Claimed {
        id: row.id,
        pair_id: row.pair_id,
        seq: u64::try_from(row.seq).unwrap_or(0),
        incarnation: row.incarnation,
        subscription: row.subscription,
        event_id: row.event_id,
        topic: row.topic,
        kind: row.kind,
        body: row.body.map(Into::into),
        round: u32::try_from(row.round).unwrap_or(0),
        attempts: u32::try_from(row.attempts).unwrap_or(0),
        created_at: UtcTime::from_micros(row.created_at),
    }
}

/// Nobody is trying it.
pub(crate) fn free(backend: DbBackend) -> Expr {
    Column::LeaseUntil
        .is_null()
        .or(Expr::col(Column::LeaseUntil).lte(backend::clock(backend)))
}

/// Whoever takes a subscription's events tries their head in its place, as long as it has an order.
fn is_redelivery() -> Expr {
    let ordered = Query::select()
        .column(Settings::Uuid)
        .from(Settings::Table)
        .and_where(Expr::col(Settings::Ordered).eq(true))
        .to_owned();
    Expr::col((delivery::Entity, Column::InOrder))
        .is_null()
        .or(Expr::col((delivery::Entity, Column::Subscription)).not_in_subquery(ordered))
}

fn active() -> SelectStatement {
    Query::select()
        .from(Subscription::Table)
        .and_where(Expr::col(Subscription::Enabled).eq(true))
        .to_owned()
}

fn of_subscription() -> Expr {
    Expr::col((delivery::Entity, Column::Subscription))
        .equals((Subscription::Table, Subscription::Uuid))
}
