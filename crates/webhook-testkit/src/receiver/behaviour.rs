use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use super::Received;

/// What a receiver does with a request once it has read it.
#[derive(Clone)]
#[non_exhaustive]
pub enum Behaviour {
    /// Answers.
    Answer {
        /// Status code.
        status: u16,
        /// Further header lines.
        headers: Vec<(String, String)>,
        /// Body.
        body: Bytes,
    },
    /// Never answers; holds the connection until the other side gives up.
    HangBeforeAnswer,
    /// Answers 200, sends half of the promised body and no more.
    StallMidBody,
    /// Answers 200 with a `Content-Length` of 10 GB, and sends and sends.
    EndlessContentLength,
    /// Answers 200 with chunks that never end.
    EndlessChunked,
    /// Answers with this status and sends one byte of the body at a time.
    Trickle {
        /// Status code.
        status: u16,
        /// Pause before each byte.
        every: Duration,
        /// Bytes promised.
        bytes: usize,
    },
    /// Resets the connection (RST) without an answer.
    ResetBeforeAnswer,
    /// Answers 200 and resets the connection in the middle of the body.
    ResetMidBody,
    /// Closes the connection in good order without an answer.
    CloseBeforeAnswer,
    /// Writes these bytes instead of an answer, and closes.
    Raw(Bytes),
    /// Writes these bytes instead of an answer, and ends the connection in another way.
    RawThen(Bytes, End),
    /// Waits, then behaves.
    Delay(Duration, Box<Behaviour>),
    /// Behaves one way for this many requests, then another.
    First(usize, Box<Behaviour>, Box<Behaviour>),
    /// Decides by what it received.
    Decide(Decide),
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Closed, over TLS without the close_notify that says so.
    Abrupt,
    /// Reset (RST).
    Reset,
    /// Closed for sending alone; held until the other side gives up.
    HalfClosed,
    /// Held in silence until the other side gives up.
    Held,
}

/// Decides by what was received, e.g. by its event id.
pub type Decide = Arc<dyn Fn(&Received) -> Behaviour + Send + Sync>;

impl Behaviour {
    /// 200 with a short body.
    pub fn ok() -> Self {
        Self::status(200)
    }

    /// This status with a short body.
    pub fn status(status: u16) -> Self {
        let body = match status {
            100..200 | 204 | 304 => "",
            _ => "received",
        };
        Self::Answer {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// This status and one more header line.
    pub fn status_with(status: u16, name: &str, value: &str) -> Self {
        Self::Answer {
            status,
            headers: vec![(name.to_owned(), value.to_owned())],
            body: Bytes::new(),
        }
    }

    /// 302 to another URL.
    pub fn redirect(to: &str) -> Self {
        Self::status_with(302, "location", to)
    }

    /// `first` for `n` requests, then `then`.
    pub fn first(n: usize, first: Self, then: Self) -> Self {
        Self::First(n, first.into(), then.into())
    }

    /// The status that a closure chooses by event id.
    pub fn by_event(choose: impl Fn(&str) -> u16 + Send + Sync + 'static) -> Self {
        Self::decide(move |received| Self::status(choose(received.event_id().unwrap_or_default())))
    }

    /// Whatever a closure chooses.
    pub fn decide(choose: impl Fn(&Received) -> Self + Send + Sync + 'static) -> Self {
        Self::Decide(Arc::new(choose))
    }

    /// This behaviour, later.
    pub fn after(self, delay: Duration) -> Self {
        Self::Delay(delay, self.into())
    }

    /// Bytes that are no HTTP.
    pub fn broken_http() -> Self {
        Self::Raw(Bytes::from_static(b"220 mail.example ESMTP ready\r\n"))
    }

    /// The behaviour for request number `number` (from 0), without further choice.
    pub(super) fn settle(&self, number: usize, received: &Received) -> (Duration, Self) {
        match self {
            Self::First(n, first, _) if number < *n => first.settle(number, received),
            Self::First(n, _, then) => then.settle(number - n, received),
            Self::Decide(decide) => decide(received).settle(number, received),
            Self::Delay(delay, then) => {
                let (later, settled) = then.settle(number, received);
                (*delay + later, settled)
            }
            other => (Duration::ZERO, other.clone()),
        }
    }

    /// The status that goes out, if any does.
    pub(super) fn answers(&self) -> Option<u16> {
        match self {
            Self::Answer { status, .. } | Self::Trickle { status, .. } => Some(*status),
            Self::StallMidBody
            | Self::EndlessContentLength
            | Self::EndlessChunked
            | Self::ResetMidBody => Some(200),
            _ => None,
        }
    }
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decide(_) => f.write_str("Decide(…)"),
            Self::First(n, first, then) => write!(f, "First({n}, {first:?}, {then:?})"),
            Self::Delay(delay, then) => write!(f, "Delay({delay:?}, {then:?})"),
            other => write!(f, "{:?}", other.answers()),
        }
    }
}
