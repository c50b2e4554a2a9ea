use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter, QuerySelect,
    sea_query::{Expr, Query},
};
use webhook_model::{DeliveryStatus, UtcTime};

use crate::{
    Counts, Store, StoreError,
    entities::{
        delivery::{self, Column, status_code},
        subscription::WebhookSubscriptions as Subscription,
    },
};

impl Store {
    /// How many subscriptions and open deliveries there are.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        let txn = self.begin_read().await?;
        let tripped = Expr::col(Subscription::AutoDisabledAt).is_not_null();
        let select = Query::select()
            .column(Subscription::Enabled)
            .expr_as(tripped.clone(), "tripped")
            .expr_as(Expr::col(Subscription::Uuid).count(), "number")
            .from(Subscription::Table)
            .add_group_by([Expr::col(Subscription::Enabled), tripped])
            .to_owned();
        let mut counts = Counts::default();
        for row in txn.query_all(&select).await? {
            let number = unsigned(row.try_get("", "number")?);
            // SQLite answers a comparison with a number that it calls an integer.
            let tripped = row.try_get::<bool>("", "tripped")?;
            // What cannot be read is told with the row, and hides no other.
            let Ok(enabled) = row.try_get::<bool>("", "enabled") else {
                continue;
            };
            match (enabled, tripped) {
                (true, _) => counts.active += number,
                (false, false) => counts.paused += number,
                (false, true) => counts.tripped += number,
            }
        }
        for (status, count) in [
            (DeliveryStatus::Retrying, &mut counts.retrying),
            (DeliveryStatus::Dead, &mut counts.dead),
        ] {
            *count = delivery::Entity::find()
                .filter(Column::Status.eq(status_code(status)))
                .count(&txn)
                .await?;
        }
        // Only dead letters have one; the index that knows them is read, not the rows.
        counts.dead_acknowledged = delivery::Entity::find()
            .filter(Column::AcknowledgedAt.is_not_null())
            .count(&txn)
            .await?;
        counts.dead = counts.dead.saturating_sub(counts.dead_acknowledged);
        let oldest: Option<Option<i64>> = delivery::Entity::find()
            .select_only()
            .column_as(Column::CreatedAt.min(), "oldest")
            .filter(Column::Status.eq(status_code(DeliveryStatus::Retrying)))
            .into_tuple()
            .one(&txn)
            .await?;
        counts.oldest_retrying = oldest.flatten().map(UtcTime::from_micros);
        Ok(counts)
    }
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
