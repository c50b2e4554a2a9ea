//! What the log forgets, a small batch at a time.

use std::time::Duration;

use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait, Query},
};
use webhook_model::{DeliveryStatus, UtcTime};

use crate::{
    Store, StoreError,
    entities::{
        attempt,
        delivery::{self, Column, status_code},
        gap, replay,
        subscription::WebhookSubscriptions as Subscription,
    },
    redelivery::{self, micros},
    replays,
    store::WriteTxn,
};

/// Most rows of one batch, which keeps other writers waiting for milliseconds only.
const MAX_BATCH: u64 = 1_000;

impl Store {
    /// Removes up to `batch` (and 1,000) deliveries with their attempts: delivered ones first
    /// recorded, and dead ones last touched, longer ago than their age. Fewer than `batch` means
    /// that nothing is left. The last batch also removes finished replays and gaps older than
    /// `dead_age`, and turns deliveries still to be tried into dead letters whose subscription is
    /// gone without our knowing.
    pub async fn sweep(
        &self,
        now: UtcTime,
        delivered_age: Duration,
        dead_age: Duration,
        batch: u64,
    ) -> Result<u64, StoreError> {
        let batch = Ord::min(batch, MAX_BATCH);
        let txn = self.begin_write().await?;
        let before = |age| now.micros().saturating_sub(micros(age));
        let mut ids = expired(
            &txn,
            DeliveryStatus::Delivered,
            before(delivered_age),
            batch,
        )
        .await?;
        let room = batch - ids.len() as u64;
        if room > 0 {
            ids.extend(expired(&txn, DeliveryStatus::Dead, before(dead_age), room).await?);
        }
        attempt::Entity::delete_many()
            .filter(attempt::Column::DeliveryId.is_in(ids.iter().copied()))
            .exec(txn.conn())
            .await?;
        if !ids.is_empty() {
            crate::failpoints::crash_point!(SWEEPING, Err(crate::failpoints::away()));
        }
        delivery::Entity::delete_many()
            .filter(Column::Id.is_in(ids.iter().copied()))
            .exec(txn.conn())
            .await?;
        if (ids.len() as u64) < batch {
            rest(&txn, before(dead_age)).await?;
        }
        txn.commit().await?;
        Ok(ids.len() as u64)
    }
}

/// A dead letter may have been retried for weeks since its creation, by which the index goes.
async fn expired(
    txn: &WriteTxn,
    status: DeliveryStatus,
    before: i64,
    limit: u64,
) -> Result<Vec<i64>, StoreError> {
    let mut select = delivery::Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::Status.eq(status_code(status)))
        .filter(Column::CreatedAt.lt(before));
    if status == DeliveryStatus::Dead {
        select = select.filter(Column::UpdatedAt.lt(before));
    }
    let ids = select
        .order_by_asc(Column::CreatedAt)
        .limit(limit)
        .into_tuple()
        .all(txn.conn())
        .await?;
    Ok(ids)
}

async fn rest(txn: &WriteTxn, before: i64) -> Result<(), StoreError> {
    gap::Entity::delete_many()
        .filter(gap::Column::At.lt(before))
        .exec(txn.conn())
        .await?;
    replay::Entity::delete_many()
        .filter(replay::Column::State.ne(replays::RUNNING))
        .filter(replay::Column::UpdatedAt.lt(before))
        .exec(txn.conn())
        .await?;
    let known = Query::select()
        .column(Subscription::Uuid)
        .from(Subscription::Table)
        .to_owned();
    let orphans = Query::select()
        .distinct()
        .column(Column::Subscription)
        .from(delivery::Entity)
        .and_where(Column::Status.eq(status_code(DeliveryStatus::Retrying)))
        .and_where(Expr::col(Column::Subscription).not_in_subquery(known))
        .to_owned();
    for row in txn.conn().query_all(&orphans).await? {
        let uuid: String = row.try_get("", "subscription")?;
        redelivery::bury(txn, &uuid).await?;
    }
    Ok(())
}
