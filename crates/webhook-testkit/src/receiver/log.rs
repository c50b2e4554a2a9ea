use std::{
    collections::HashMap,
    time::{Instant, SystemTime},
};

use bytes::Bytes;

use crate::Signatures;

/// One request that a receiver read to its end.
#[derive(Debug, Clone)]
pub struct Received {
    /// Path and query asked for.
    pub path: String,
    /// Header lines in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body as it came; empty if the receiver keeps none.
    pub body: Bytes,
    /// When it was complete.
    pub at: Instant,
    /// The same by the system's clock.
    pub wall: SystemTime,
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// Whether the signatures are right; `None` without a secret to check with.
    pub signatures: Option<Signatures>,
    /// The status that it was, or was to be, answered with.
    pub answered: Option<u16>,
}

impl Received {
    /// A header's first value; the name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// `X-DECNET-Event-Id`.
    pub fn event_id(&self) -> Option<&str> {
        self.header("x-decnet-event-id")
    }

    /// `X-DECNET-Event-Topic`.
    pub fn topic(&self) -> Option<&str> {
        self.header("x-decnet-event-topic")
    }

    /// Both signatures were checked and are right.
    pub fn is_verified(&self) -> bool {
        self.signatures.is_some_and(Signatures::all)
    }

    /// Answered with 2xx, and not with a wrong signature.
    pub fn is_taken(&self) -> bool {
        matches!(self.answered, Some(200..=299)) && self.signatures.is_none_or(Signatures::all)
    }
}

pub(super) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(n, _)| n == name);
    found.map(|(_, value)| value.as_str())
}

/// Everything a receiver got so far.
#[derive(Debug, Default)]
pub struct Log {
    all: Vec<Received>,
    times: HashMap<String, usize>,
    taken: usize,
}

impl Log {
    pub(super) fn push(&mut self, received: Received) {
        if received.is_taken() {
            self.taken += 1;
            let id = received.event_id().unwrap_or_default().to_owned();
            *self.times.entry(id).or_default() += 1;
        }
        self.all.push(received);
    }

    /// Every request, in the order they were complete.
    pub fn all(&self) -> &[Received] {
        &self.all
    }

    /// Requests.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there was no request.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Requests answered with 2xx.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Different events answered with 2xx.
    pub fn unique(&self) -> usize {
        self.times.len()
    }

    /// How often events were taken once more than needed.
    pub fn duplicates(&self) -> usize {
        self.taken - self.times.len()
    }

    /// How often this event was taken.
    pub fn times(&self, event_id: &str) -> usize {
        self.times.get(event_id).copied().unwrap_or(0)
    }
}
