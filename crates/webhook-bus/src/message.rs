//! What comes off a bus. Consumers of the same message share its bytes and decode it once.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use webhook_model::{Event, Place, Topic, Undecodable, UtcTime};

/// A message as a consumer or a watch gets it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its place on the bus.
    pub seq: u64,
    /// The topic it arrived on.
    pub topic: Topic,
    /// When the bus took it.
    pub at: UtcTime,
    /// Whether this consumer handed it out before. What an earlier process handed out is unknown
    /// here: see [`Consumer::resumed_at`](crate::Consumer::resumed_at).
    pub redelivered: bool,
    entry: Arc<Entry>,
}

impl Message {
    pub(crate) fn new(entry: Arc<Entry>, redelivered: bool) -> Self {
        Self {
            seq: entry.seq,
            topic: entry.topic.clone(),
            at: entry.at,
            redelivered,
            entry,
        }
    }

    /// The event in it.
    pub fn event(&self) -> Result<Arc<Event>, Undecodable> {
        self.entry.event()
    }

    /// The bytes as they arrived.
    pub fn bytes(&self) -> &Bytes {
        &self.entry.bytes
    }

    /// The canonical body that receivers get; of an undecodable message the bytes as they arrived.
    pub fn body(&self) -> Bytes {
        self.entry.body()
    }
}

/// A message in memory, once for all who read it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) topic: Topic,
    pub(crate) bytes: Bytes,
    pub(crate) at: UtcTime,
    /// Who must get no echo of it.
    pub(crate) origin: Option<Origin>,
    incarnation: Arc<str>,
    decoded: OnceLock<Result<Decoded, Undecodable>>,
}

/// A connection of the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin(pub(crate) u64);

#[derive(Debug)]
struct Decoded {
    event: Arc<Event>,
    body: Bytes,
}

impl Entry {
    /// What an entry occupies beside its bytes: topic, event id, type, allocations.
    const OVERHEAD: usize = 512;

    pub(crate) fn new(
        seq: u64,
        topic: Topic,
        bytes: Bytes,
        at: UtcTime,
        origin: Option<Origin>,
        incarnation: Arc<str>,
    ) -> Self {
        Self {
            seq,
            topic,
            bytes,
            at,
            origin,
            incarnation,
            decoded: OnceLock::new(),
        }
    }

    /// Memory it may come to occupy: the bytes, the payload decoded from them, and the body.
    pub(crate) fn cost(&self) -> usize {
        3 * self.bytes.len() + Self::OVERHEAD
    }

    pub(crate) fn event(&self) -> Result<Arc<Event>, Undecodable> {
        match self.decoded() {
            Ok(decoded) => Ok(decoded.event.clone()),
            Err(why) => Err(why.clone()),
        }
    }

    fn body(&self) -> Bytes {
        match self.decoded() {
            Ok(decoded) => decoded.body.clone(),
            Err(_) => self.bytes.clone(),
        }
    }

    fn decoded(&self) -> &Result<Decoded, Undecodable> {
        self.decoded.get_or_init(|| {
            let place = Place {
                incarnation: &self.incarnation,
                seq: self.seq,
                at: self.at,
            };
            let event = Arc::new(Event::decode(&self.topic, &self.bytes, &place)?);
            let body = event.body();
            Ok(Decoded { event, body })
        })
    }
}
