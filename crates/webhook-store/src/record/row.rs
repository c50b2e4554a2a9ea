use sea_orm::ActiveValue::{NotSet, Set};
use webhook_model::DeliveryStatus;

use crate::{
    DeliveryRecord, StoreError,
    entities::delivery::{ActiveModel, status_code},
};

/// Longest error text, in characters; that of DECNET's `last_error`.
pub(super) const MAX_ERROR_CHARS: usize = 512;
/// Longest topic, in characters; a dead letter may carry one over the limits.
const MAX_TOPIC_CHARS: usize = 255;
/// Longest event id, in characters.
const MAX_EVENT_ID_CHARS: usize = 128;
/// Longest event type that the log shows, in characters; the body has all of it.
const MAX_KIND_CHARS: usize = 1_024;

/// The whole row.
pub(super) fn insert(record: &DeliveryRecord) -> Result<ActiveModel, StoreError> {
    Ok(ActiveModel {
        id: NotSet,
        pair_id: Set(record.pair_id.clone()),
        seq: Set(seq(record)?),
        incarnation: Set(record.incarnation.clone()),
        subscription: Set(record.subscription.clone()),
        event_id: Set(text(&record.event_id, MAX_EVENT_ID_CHARS)),
        topic: Set(text(&record.topic, MAX_TOPIC_CHARS)),
        kind: Set(text(&record.kind, MAX_KIND_CHARS)),
        created_at: Set(record.at.micros()),
        ..update(record)?
    })
}

/// What a row takes from a later outcome.
pub(super) fn update(record: &DeliveryRecord) -> Result<ActiveModel, StoreError> {
    let delivered = record.status == DeliveryStatus::Delivered;
    let body = record.body.as_ref().filter(|_| !delivered);
    Ok(ActiveModel {
        status: Set(status_code(record.status)),
        attempts: Set(i32::try_from(record.attempts).unwrap_or(i32::MAX)),
        status_code: Set(record.status_code.map(i32::from)),
        error: Set(record
            .error
            .as_deref()
            .map(|error| text(error, MAX_ERROR_CHARS))),
        duration_ms: Set(i64::try_from(record.duration.as_millis()).unwrap_or(i64::MAX)),
        updated_at: Set(record.at.micros()),
        next_attempt_at: Set(record.next_attempt_at.map(|at| at.micros())),
        body: Set(body.map(|body| body.to_vec())),
        ..ActiveModel::default()
    })
}

pub(super) fn seq(record: &DeliveryRecord) -> Result<i64, StoreError> {
    i64::try_from(record.seq).map_err(|error| StoreError::Unstorable {
        pair_id: record.pair_id.clone(),
        seq: record.seq,
        reason: error.to_string(),
    })
}

/// Receivers choose these texts: cut, and without NUL, which PostgreSQL refuses.
pub(super) fn text(text: &str, max_chars: usize) -> String {
    text.chars()
        .take(max_chars)
        .map(|c| {
            if c == '\0' {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}
