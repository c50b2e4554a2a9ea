//! Which bus consumers a subscription has (`webhook_pairs`), changed in the transaction of the
//! change that asks for it, so that no event falls between two of them.

pub(crate) mod plan;
mod row;

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};
use webhook_model::Subscription;

use crate::{
    Pair, Position, Store, StoreError,
    entities::{
        pair::{self, Column},
        state,
    },
    fingerprint, redelivery,
    store::WriteTxn,
    subscriptions,
};
use plan::Plan;

pub(crate) use row::decode;

impl Store {
    /// Brings the pairs of one subscription in line with its row, as a row needs that DECNET
    /// wrote, changed or deleted itself; see [`Snapshot::out_of_step`](crate::Snapshot). New pairs
    /// begin at `position`. True when anything changed, which also bumps the config version and
    /// the subscription's epoch. A row that cannot be read keeps its pairs.
    pub async fn sync_pairs(&self, uuid: &str, position: &Position) -> Result<bool, StoreError> {
        let txn = self.begin_write().await?;
        let changed = match subscriptions::find_locked(&txn, uuid).await {
            Ok(Some(subscription)) => {
                let plan = reconcile(&txn, &subscription, position).await?;
                let foreign = adopt(&txn, &subscription).await?;
                foreign || !plan.is_empty()
            }
            Ok(None) => {
                redelivery::bury(&txn, uuid).await?;
                !abandon(&txn, uuid, position).await?.is_empty()
            }
            Err(StoreError::Broken(_)) => false,
            Err(error) => return Err(error),
        };
        if !changed {
            return txn.unused(false).await;
        }
        txn.bump_epoch(uuid).await?;
        // The first bump of a row of DECNET's makes its state.
        if let Ok(Some(subscription)) = subscriptions::find(txn.conn(), uuid).await {
            fingerprint::write(&txn, &subscription).await?;
        }
        txn.commit().await?;
        Ok(true)
    }

    /// After the bus was recreated: every live pair that counts on another incarnation is ended
    /// without draining and replaced by one that begins at the new one's beginning. Answers those
    /// it ended. Sequence numbers start anew with an incarnation, so the pair has to, too.
    pub async fn rebase_pairs(&self, incarnation: &str) -> Result<Vec<Pair>, StoreError> {
        let txn = self.begin_write().await?;
        if stale(txn.conn(), incarnation).await?.is_empty() {
            return txn.unused(Vec::new()).await;
        }
        // Keeps other workers out, which notice the same thing in the same moment.
        txn.bump_config_version().await?;
        let plan = plan::rebase(stale(txn.conn(), incarnation).await?, incarnation);
        write(&txn, &plan).await?;
        txn.commit().await?;
        Ok(plan.ended)
    }

    /// Removes an ended pair, once its bus consumer is gone. A live one is left alone.
    pub async fn forget_pair(&self, pair_id: &str) -> Result<(), StoreError> {
        let txn = self.begin_write().await?;
        pair::Entity::delete_many()
            .filter(Column::PairId.eq(pair_id))
            .filter(Column::EndSeq.is_not_null())
            .exec(txn.conn())
            .await?;
        txn.commit().await
    }
}

/// Makes the pairs fit the subscription. Live pairs whose filter stays are not touched.
pub(crate) async fn reconcile(
    txn: &WriteTxn,
    subscription: &Subscription,
    position: &Position,
) -> Result<Plan, StoreError> {
    let existing = of(txn.conn(), &subscription.uuid).await?;
    let wish = plan::Wish::of(subscription);
    let plan = plan::plan(existing, &subscription.uuid, &wish, position);
    write(txn, &plan).await?;
    Ok(plan)
}

/// Whether the row's url or secret is another than was seen last. What waits is due now then, as it
/// is after such a change through the API.
async fn adopt(txn: &WriteTxn, subscription: &Subscription) -> Result<bool, StoreError> {
    let uuid = &subscription.uuid;
    let state = state::Entity::find_by_id(uuid).one(txn.conn()).await?;
    let known = state.and_then(|state| state.fingerprint);
    let foreign = known.is_some_and(|known| known != fingerprint::of(subscription));
    if foreign {
        redelivery::due_now(txn, uuid, subscription.settings.ordered()).await?;
    }
    Ok(foreign)
}

/// Ends every pair of a subscription that is gone.
pub(crate) async fn abandon(
    txn: &WriteTxn,
    uuid: &str,
    position: &Position,
) -> Result<Plan, StoreError> {
    let existing = of(txn.conn(), uuid).await?;
    let plan = plan::plan(existing, uuid, &plan::Wish::default(), position);
    write(txn, &plan).await?;
    Ok(plan)
}

/// The live pairs that count on another bus.
async fn stale(conn: &impl ConnectionTrait, incarnation: &str) -> Result<Vec<Pair>, StoreError> {
    let found = pair::Entity::find()
        .filter(Column::EndSeq.is_null())
        .filter(Column::Incarnation.ne(incarnation))
        .all(conn)
        .await?;
    found.into_iter().map(decode).collect()
}

async fn of(conn: &impl ConnectionTrait, uuid: &str) -> Result<Vec<Pair>, StoreError> {
    pair::Entity::find()
        .filter(Column::Uuid.eq(uuid))
        .order_by_asc(Column::CreatedAt)
        .order_by_asc(Column::PairId)
        .all(conn)
        .await?
        .into_iter()
        .map(decode)
        .collect()
}

async fn write(txn: &WriteTxn, plan: &Plan) -> Result<(), StoreError> {
    for pair in &plan.ended {
        // A worker may have forgotten it in the same moment.
        pair::Entity::update_many()
            .set(row::ended(pair)?)
            .filter(Column::PairId.eq(&pair.id))
            .exec(txn.conn())
            .await?;
    }
    for pair in &plan.started {
        pair::Entity::insert(row::started(pair)?)
            .exec_without_returning(txn.conn())
            .await?;
    }
    Ok(())
}
