//! What a receiver's answers mean for its subscription where no outcome is recorded for them: a
//! failure that is tried again in place, and a pause that it asked for.

use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait, Query},
};
use webhook_model::UtcTime;

use crate::{
    FailureCount, Store, StoreError, breaker,
    entities::{
        state::{self, Column},
        subscription::WebhookSubscriptions as Subscription,
    },
    record::failure_count,
};

impl Store {
    /// Counts a failed round of a delivery that stays where it is, as [`record`](Self::record)
    /// counts one that does not. `None` when the subscription's epoch is another by now.
    pub async fn count_failure(
        &self,
        uuid: &str,
        epoch: i64,
        error: &str,
        at: UtcTime,
    ) -> Result<Option<FailureCount>, StoreError> {
        let txn = self.begin_write().await?;
        if breaker::held(&txn, uuid, epoch).await?.is_none() {
            return txn.unused(None).await;
        }
        let update = Query::update()
            .table(Subscription::Table)
            .value(
                Subscription::ConsecutiveFailures,
                Expr::col(Subscription::ConsecutiveFailures).add(1),
            )
            .value(Subscription::LastFailureAt, txn.datetime(Some(at)))
            .value(Subscription::LastError, txn.room().last_error(error))
            .and_where(Expr::col(Subscription::Uuid).eq(uuid))
            .to_owned();
        txn.conn().execute(&update).await?;
        let count = failure_count(&txn, uuid, epoch).await?;
        txn.commit().await?;
        Ok(count)
    }

    /// Notes that the receiver wants no attempt before `until`; the later of two times counts. Any
    /// change of the subscription ends the pause. Other workers learn of it by the config version;
    /// false when the epoch is another by now, or the pause is no news.
    pub async fn pause_until(
        &self,
        uuid: &str,
        epoch: i64,
        until: UtcTime,
    ) -> Result<bool, StoreError> {
        let txn = self.begin_write().await?;
        if !breaker::locked(&txn, uuid, epoch).await? {
            return txn.unused(false).await;
        }
        let paused = state::Entity::update_many()
            .col_expr(Column::PauseUntil, Expr::val(until.micros()))
            .filter(Column::Uuid.eq(uuid))
            .filter(
                Column::PauseUntil
                    .is_null()
                    .or(Column::PauseUntil.lt(until.micros())),
            )
            .exec(txn.conn())
            .await?;
        if paused.rows_affected == 0 {
            return txn.unused(false).await;
        }
        txn.bump_config_version().await?;
        txn.commit().await?;
        Ok(true)
    }
}
