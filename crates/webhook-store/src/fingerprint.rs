//! Notices what DECNET, or an operator with SQL, changed of a row: nobody bumps an epoch for that.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};
use sha2::{Digest, Sha256};
use webhook_model::Subscription;

use crate::{
    Store, StoreError,
    entities::state::{self, Column},
    store::WriteTxn,
};

/// Bytes of the digest that are kept: enough to tell two rows apart.
const KEPT: usize = 16;

/// What deliveries of a subscription depend on that others may write: where to, and signed with what.
pub(crate) fn of(subscription: &Subscription) -> String {
    let mut digest = Sha256::new();
    digest.update(subscription.url.as_str());
    digest.update([0]);
    digest.update(subscription.secret.expose());
    hex::encode(&digest.finalize()[..KEPT])
}

/// Writes down what the row looks like now.
pub(crate) async fn write(txn: &WriteTxn, subscription: &Subscription) -> Result<(), StoreError> {
    set(txn, &subscription.uuid, &of(subscription)).await
}

async fn set(txn: &WriteTxn, uuid: &str, fingerprint: &str) -> Result<(), StoreError> {
    state::Entity::update_many()
        .col_expr(Column::Fingerprint, Expr::val(fingerprint))
        .filter(Column::Uuid.eq(uuid))
        .exec(txn.conn())
        .await?;
    Ok(())
}

impl Store {
    /// Writes down what rows look like that an earlier version saw; see
    /// [`Snapshot::unmarked`](crate::Snapshot).
    pub async fn mark(&self, rows: &[(String, String)]) -> Result<(), StoreError> {
        let txn = self.begin_write().await?;
        for (uuid, fingerprint) in rows {
            set(&txn, uuid, fingerprint).await?;
        }
        txn.commit().await
    }
}
