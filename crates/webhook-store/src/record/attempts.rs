//! The failed attempts of a batch, beside their deliveries.

use std::collections::{BTreeMap, HashMap};

use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::{
    MAX_ROWS, padded,
    row::{self, MAX_ERROR_CHARS, text},
};
use crate::{
    AttemptRecord, DeliveryRecord, StoreError,
    entities::{
        attempt,
        delivery::{self, Column},
    },
    session::Txn,
};

/// How much of an answer is kept.
const MAX_ANSWER_BYTES: usize = 1_024;

/// Stores them; their deliveries are in the table by now.
pub(super) async fn insert<'a>(
    conn: &Txn,
    records: impl Iterator<Item = &'a DeliveryRecord>,
) -> Result<(), StoreError> {
    let failed: Vec<&DeliveryRecord> = records.filter(|r| !r.failed_attempts.is_empty()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let ids = ids(conn, &failed).await?;
    let mut rows = Vec::new();
    for record in failed {
        if let Some(id) = ids.get(&(record.pair_id.as_str(), row::seq(record)?)) {
            rows.extend(record.failed_attempts.iter().map(|a| model(*id, a)));
        }
    }
    for chunk in rows.chunks(MAX_ROWS) {
        attempt::Entity::insert_many(chunk.iter().cloned())
            .exec_without_returning(conn)
            .await?;
    }
    Ok(())
}

async fn ids<'a>(
    conn: &Txn,
    records: &[&'a DeliveryRecord],
) -> Result<HashMap<(&'a str, i64), i64>, StoreError> {
    let mut by_pair: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for record in records {
        by_pair
            .entry(&record.pair_id)
            .or_default()
            .push(row::seq(record)?);
    }
    let mut ids = HashMap::new();
    for (pair, seqs) in by_pair {
        for chunk in seqs.chunks(MAX_ROWS) {
            let found: Vec<(i64, i64)> = delivery::Entity::find()
                .select_only()
                .column(Column::Seq)
                .column(Column::Id)
                .filter(Column::PairId.eq(pair))
                .filter(Column::Seq.is_in(padded(chunk)))
                .into_tuple()
                .all(conn)
                .await?;
            ids.extend(found.into_iter().map(|(seq, id)| ((pair, seq), id)));
        }
    }
    Ok(ids)
}

fn model(delivery: i64, attempt: &AttemptRecord) -> attempt::ActiveModel {
    let kept = attempt.answer.len().min(MAX_ANSWER_BYTES);
    let error = attempt.error.as_deref();
    attempt::ActiveModel {
        delivery_id: Set(delivery),
        at: Set(attempt.at.micros()),
        status_code: Set(attempt.status_code.map(i32::from)),
        duration_ms: Set(i64::try_from(attempt.duration.as_millis()).unwrap_or(i64::MAX)),
        error: Set(error.map(|error| text(error, MAX_ERROR_CHARS))),
        answer: Set(attempt.answer[..kept].to_vec()),
        ..attempt::ActiveModel::default()
    }
}
