//! Says on the bus what happened to subscriptions. Announcements are advisory: whoever makes one
//! goes on at once, and one task publishes them in their order, through the bus's absences.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;
use webhook_bus::{Bus, BusError, Publication, dedup_key};
use webhook_model::{Event, Payload, Topic};

use crate::pause::Pauses;

/// Announcements that may wait for a bus that is away; beyond it the oldest goes, which tells the
/// least of how things stand. Each of a thousand subscriptions may trip meanwhile. A power of two,
/// as the channel has it.
const QUEUE: usize = 1_024;
/// Longest pause between tries while the bus is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where announcements are made. Clones share one queue.
#[derive(Debug, Clone)]
pub(crate) struct Announcements(broadcast::Sender<Publication>);

/// What is still to be announced.
pub(crate) type Waiting = broadcast::Receiver<Publication>;

impl Announcements {
    /// Queues one; it tells the time of now, whenever it goes out.
    pub(crate) fn say(&self, topic: &str, kind: &str, payload: &Value) {
        // It fails only when the announcer was cut at the drain deadline.
        let _ = self.0.send(publication(topic, kind, payload));
    }
}

/// The queue's two ends.
pub(crate) fn channel() -> (Announcements, Waiting) {
    let (send, receive) = broadcast::channel(QUEUE);
    (Announcements(send), receive)
}

/// One of the worker's own events; one that is published again is recognised.
pub(crate) fn publication(topic: &str, kind: &str, payload: &Value) -> Publication {
    let topic = Topic::parse(topic).expect("own topics are valid");
    let payload = Payload::parse(&payload.to_string()).expect("own payloads are objects");
    let event = Event::new(topic.clone(), kind, payload);
    let bytes = event.envelope();
    let dedup = Some(dedup_key(&event.id, &topic, &bytes));
    Publication {
        topic,
        bytes,
        dedup,
    }
}

/// Where announcements go; the bus in production.
pub(crate) trait Outlet {
    /// Publishes one.
    fn publish(&self, one: Publication) -> impl Future<Output = Result<(), BusError>> + Send;
}

impl Outlet for Bus {
    async fn publish(&self, one: Publication) -> Result<(), BusError> {
        Bus::publish(self, vec![one]).await.map(drop)
    }
}

/// Publishes until every [`Announcements`] is gone and the queue is empty, or until `cut`.
pub(crate) async fn run(outlet: impl Outlet, mut waiting: Waiting, cut: CancellationToken) {
    loop {
        match waiting.recv().await {
            Ok(one) => tokio::select! {
                biased;
                () = publish(&outlet, one) => {}
                () = cut.cancelled() => {
                    let left = waiting.len() + 1;
                    tracing::warn!(left, "the bus is away: what is still to be announced stays unsaid");
                    return;
                }
            },
            Err(RecvError::Lagged(dropped)) => {
                tracing::warn!(
                    dropped,
                    "the bus was away for too long: the oldest announcements stay unsaid"
                );
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// Publishes one for as long as only the connection is missing.
async fn publish(outlet: &impl Outlet, one: Publication) {
    let mut pauses = Pauses::new(LONGEST_PAUSE);
    while let Err(error) = outlet.publish(one.clone()).await {
        let topic = one.topic.as_str();
        if !error.is_connection() {
            tracing::warn!(%error, topic, "cannot announce what happened; it stays unsaid");
            return;
        }
        if pauses.is_first() {
            tracing::warn!(%error, topic, "cannot announce what happened; trying again");
        }
        tokio::time::sleep(pauses.next_pause()).await;
    }
}

#[cfg(test)]
mod tests;
