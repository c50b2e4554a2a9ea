use bytes::Bytes;
use webhook_model::{Event, EventId, Topic};

/// An event as every attempt sends it: serialised once, cheap to clone.
#[derive(Debug, Clone)]
pub struct PreparedEvent {
    id: EventId,
    topic: Topic,
    body: Bytes,
}

impl PreparedEvent {
    /// Serialises an event.
    pub fn new(event: &Event) -> Self {
        Self::with_body(event.id.clone(), event.topic.clone(), event.body())
    }

    /// From a body that was serialised before, e.g. one kept with a dead letter.
    pub fn with_body(id: EventId, topic: Topic, body: Bytes) -> Self {
        Self { id, topic, body }
    }

    /// The event's one id.
    pub fn id(&self) -> &EventId {
        &self.id
    }

    /// The subject it travels under.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The bytes that are signed, and sent.
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}
