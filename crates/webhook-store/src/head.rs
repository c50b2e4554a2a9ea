//! The delivery that an `ordered` subscription's next events wait for. It is a row like any other,
//! so that it can be seen and retried, but no redelivery: whoever takes the subscription's events
//! off the bus tries it in its place.

use std::time::Duration;

use sea_orm::{
    ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait},
};
use webhook_model::{DeliveryStatus, UtcTime};

use crate::{
    Claimed, Head, SkipOutcome, Store, StoreError, backend,
    entities::delivery::{self, Column, status_code},
    redelivery::{claimed, free, micros},
};

/// The error of a delivery that an operator gave up.
const SKIPPED: &str = "skipped by an operator";

impl Store {
    /// What the subscription's next events wait for, if anything: the earliest in its order.
    pub async fn head(&self, subscription: &str) -> Result<Option<Head>, StoreError> {
        let conn = self.db();
        let clock = backend::clock(sea_orm::ConnectionTrait::get_database_backend(conn));
        let found: Option<(i64, i64, i64, Option<i64>)> = delivery::Entity::find()
            .select_only()
            .column(Column::Id)
            .column(Column::NextAttemptAt)
            .expr_as(clock, "now")
            .column(Column::LeaseUntil)
            .filter(waiting(subscription))
            .order_by_asc(Column::CreatedAt)
            .order_by_asc(Column::Seq)
            .limit(1)
            .into_tuple()
            .one(conn)
            .await?;
        Ok(found.map(|(id, due, now, lease)| Head {
            id,
            due_in: UtcTime::from_micros(due).since(UtcTime::from_micros(now)),
            is_leased: lease.is_some_and(|until| until > now),
        }))
    }

    /// Leases a head to be tried, be it due or not; `None` when it is none any more or another has
    /// it.
    pub async fn claim_head(
        &self,
        id: i64,
        owner: &str,
        lease: Duration,
    ) -> Result<Option<Claimed>, StoreError> {
        let txn = self.begin_write().await?;
        let select = delivery::Entity::find_by_id(id)
            .filter(Column::InOrder.eq(true))
            .filter(Column::NextAttemptAt.is_not_null())
            .filter(free(txn.backend()));
        let found = backend::lock_free_rows(txn.backend(), select)
            .one(txn.conn())
            .await?;
        let Some(found) = found else {
            return txn.unused(None).await;
        };
        let until = backend::clock(txn.backend()).add(micros(lease));
        delivery::Entity::update_many()
            .col_expr(Column::LeaseUntil, until)
            .col_expr(Column::LeaseOwner, Expr::val(owner))
            .filter(Column::Id.eq(id))
            .exec(txn.conn())
            .await?;
        txn.commit().await?;
        Ok(Some(claimed(found)))
    }

    /// Makes a dead letter of a delivery that waits, whatever its schedule says; what waited behind
    /// it goes on.
    pub async fn skip(&self, id: i64) -> Result<SkipOutcome, StoreError> {
        let txn = self.begin_write().await?;
        let now = backend::clock(txn.backend());
        let skipped = delivery::Entity::update_many()
            .col_expr(Column::Status, Expr::val(status_code(DeliveryStatus::Dead)))
            .col_expr(Column::Error, Expr::val(SKIPPED))
            .col_expr(Column::UpdatedAt, now)
            .col_expr(Column::NextAttemptAt, Expr::val(Option::<i64>::None))
            .col_expr(Column::InOrder, Expr::val(Option::<bool>::None))
            .col_expr(Column::LeaseUntil, Expr::val(Option::<i64>::None))
            .col_expr(Column::LeaseOwner, Expr::val(Option::<String>::None))
            .filter(Column::Id.eq(id))
            .filter(Column::NextAttemptAt.is_not_null())
            .filter(free(txn.backend()))
            .exec(txn.conn())
            .await?;
        if skipped.rows_affected > 0 {
            txn.commit().await?;
            return Ok(SkipOutcome::Skipped);
        }
        let found: Option<Option<i64>> = delivery::Entity::find_by_id(id)
            .select_only()
            .column(Column::NextAttemptAt)
            .into_tuple()
            .one(txn.conn())
            .await?;
        let outcome = match found {
            None => SkipOutcome::NotFound,
            Some(None) => SkipOutcome::NotWaiting,
            Some(Some(_)) => SkipOutcome::BeingTried,
        };
        txn.unused(outcome).await
    }
}

fn waiting(subscription: &str) -> Condition {
    Condition::all()
        .add(Column::Subscription.eq(subscription))
        .add(Column::NextAttemptAt.is_not_null())
        .add(Column::InOrder.eq(true))
}
