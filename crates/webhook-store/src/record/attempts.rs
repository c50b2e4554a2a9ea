//! The failed attempts of a batch, beside their deliveries.

use sea_orm::{ActiveValue::Set, EntityTrait};

use super::{
    MAX_ROWS,
    row::{MAX_ERROR_CHARS, text},
};
use crate::{AttemptRecord, DeliveryRecord, StoreError, entities::attempt, places, session::Txn};

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
    let known = places::of_records(conn, failed.iter().copied()).await?;
    let mut rows = Vec::new();
    for record in failed {
        if let Some(row) = known.get(&(record.pair_id.as_str(), record.seq)) {
            rows.extend(record.failed_attempts.iter().map(|a| model(row.id, a)));
        }
    }
    for chunk in rows.chunks(MAX_ROWS) {
        attempt::Entity::insert_many(chunk.iter().cloned())
            .exec_without_returning(conn)
            .await?;
    }
    Ok(())
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
