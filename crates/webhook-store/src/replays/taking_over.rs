//! Dead letters of a deleted subscription, sent to another one: their rows become the other one's,
//! bodies, event ids and attempts as they are. What it has a delivery of stays where it is.

use std::collections::{BTreeMap, HashSet};

use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter, QuerySelect,
    sea_query::{Expr, ExprTrait},
};
use webhook_model::DeliveryStatus;

use super::{Replay, ReplaySource};
use crate::{
    DeliveryRow, Store, StoreError,
    entities::{
        delivery::{self, Column as Delivery, status_code},
        state::{self, Column as State},
    },
    places,
    store::WriteTxn,
    subscriptions,
};

impl Store {
    /// Whether the dead letters of `source` can be sent to `subscription`.
    pub async fn replay_source(
        &self,
        subscription: &str,
        source: &str,
    ) -> Result<ReplaySource, StoreError> {
        if subscription == source {
            return Ok(ReplaySource::Same);
        }
        match subscriptions::find(self.db(), source).await {
            Ok(None) => {}
            Ok(Some(_)) | Err(StoreError::Broken(_)) => return Ok(ReplaySource::Exists),
            Err(error) => return Err(error),
        }
        let kept: Option<i64> = delivery::Entity::find()
            .select_only()
            .column(Delivery::Id)
            .filter(Delivery::Subscription.eq(source))
            .filter(Delivery::Status.eq(status_code(DeliveryStatus::Dead)))
            .limit(1)
            .into_tuple()
            .one(self.db())
            .await?;
        Ok(match kept {
            Some(_) => ReplaySource::Usable,
            None => ReplaySource::Unknown,
        })
    }
}

/// Which events the other subscription has a delivery of.
pub(super) struct Present(Option<HashSet<(String, i64)>>);

impl Present {
    /// As far as these rows ask; none of a job for a subscription's own.
    pub(super) async fn of(
        txn: &WriteTxn,
        job: &Replay,
        rows: &[DeliveryRow],
    ) -> Result<Self, StoreError> {
        if job.source.is_none() {
            return Ok(Self(None));
        }
        let mut by_bus: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        for row in rows {
            let seqs = by_bus.entry(&row.incarnation).or_default();
            seqs.extend(i64::try_from(row.seq));
        }
        let mut present = HashSet::new();
        for (incarnation, seqs) in by_bus {
            let of = [
                (Delivery::Subscription, job.subscription.as_str()),
                (Delivery::Incarnation, incarnation),
            ];
            let found = places::find(txn.conn(), &of, &seqs).await?;
            present.extend(
                found
                    .into_iter()
                    .map(|row| (incarnation.to_owned(), row.seq)),
            );
        }
        Ok(Self(Some(present)))
    }

    /// Whether it is one of them; from now on it is.
    pub(super) fn has(&mut self, row: &DeliveryRow) -> bool {
        let Some(present) = &mut self.0 else {
            return false;
        };
        let seq = i64::try_from(row.seq).unwrap_or(i64::MAX);
        !present.insert((row.incarnation.clone(), seq))
    }
}

/// Makes rows the other subscription's. Where the bus has still to hand one of their events out to it,
/// the event is looked up before it is sent, as one that was sent ahead of its turn.
pub(super) async fn hand_over(
    txn: &WriteTxn,
    job: &Replay,
    rows: &[&DeliveryRow],
) -> Result<(), StoreError> {
    let Some(newest) = rows.iter().map(|row| row.seq).max() else {
        return Ok(());
    };
    let newest = i64::try_from(newest).unwrap_or(i64::MAX);
    // First, as whoever records outcomes does.
    let raised = state::Entity::update_many()
        .col_expr(State::AheadSeq, Expr::val(newest))
        .filter(State::Uuid.eq(&job.subscription))
        .filter(State::AheadSeq.is_null().or(State::AheadSeq.lt(newest)))
        .exec(txn.conn())
        .await?;
    if raised.rows_affected > 0 {
        txn.bump_config_version().await?;
    }
    delivery::Entity::update_many()
        .col_expr(Delivery::Subscription, Expr::val(&job.subscription))
        .filter(Delivery::Id.is_in(rows.iter().map(|row| row.id)))
        .exec(txn.conn())
        .await?;
    Ok(())
}
