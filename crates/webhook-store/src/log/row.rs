use std::time::Duration;

use bytes::Bytes;
use sea_orm::{
    ConnectionTrait, Iterable, QueryOrder, QuerySelect, Select,
    sea_query::{Expr, Order},
};
use webhook_model::{DeliveryStatus, UtcTime};

use super::Cursor;
use crate::{
    AttemptRecord, StoreError,
    entities::delivery::{self, Column, status_of},
};

/// One delivery of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    /// The row.
    pub id: i64,
    /// The subscription's uuid.
    pub subscription: String,
    /// The bus that `seq` counts on.
    pub incarnation: String,
    /// The event's place on the bus.
    pub seq: u64,
    /// The event's id.
    pub event_id: String,
    /// Its topic.
    pub topic: String,
    /// Its type.
    pub kind: String,
    /// Where the delivery stands.
    pub status: DeliveryStatus,
    /// Attempts so far.
    pub attempts: u32,
    /// Redelivery rounds so far.
    pub round: u32,
    /// The last answer's status.
    pub status_code: Option<u16>,
    /// The last failure.
    pub error: Option<String>,
    /// How long the last attempt took.
    pub duration: Duration,
    /// When the first outcome was recorded.
    pub created_at: UtcTime,
    /// When the last one was.
    pub updated_at: UtcTime,
    /// When it is tried again.
    pub next_attempt_at: Option<UtcTime>,
    /// Whether the subscription's next events wait for it.
    pub in_order: bool,
    /// When an operator acknowledged it; of a dead letter alone.
    pub acknowledged_at: Option<UtcTime>,
}

/// A delivery with everything that is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryDetail {
    /// The row.
    pub row: DeliveryRow,
    /// Its failed attempts, in their order.
    pub attempts: Vec<AttemptRecord>,
    /// The event's body, kept of what is not delivered.
    pub body: Option<Bytes>,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// In the order of the list.
    pub items: Vec<T>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
}

/// What became of asking for one more try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOutcome {
    /// It is due now.
    Queued,
    /// There is no such delivery.
    NotFound,
    /// It had arrived.
    AlreadyDelivered,
    /// No body was kept that could be sent, e.g. of an undecodable message.
    Unavailable,
    /// Its subscription was deleted.
    SubscriptionGone,
}

impl DeliveryRow {
    pub(crate) fn cursor(&self) -> Cursor {
        Cursor {
            at: self.created_at,
            id: self.id,
        }
    }

    pub(super) fn decode(row: delivery::Model) -> Result<Self, StoreError> {
        let status = status_of(row.status).ok_or_else(|| StoreError::BadRow {
            table: "webhook_deliveries",
            uuid: row.id.to_string(),
            reason: format!("status {} is none", row.status),
        })?;
        Ok(Self {
            id: row.id,
            subscription: row.subscription,
            incarnation: row.incarnation,
            seq: u64::try_from(row.seq).unwrap_or(0),
            event_id: row.event_id,
            topic: row.topic,
            kind: row.kind,
            status,
            attempts: u32::try_from(row.attempts).unwrap_or(0),
            round: u32::try_from(row.round).unwrap_or(0),
            status_code: row.status_code.and_then(|code| u16::try_from(code).ok()),
            error: row.error,
            duration: millis(row.duration_ms),
            created_at: UtcTime::from_micros(row.created_at),
            updated_at: UtcTime::from_micros(row.updated_at),
            next_attempt_at: row.next_attempt_at.map(UtcTime::from_micros),
            in_order: row.in_order.unwrap_or(false),
            acknowledged_at: row.acknowledged_at.map(UtcTime::from_micros),
        })
    }
}

/// Reads rows in the order of the log, or backwards, without their bodies: each may be a mebibyte.
pub(super) async fn load(
    conn: &impl ConnectionTrait,
    select: Select<delivery::Entity>,
    order: Order,
    limit: u64,
) -> Result<Vec<DeliveryRow>, StoreError> {
    let slim = Column::iter().filter(|column| !matches!(column, Column::Body));
    select
        .select_only()
        .columns(slim)
        .column_as(Expr::val(Option::<Vec<u8>>::None), "body")
        .order_by(Column::CreatedAt, order.clone())
        .order_by(Column::Id, order)
        .limit(limit)
        .all(conn)
        .await?
        .into_iter()
        .map(DeliveryRow::decode)
        .collect()
}

pub(super) fn millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
