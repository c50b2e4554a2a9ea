//! Deliveries as answers show them.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use webhook_model::UtcTime;
use webhook_store::{AttemptRecord, DeliveryDetail, DeliveryRow, Page};

/// One event for one subscription.
#[derive(Serialize, ToSchema)]
#[schema(as = Delivery)]
pub(crate) struct DeliveryBody {
    #[schema(example = 7)]
    id: i64,
    /// The subscription's `uuid`.
    #[schema(example = "0f8fad5b-d9cb-469f-a165-70867728950e")]
    subscription: String,
    #[schema(example = "b0b260086f544541bb1086329ccbeb99")]
    event_id: String,
    #[schema(example = "attacker.observed")]
    topic: String,
    #[schema(example = "observed")]
    r#type: String,
    #[schema(value_type = DeliveryStatusName, example = "retrying")]
    status: &'static str,
    /// So far.
    #[schema(example = 4)]
    attempts: u32,
    /// The last answer's, if there was one.
    #[schema(required = true, example = 503)]
    status_code: Option<u16>,
    /// The last failure.
    #[schema(required = true, example = "http 503")]
    error: Option<String>,
    /// Of the last attempt.
    #[schema(example = 12)]
    duration_ms: u64,
    /// When its first outcome was recorded.
    #[schema(value_type = String, format = DateTime, example = "2026-04-24T12:00:00.000000Z")]
    created_at: UtcTime,
    /// When its last one was.
    #[schema(value_type = String, format = DateTime, example = "2026-04-24T12:00:07.000000Z")]
    updated_at: UtcTime,
    /// When it is tried again.
    #[schema(required = true, value_type = Option<String>, format = DateTime, example = "2026-04-24T12:00:37.000000Z")]
    next_attempt_at: Option<UtcTime>,
    /// Whether the next events of its subscription, an `ordered` one, wait for it.
    #[schema(example = false)]
    in_order: bool,
    /// When somebody acknowledged it, a dead letter; null when nobody has since it died last.
    #[schema(required = true, value_type = Option<String>, format = DateTime, example = json!(null))]
    acknowledged_at: Option<UtcTime>,
}

/// Where a delivery stands.
#[derive(ToSchema)]
#[schema(as = DeliveryStatus, rename_all = "lowercase")]
#[expect(
    dead_code,
    reason = "documents webhook_model::DeliveryStatus, which knows no OpenAPI"
)]
pub(crate) enum DeliveryStatusName {
    Retrying,
    Delivered,
    Dead,
}

/// A part of the list.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeliveryPage {
    items: Vec<DeliveryBody>,
    /// What to pass as `cursor` for the next page; null at the end.
    #[schema(required = true, example = json!(null))]
    next_cursor: Option<String>,
}

/// A delivery with what is kept of it.
#[derive(Serialize, ToSchema)]
#[schema(as = DeliveryDetail)]
pub(crate) struct DetailBody {
    #[serde(flatten)]
    delivery: DeliveryBody,
    /// Those that failed, in their order.
    failed_attempts: Vec<AttemptBody>,
    #[serde(flatten)]
    body: Option<EventBody>,
}

/// What would be sent, for admins. Both are null where nothing is kept.
#[derive(Serialize, ToSchema)]
pub(crate) struct EventBody {
    /// As JSON.
    #[schema(value_type = Option<Object>)]
    body: Option<Box<RawValue>>,
    /// As base64, when it is no JSON.
    #[schema(example = json!(null))]
    body_base64: Option<String>,
}

/// One attempt that failed.
#[derive(Serialize, ToSchema)]
#[schema(as = FailedAttempt)]
pub(crate) struct AttemptBody {
    /// When it began.
    #[schema(value_type = String, format = DateTime, example = "2026-04-24T12:00:00.000000Z")]
    at: UtcTime,
    /// The answer's, if there was one.
    #[schema(required = true, example = 503)]
    status_code: Option<u16>,
    #[schema(example = 12)]
    duration_ms: u64,
    #[schema(required = true, example = "http 503")]
    error: Option<String>,
    /// The answer's first 1 KiB, for admins; what is no UTF-8 in it is replaced by U+FFFD.
    #[schema(example = "try again later")]
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
}

impl DeliveryPage {
    pub(super) fn new(page: Page<DeliveryRow>) -> Self {
        Self {
            items: page.items.into_iter().map(DeliveryBody::new).collect(),
            next_cursor: page.next.map(|cursor| cursor.to_string()),
        }
    }
}

impl DeliveryBody {
    fn new(row: DeliveryRow) -> Self {
        Self {
            id: row.id,
            subscription: row.subscription,
            event_id: row.event_id,
            topic: row.topic,
            r#type: row.kind,
            status: row.status.as_str(),
            attempts: row.attempts,
            status_code: row.status_code,
            error: row.error,
            duration_ms: millis(row.duration),
            created_at: row.created_at,
            updated_at: row.updated_at,
            next_attempt_at: row.next_attempt_at,
            in_order: row.in_order,
            acknowledged_at: row.acknowledged_at,
        }
    }
}

impl DetailBody {
    /// A receiver may echo what it got, secrets included: bodies and answers are for admins.
    pub(super) fn new(detail: DeliveryDetail, is_admin: bool) -> Self {
        let attempts = detail.attempts.into_iter();
        Self {
            delivery: DeliveryBody::new(detail.row),
            failed_attempts: attempts
                .map(|attempt| AttemptBody::new(attempt, is_admin))
                .collect(),
            body: is_admin.then(|| EventBody::new(detail.body.as_deref())),
        }
    }
}

impl EventBody {
    /// The text itself where it is JSON, so that numbers keep their digits.
    fn new(bytes: Option<&[u8]>) -> Self {
        let body = bytes.and_then(|bytes| serde_json::from_slice::<Box<RawValue>>(bytes).ok());
        let body_base64 = match body {
            Some(_) => None,
            None => bytes.map(|bytes| STANDARD.encode(bytes)),
        };
        Self { body, body_base64 }
    }
}

impl AttemptBody {
    fn new(attempt: AttemptRecord, is_admin: bool) -> Self {
        Self {
            at: attempt.at,
            status_code: attempt.status_code,
            duration_ms: millis(attempt.duration),
            error: attempt.error,
            answer: is_admin.then(|| String::from_utf8_lossy(&attempt.answer).into_owned()),
        }
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
