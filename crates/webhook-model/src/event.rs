use bytes::Bytes;

use crate::{EventId, Payload, Timestamp, Topic, double, json::write_string, topics};

/// One event: what happened, when, and under which topic it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its one id, from the publisher to the receiver.
    pub id: EventId,
    /// The subject it was published on.
    pub topic: Topic,
    /// Its `type`; may be empty.
    pub kind: String,
    /// When it happened, as the publisher wrote it.
    pub ts: Timestamp,
    /// What happened.
    pub payload: Payload,
}

impl Event {
    /// A new event with a random id, happening now.
    pub fn new(topic: Topic, kind: impl Into<String>, payload: Payload) -> Self {
        Self {
            id: EventId::fresh(),
            topic,
            kind: kind.into(),
            ts: Timestamp::now(),
            payload,
        }
    }

    /// What is sent to see whether an endpoint takes events at all.
    pub fn test_ping(triggered_by: &str) -> Self {
        let mut payload =
            Vec::from(br#"{"message":"Synthetic test event from DECNET","triggered_by":"#);
        write_string(triggered_by, &mut payload);
        payload.push(b'}');
        let payload = String::from_utf8_lossy(&payload);
        let payload = Payload::parse(&payload).expect("an object of two strings is one");
        let topic = Topic::parse(topics::TEST_PING).expect("a constant topic is valid");
        Self::new(topic, "test", payload)
    }

    /// The body a receiver gets, and the bytes that are signed: canonical JSON with `ts` as
    /// ISO-8601.
    pub fn body(&self) -> Bytes {
        let mut ts = Vec::new();
        write_string(&self.ts.iso(), &mut ts);
        self.write(&ts, self.payload.as_str())
    }

    /// The envelope that travels on the bus: canonical JSON with `ts` as it came.
    pub fn envelope(&self) -> Bytes {
        self.write(self.ts.json().as_bytes(), self.payload.as_str())
    }

    /// The envelope for readers whose numbers are doubles and who take `ts` for one, as programs of
    /// DECNET do: `ts` in epoch seconds, and what no double can hold as a string of its digits.
    pub fn double_envelope(&self) -> Bytes {
        let payload = double::quote_beyond(self.payload.as_str());
        self.write(self.ts.epoch_json().as_bytes(), &payload)
    }

    /// The six keys are in sorted order already.
    fn write(&self, ts: &[u8], payload: &str) -> Bytes {
        let mut out = Vec::with_capacity(payload.len() + 256);
        out.extend_from_slice(b"{\"id\":");
        write_string(self.id.as_str(), &mut out);
        out.extend_from_slice(b",\"payload\":");
        out.extend_from_slice(payload.as_bytes());
        out.extend_from_slice(b",\"topic\":");
        write_string(self.topic.as_str(), &mut out);
        out.extend_from_slice(b",\"ts\":");
        out.extend_from_slice(ts);
        out.extend_from_slice(b",\"type\":");
        write_string(&self.kind, &mut out);
        out.extend_from_slice(b",\"v\":1}");
        out.into()
    }
}
