//! One message's way from the bus to its recorded outcome.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use webhook_bus::{Acker, Message};
use webhook_delivery::Outcome as Verdict;
use webhook_delivery::{DeliveryClient, Endpoint, PreparedEvent, RetryPolicy, Round, RoundHooks};
use webhook_model::{DeliveryStatus, Event, EventId, UtcTime};
use webhook_store::{DeliveryRecord, Pair};

use crate::{
    counters::Counters,
    in_hand::InHand,
    recorder::{Outcome, Recorder},
    runtime::Runtime,
    slots::Slot,
    window::WindowPermit,
};

/// How much of an undecodable message its dead letter keeps.
const UNDECODABLE_KEPT: usize = 64 << 10;

/// What the deliveries of one pair have in common.
pub(crate) struct Sender {
    pub(crate) client: DeliveryClient,
    pub(crate) policy: RetryPolicy,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) recorder: Recorder,
    pub(crate) counters: Arc<Counters>,
    pub(crate) pair: Pair,
    /// The bus the sequence numbers count on.
    pub(crate) incarnation: String,
    pub(crate) acker: Acker,
    pub(crate) in_hand: InHand,
    /// Ends pauses and lets nothing new begin.
    pub(crate) stop: CancellationToken,
    /// Ends even what is in flight: the drain deadline has passed.
    pub(crate) cut: CancellationToken,
}

impl Sender {
    /// Delivers, records, and lets go of the message. One that was interrupted before its outcome
    /// was known is let go of unacknowledged; the bus keeps it.
    pub(crate) async fn send(&self, message: Message, permit: WindowPermit) {
        let epoch = self.runtime.current().epoch;
        let record = match message.event() {
            Err(undecodable) => Some(self.undecodable(&message, &undecodable.to_string(), epoch)),
            Ok(event) => {
                let prepared =
                    PreparedEvent::with_body(event.id.clone(), event.topic.clone(), message.body());
                let round = tokio::select! {
                    biased;
                    () = self.cut.cancelled() => None,
                    round = self.client.deliver_with(self, &prepared, &self.policy) => Some(round),
                };
                round.and_then(|round| self.record(&message, &event, round, epoch))
            }
        };
        let Some(record) = record else {
            self.in_hand.remove(message.seq);
            return;
        };
        self.recorder
            .record(Outcome {
                record,
                acker: self.acker.clone(),
                in_hand: self.in_hand.clone(),
                permit,
            })
            .await;
    }

    fn record(
        &self,
        message: &Message,
        event: &Event,
        round: Round,
        epoch: i64,
    ) -> Option<DeliveryRecord> {
        self.counters.attempts(round.attempts.len());
        let status = match round.outcome {
            Verdict::Interrupted => return None,
            Verdict::Delivered => DeliveryStatus::Delivered,
            Verdict::Exhausted | Verdict::Final | Verdict::Gone | Verdict::Paused { .. } => {
                DeliveryStatus::Dead
            }
        };
        self.runtime
            .window
            .report(status == DeliveryStatus::Delivered);
        let last = round.attempts.last();
        Some(DeliveryRecord {
            pair_id: self.pair.id.clone(),
            seq: message.seq,
            incarnation: self.incarnation.clone(),
            subscription: self.runtime.uuid.clone(),
            event_id: event.id.to_string(),
            topic: message.topic.to_string(),
            kind: event.kind.clone(),
            status,
            attempts: round.attempts.len() as u32,
            status_code: last.and_then(|attempt| attempt.status),
            error: last.and_then(|attempt| attempt.error.clone()),
            duration: last.map(|attempt| attempt.duration).unwrap_or_default(),
            body: (status != DeliveryStatus::Delivered).then(|| message.body()),
            at: UtcTime::now(),
            next_attempt_at: None,
            epoch,
            counts: true,
        })
    }

    fn undecodable(&self, message: &Message, error: &str, epoch: i64) -> DeliveryRecord {
        let bytes = message.bytes();
        DeliveryRecord {
            pair_id: self.pair.id.clone(),
            seq: message.seq,
            incarnation: self.incarnation.clone(),
            subscription: self.runtime.uuid.clone(),
            event_id: EventId::derived(&self.incarnation, message.seq).to_string(),
            topic: message.topic.to_string(),
            kind: String::new(),
            status: DeliveryStatus::Dead,
            attempts: 0,
            status_code: None,
            error: Some(error.to_owned()),
            duration: std::time::Duration::ZERO,
            body: Some(bytes.slice(..bytes.len().min(UNDECODABLE_KEPT))),
            at: UtcTime::now(),
            next_attempt_at: None,
            epoch,
            counts: false,
        }
    }
}

impl RoundHooks for Sender {
    type Permit = Slot;

    async fn admit(&self) -> Option<(Arc<Endpoint>, Slot)> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            slot = self.runtime.slots.acquire() => Some((self.runtime.current().endpoint, slot)),
        }
    }

    async fn interrupted(&self) {
        self.stop.cancelled().await;
    }
}
