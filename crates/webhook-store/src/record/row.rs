use sea_orm::sea_query::Value;
use webhook_model::{DeliveryStatus, UtcTime};

use crate::{
    DeliveryRecord, StoreError,
    entities::delivery::{Column, status_code},
};

/// Longest error text, in characters; that of DECNET's `last_error`.
pub(crate) const MAX_ERROR_CHARS: usize = 512;
/// Longest topic, in characters; a dead letter may carry one over the limits.
const MAX_TOPIC_CHARS: usize = 255;
/// Longest event id, in characters.
const MAX_EVENT_ID_CHARS: usize = 128;
/// Longest event type that the log shows, in characters; the body has all of it.
const MAX_KIND_CHARS: usize = 1_024;

/// What a row takes from a later outcome.
pub(super) const OUTCOME: [Column; 12] = [
    Column::Status,
    Column::Attempts,
    Column::StatusCode,
    Column::Error,
    Column::DurationMs,
    Column::UpdatedAt,
    Column::NextAttemptAt,
    Column::Body,
    Column::Round,
    Column::LeaseUntil,
    Column::LeaseOwner,
    Column::InOrder,
];

/// The whole row but its id; [`OUTCOME`] first.
pub(super) const COLUMNS: [Column; 20] = [
    Column::Status,
    Column::Attempts,
    Column::StatusCode,
    Column::Error,
    Column::DurationMs,
    Column::UpdatedAt,
    Column::NextAttemptAt,
    Column::Body,
    Column::Round,
    Column::LeaseUntil,
    Column::LeaseOwner,
    Column::InOrder,
    Column::PairId,
    Column::Seq,
    Column::Incarnation,
    Column::Subscription,
    Column::EventId,
    Column::Topic,
    Column::Kind,
    Column::CreatedAt,
];

/// The values of [`OUTCOME`].
pub(super) fn outcome(record: &DeliveryRecord) -> [Value; 12] {
    let delivered = record.status == DeliveryStatus::Delivered;
    let body = record.body.as_ref().filter(|_| !delivered);
    let retrying = record.status == DeliveryStatus::Retrying;
    let next_attempt_at = retrying.then(|| record.next_attempt_at.unwrap_or(record.at));
    let error = record.error.as_deref();
    [
        status_code(record.status).into(),
        i32::try_from(record.attempts).unwrap_or(i32::MAX).into(),
        record.status_code.map(i32::from).into(),
        error.map(|error| text(error, MAX_ERROR_CHARS)).into(),
        i64::try_from(record.duration.as_millis())
            .unwrap_or(i64::MAX)
            .into(),
        record.at.micros().into(),
        next_attempt_at.map(UtcTime::micros).into(),
        body.map(|body| body.to_vec()).into(),
        i32::try_from(record.round).unwrap_or(i32::MAX).into(),
        Value::BigInt(None),
        Value::String(None),
        (record.in_order && retrying).then_some(true).into(),
    ]
}

/// The values of [`COLUMNS`].
pub(super) fn values(record: &DeliveryRecord) -> Result<impl Iterator<Item = Value>, StoreError> {
    let place = [
        record.pair_id.as_str().into(),
        seq(record)?.into(),
        record.incarnation.as_str().into(),
        record.subscription.as_str().into(),
        text(&record.event_id, MAX_EVENT_ID_CHARS).into(),
        text(&record.topic, MAX_TOPIC_CHARS).into(),
        text(&record.kind, MAX_KIND_CHARS).into(),
        record.at.micros().into(),
    ];
    Ok(outcome(record).into_iter().chain(place))
}

/// The place as its column takes it.
pub(crate) fn seq(record: &DeliveryRecord) -> Result<i64, StoreError> {
    i64::try_from(record.seq).map_err(|error| StoreError::Unstorable {
        pair_id: record.pair_id.clone(),
        seq: record.seq,
        reason: error.to_string(),
    })
}

/// Receivers choose these texts: cut, and without NUL, which PostgreSQL refuses.
pub(crate) fn text(text: &str, max_chars: usize) -> String {
    if text.len() <= max_chars && !text.contains('\0') {
        return text.to_owned();
    }
    let cleaned = |c| {
        if c == '\0' {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    text.chars().take(max_chars).map(cleaned).collect()
}
