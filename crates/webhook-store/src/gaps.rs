use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::OnConflict,
};
use webhook_model::UtcTime;

use crate::{
    Store, StoreError,
    entities::gap::{self, Column},
};

/// Events that the bus's retention took before a pair had delivered them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The pair that missed them.
    pub pair_id: String,
    /// Its subscription.
    pub subscription: String,
    /// The bus that the numbers count on.
    pub incarnation: String,
    /// The first of them; with the pair the key.
    pub from_seq: u64,
    /// The last.
    pub to_seq: u64,
    /// How many of these were the pair's, as far as the bus can say.
    pub count: u64,
    /// When it was noticed.
    pub at: UtcTime,
}

impl Store {
    /// Keeps a gap; false when it is known already.
    pub async fn record_gap(&self, gap: &Gap) -> Result<bool, StoreError> {
        let signed = |seq: u64| {
            i64::try_from(seq).map_err(|error| StoreError::Unstorable {
                pair_id: gap.pair_id.clone(),
                seq,
                reason: error.to_string(),
            })
        };
        let row = gap::ActiveModel {
            pair_id: Set(gap.pair_id.clone()),
            subscription: Set(gap.subscription.clone()),
            incarnation: Set(gap.incarnation.clone()),
            from_seq: Set(signed(gap.from_seq)?),
            to_seq: Set(signed(gap.to_seq)?),
            count: Set(signed(gap.count)?),
            at: Set(gap.at.micros()),
            ..gap::ActiveModel::default()
        };
        let mut conflict = OnConflict::columns([Column::PairId, Column::FromSeq]);
        let txn = self.begin_write().await?;
        // MySQL's answer to the insert does not tell.
        let known = gap::Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::PairId.eq(&gap.pair_id))
            .filter(Column::FromSeq.eq(signed(gap.from_seq)?))
            .into_tuple::<i64>()
            .one(txn.conn())
            .await?;
        if known.is_some() {
            return txn.unused(false).await;
        }
        let inserted = gap::Entity::insert(row)
            .on_conflict(conflict.do_nothing_on([Column::Id]).to_owned())
            .exec_without_returning(txn.conn())
            .await?;
        txn.commit().await?;
        Ok(inserted > 0)
    }

    /// The gaps of one subscription, or of all, latest first.
    pub async fn gaps(
        &self,
        subscription: Option<&str>,
        limit: u64,
    ) -> Result<Vec<Gap>, StoreError> {
        let mut select = gap::Entity::find();
        if let Some(uuid) = subscription {
            select = select.filter(Column::Subscription.eq(uuid));
        }
        let found = select
            .order_by_desc(Column::Id)
            .limit(limit)
            .all(self.db())
            .await?;
        Ok(found.into_iter().map(decode).collect())
    }
}

fn decode(row: gap::Model) -> Gap {
    let unsigned = |number| u64::try_from(number).unwrap_or(0);
    Gap {
        pair_id: row.pair_id,
        subscription: row.subscription,
        incarnation: row.incarnation,
        from_seq: unsigned(row.from_seq),
        to_seq: unsigned(row.to_seq),
        count: unsigned(row.count),
        at: UtcTime::from_micros(row.at),
    }
}
