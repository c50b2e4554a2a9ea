//! What the breaker writes: each step is compare-and-set on the subscription's epoch and on the row
//! itself, so that it undoes neither an operator's PATCH nor a write of DECNET's.

use std::time::Duration;

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect,
    sea_query::{Expr, ExprTrait, Query, UpdateStatement},
};
use webhook_model::{State, UtcTime};

use crate::{
    BreakerPhase, BreakerState, FailedTurn, Store, StoreError, Trip, backend,
    entities::{
        state::{self, Column},
        subscription::WebhookSubscriptions as Subscription,
    },
    redelivery::micros,
    store::WriteTxn,
};

impl Store {
    /// Switches an active subscription off; it keeps its pairs and its backlog. Its epoch is one
    /// higher then. False when its epoch is another or it is not active any more: then nothing is
    /// written.
    pub async fn trip(&self, uuid: &str, epoch: i64, trip: Trip<'_>) -> Result<bool, StoreError> {
        let txn = self.begin_write().await?;
        if !locked(&txn, uuid, epoch).await? {
            return txn.unused(false).await;
        }
        let now = txn.now();
        let mut update = update(uuid, true);
        update
            .value(Subscription::Enabled, false)
            .value(Subscription::AutoDisabledAt, txn.datetime(Some(now)));
        if let Some(cause) = trip.cause {
            update.value(Subscription::LastError, txn.room().last_error(cause));
        }
        if txn.conn().execute(&update).await?.rows_affected() == 0 {
            return txn.unused(false).await;
        }
        crate::failpoints::crash_point!(TRIPPING, Err(crate::failpoints::away()));
        txn.bump_epoch(uuid).await?;
        let state = state::ActiveModel {
            probe_at: Set(trip.probe_at.map(UtcTime::micros)),
            trips: Set(0),
            failing_since: Set(Some(now.micros())),
            answers: Set(Some(trip.answers)),
            silent_since: Set((!trip.answers).then_some(now.micros())),
            ..free(uuid)
        };
        write(txn, state).await
    }

    /// Takes the lease to probe a tripped subscription, for this long, or prolongs it; false when another worker
    /// has it, or it is not tripped at this epoch any more. It ends with
    /// [`probe_failed`](Self::probe_failed), [`recover`](Self::recover) or any change of the
    /// subscription.
    pub async fn claim_probe(
        &self,
        uuid: &str,
        epoch: i64,
        owner: &str,
        lease: Duration,
    ) -> Result<bool, StoreError> {
        let txn = self.begin_write().await?;
        crate::failpoints::crash_point!(LEASING, Err(crate::failpoints::away()));
        if !locked(&txn, uuid, epoch).await? || !tripped(&txn, uuid).await? {
            return txn.unused(false).await;
        }
        let clock = || backend::clock(txn.backend());
        let claim = state::Entity::update_many()
            .col_expr(Column::LeaseOwner, Expr::val(owner))
            .col_expr(Column::LeaseUntil, clock().add(micros(lease)))
            .filter(Column::Uuid.eq(uuid))
            .filter(
                Expr::col(Column::LeaseUntil)
                    .is_null()
                    .or(Expr::col(Column::LeaseUntil).lte(clock()))
                    .or(Expr::col(Column::LeaseOwner).eq(owner)),
            )
            .exec(txn.conn())
            .await?;
        txn.commit().await?;
        Ok(claim.rows_affected > 0)
    }

    /// Notes a turn of probing that failed. The epoch stays as it is. False when it is not tripped
    /// at this epoch any more.
    pub async fn probe_failed(
        &self,
        uuid: &str,
        epoch: i64,
        turn: FailedTurn<'_>,
    ) -> Result<bool, StoreError> {
        let txn = self.begin_write().await?;
        let Some(found) = held(&txn, uuid, epoch).await? else {
            return txn.unused(false).await;
        };
        let Some(at) = tripped_at(&txn, uuid).await? else {
            return txn.unused(false).await;
        };
        if found.is_none() {
            txn.ensure_state(uuid).await?;
        }
        if !turn.error.is_empty() {
            let now = Some(UtcTime::now());
            let mut update = update(uuid, false);
            update
                .value(Subscription::LastFailureAt, txn.datetime(now))
                .value(Subscription::LastError, txn.room().last_error(turn.error));
            txn.conn().execute(&update).await?;
        }
        let state = state::ActiveModel {
            probe_at: Set(turn.next_probe_at.map(UtcTime::micros)),
            trips: Set(i32::try_from(turn.turns).unwrap_or(i32::MAX)),
            failing_since: Set(Some(at.micros())),
            answers: Set(Some(turn.answers)),
            silent_since: Set(turn.silent_since.map(UtcTime::micros)),
            ..free(uuid)
        };
        txn.bump_config_version().await?;
        write(txn, state).await
    }

    /// Switches a tripped subscription on again, with a clean slate; its epoch is one higher then.
    /// False when its epoch is another or it is not tripped any more: then nothing is written.
    pub async fn recover(&self, uuid: &str, epoch: i64) -> Result<bool, StoreError> {
        let txn = self.begin_write().await?;
        if !locked(&txn, uuid, epoch).await? {
            return txn.unused(false).await;
        }
        let now = Some(UtcTime::now());
        let mut update = update(uuid, false);
        update
            .and_where(Expr::col(Subscription::AutoDisabledAt).is_not_null())
            .value(Subscription::Enabled, true)
            .value(Subscription::AutoDisabledAt, txn.datetime(None))
            .value(Subscription::LastSuccessAt, txn.datetime(now))
            .value(Subscription::ConsecutiveFailures, 0)
            .value(Subscription::LastError, Option::<String>::None);
        if txn.conn().execute(&update).await?.rows_affected() == 0 {
            return txn.unused(false).await;
        }
        crate::failpoints::crash_point!(RECOVERING, Err(crate::failpoints::away()));
        txn.bump_epoch(uuid).await?;
        write(txn, reset(uuid)).await
    }

    /// Begins the streak of failures anew: the endpoint was found to be well. Nothing is written
    /// under another epoch.
    pub async fn reset_failures(&self, uuid: &str, epoch: i64) -> Result<(), StoreError> {
        let txn = self.begin_write().await?;
        if !locked(&txn, uuid, epoch).await? {
            return txn.unused(()).await;
        }
        let mut update = update(uuid, true);
        update.value(Subscription::ConsecutiveFailures, 0);
        txn.conn().execute(&update).await?;
        txn.commit().await
    }

    /// Notes that this event of the bus is sent before its turn, so that whoever takes it off the
    /// bus later looks whether it was recorded. Nobody does before the recovery, whose new version
    /// of the configuration brings this along.
    pub async fn note_ahead(&self, uuid: &str, epoch: i64, seq: u64) -> Result<bool, StoreError> {
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        let txn = self.begin_write().await?;
        if !locked(&txn, uuid, epoch).await? {
            return txn.unused(false).await;
        }
        state::Entity::update_many()
            .col_expr(Column::AheadSeq, Expr::val(seq))
            .filter(Column::Uuid.eq(uuid))
            .filter(Column::AheadSeq.is_null().or(Column::AheadSeq.lt(seq)))
            .exec(txn.conn())
            .await?;
        txn.commit().await?;
        Ok(true)
    }
}

impl BreakerState {
    /// What the row and its state say together. The row has the last word: DECNET writes it, too.
    /// A trip that is not in the state is DECNET's own, and is probed at once.
    pub(crate) fn of(state: State, stored: Option<&state::Model>, now: UtcTime) -> Self {
        let State::Tripped { at } = state else {
            return Self::default();
        };
        let leased = stored
            .and_then(|state| state.lease_until)
            .is_some_and(|until| until > now.micros());
        let phase = if leased {
            BreakerPhase::Probing
        } else {
            BreakerPhase::Tripped
        };
        match stored.filter(|state| state.failing_since == Some(at.micros())) {
            Some(state) => Self {
                phase,
                probe_at: state.probe_at.map(UtcTime::from_micros),
                trips: u32::try_from(state.trips).unwrap_or(0),
                failing_since: Some(at),
                answers: state.answers.unwrap_or(false),
                silent_since: match state.answers {
                    Some(true) => None,
                    _ => Some(state.silent_since.map_or(at, UtcTime::from_micros)),
                },
            },
            None => Self {
                phase,
                probe_at: Some(at),
                trips: 0,
                failing_since: Some(at),
                answers: false,
                silent_since: Some(at),
            },
        }
    }
}

/// The state of a subscription whose breaker holds nothing back.
pub(crate) fn reset(uuid: &str) -> state::ActiveModel {
    state::ActiveModel {
        probe_at: Set(None),
        trips: Set(0),
        failing_since: Set(None),
        answers: Set(None),
        silent_since: Set(None),
        ..free(uuid)
    }
}

fn free(uuid: &str) -> state::ActiveModel {
    state::ActiveModel {
        uuid: Set(uuid.to_owned()),
        lease_until: Set(None),
        lease_owner: Set(None),
        ..state::ActiveModel::default()
    }
}

/// An UPDATE of the row while it is on, or off.
fn update(uuid: &str, enabled: bool) -> UpdateStatement {
    Query::update()
        .table(Subscription::Table)
        .and_where(Expr::col(Subscription::Uuid).eq(uuid))
        .and_where(Expr::col(Subscription::Enabled).eq(enabled))
        .to_owned()
}

async fn write(txn: WriteTxn, state: state::ActiveModel) -> Result<bool, StoreError> {
    state::Entity::update(state).exec(txn.conn()).await?;
    txn.commit().await?;
    Ok(true)
}

/// Locks the state, the first lock of every change (see `subscriptions::find_locked`), and
/// answers it if the epoch is this one. A missing row means epoch 0.
pub(crate) async fn held(
    txn: &WriteTxn,
    uuid: &str,
    epoch: i64,
) -> Result<Option<Option<state::Model>>, StoreError> {
    let found = state::Entity::find_by_id(uuid)
        .lock_exclusive()
        .one(txn.conn())
        .await?;
    let current = found.as_ref().map_or(0, |state| state.epoch);
    Ok((current == epoch).then_some(found))
}

pub(crate) async fn locked(txn: &WriteTxn, uuid: &str, epoch: i64) -> Result<bool, StoreError> {
    let found = held(txn, uuid, epoch).await?;
    if matches!(found, Some(None)) {
        // A row of DECNET's: it has to have a state before it can have a breaker.
        txn.ensure_state(uuid).await?;
    }
    Ok(found.is_some())
}

async fn tripped(txn: &WriteTxn, uuid: &str) -> Result<bool, StoreError> {
    Ok(tripped_at(txn, uuid).await?.is_some())
}

/// When the breaker switched the subscription off, if that is how it stands.
async fn tripped_at(txn: &WriteTxn, uuid: &str) -> Result<Option<UtcTime>, StoreError> {
    let found = crate::subscriptions::find(txn.conn(), uuid).await?;
    Ok(found.and_then(|subscription| subscription.state.auto_disabled_at()))
}
