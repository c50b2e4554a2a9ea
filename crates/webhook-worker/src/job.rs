//! One delivery as it is sent, whether its event comes off the bus or out of its row.

use std::time::Duration;

use webhook_bus::Message;
use webhook_delivery::PreparedEvent;
use webhook_model::{DeliveryStatus, EventId, Topic, UtcTime};
use webhook_store::{Claimed, DeliveryRecord};

use crate::{judge::Rounds, runtime::Runtime};

/// How much of an undecodable message its dead letter keeps.
const UNDECODABLE_KEPT: usize = 64 << 10;

/// One delivery: which, of what, and what its row is keyed by.
pub(crate) struct Job {
    pub(crate) pair_id: String,
    pub(crate) seq: u64,
    pub(crate) incarnation: String,
    pub(crate) event: PreparedEvent,
    pub(crate) kind: String,
    pub(crate) rounds: Rounds,
    /// Attempts of earlier rounds.
    pub(crate) attempts: u32,
    /// When the bus took the event, or its first outcome was recorded.
    pub(crate) arrived: UtcTime,
    /// When an event that others wait for failed first.
    pub(crate) head_since: Option<UtcTime>,
}

impl Job {
    /// A message off the bus, or the record of a dead letter where it is no event.
    pub(crate) fn from_message(
        message: &Message,
        pair_id: &str,
        incarnation: &str,
        runtime: &Runtime,
    ) -> Result<Self, Box<DeliveryRecord>> {
        match message.event() {
            Ok(event) => Ok(Self {
                pair_id: pair_id.to_owned(),
                seq: message.seq,
                incarnation: incarnation.to_owned(),
                event: PreparedEvent::with_body(
                    event.id.clone(),
                    event.topic.clone(),
                    message.body(),
                ),
                kind: event.kind.clone(),
                rounds: Rounds::First,
                attempts: 0,
                arrived: message.at,
                head_since: None,
            }),
            Err(error) => {
                let bytes = message.bytes();
                Err(Box::new(DeliveryRecord {
                    pair_id: pair_id.to_owned(),
                    seq: message.seq,
                    incarnation: incarnation.to_owned(),
                    subscription: runtime.uuid.clone(),
                    event_id: EventId::derived(incarnation, message.seq).to_string(),
                    topic: message.topic.to_string(),
                    kind: String::new(),
                    status: DeliveryStatus::Dead,
                    attempts: 0,
                    status_code: None,
                    error: Some(error.to_string()),
                    duration: Duration::ZERO,
                    body: Some(bytes.slice(..bytes.len().min(UNDECODABLE_KEPT))),
                    at: UtcTime::now(),
                    next_attempt_at: None,
                    round: 0,
                    in_order: false,
                    epoch: runtime.current().epoch,
                    counts: false,
                    failed_attempts: Vec::new(),
                }))
            }
        }
    }

    /// A claimed row. One whose body is no event cannot be sent.
    pub(crate) fn from_row(row: &Claimed) -> Option<Self> {
        let id = EventId::parse(&row.event_id).ok()?;
        let topic = Topic::parse(&row.topic).ok()?;
        Some(Self {
            pair_id: row.pair_id.clone(),
            seq: row.seq,
            incarnation: row.incarnation.clone(),
            event: PreparedEvent::with_body(id, topic, row.body.clone()?),
            kind: row.kind.clone(),
            rounds: Rounds::Redelivery(row.round),
            attempts: row.attempts,
            arrived: row.created_at,
            head_since: None,
        })
    }

    /// A claimed row that others wait for.
    pub(crate) fn from_head(row: &Claimed) -> Option<Self> {
        let job = Self::from_row(row)?;
        Some(Self {
            head_since: Some(row.created_at),
            ..job
        })
    }
}
