//! Whose doing an attempt's end was: the event's, the endpoint's, or our own. Three verdicts in
//! three types, so that one is never taken for another.

use std::time::Duration;

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver's doing.
    Receiver {
        /// What it means for the event.
        event: EventVerdict,
        /// What it tells of the endpoint.
        endpoint: EndpointVerdict,
    },
    /// Our own: nobody's failure. The attempt says nothing of event and endpoint and is made again.
    Ourselves(LocalFault),
}

/// What an attempt means for its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventVerdict {
    /// A 2xx status line.
    Delivered,
    /// 429, 5xx or no answer: worth another attempt.
    NotYet {
        /// How long a 429 or 503 asked not to be called.
        after: Option<Duration>,
    },
    /// No attempt will change the answer.
    Refused,
}

/// What an attempt tells of its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointVerdict {
    /// It takes events.
    Takes,
    /// It answers, but does not take this event.
    Answers,
    /// It answers with what speaks of the endpoint rather than of the event: 401, 403, 404, 405,
    /// 407, 3xx.
    Objects,
    /// No answer, or a gateway's 502, 503, 504 in its place.
    Silent,
    /// 410: it wants no more events at all.
    Gone,
}

/// What failed on this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LocalFault {
    /// No file descriptor is left to the process or the machine.
    Descriptors,
    /// No local address or port is left.
    Ports,
    /// No memory is left for a socket.
    Memory,
    /// The resolver itself does not answer.
    Resolver,
    /// This machine trusts no root certificate, and the endpoint is https.
    Roots,
}

impl Verdict {
    /// 2xx.
    pub const DELIVERED: Self = Self::Receiver {
        event: EventVerdict::Delivered,
        endpoint: EndpointVerdict::Takes,
    };
    /// No answer came.
    pub const SILENT: Self = Self::not_yet(EndpointVerdict::Silent, None);

    /// Worth another attempt, not before `after` if the receiver asked for that.
    pub const fn not_yet(endpoint: EndpointVerdict, after: Option<Duration>) -> Self {
        Self::Receiver {
            event: EventVerdict::NotYet { after },
            endpoint,
        }
    }

    /// No attempt will change the answer.
    pub const fn refused(endpoint: EndpointVerdict) -> Self {
        Self::Receiver {
            event: EventVerdict::Refused,
            endpoint,
        }
    }

    /// Whether the receiver has the event.
    pub fn is_delivered(self) -> bool {
        self == Self::DELIVERED
    }

    /// What it tells of the endpoint; nothing where the fault was ours.
    pub fn endpoint(self) -> Option<EndpointVerdict> {
        match self {
            Self::Receiver { endpoint, .. } => Some(endpoint),
            Self::Ourselves(_) => None,
        }
    }
}

impl EndpointVerdict {
    /// Whether the receiver itself said something.
    pub fn answered(self) -> bool {
        self != Self::Silent
    }
}

impl LocalFault {
    /// One lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Descriptors => "descriptors",
            Self::Ports => "ports",
            Self::Memory => "memory",
            Self::Resolver => "resolver",
            Self::Roots => "roots",
        }
    }
}
