//! Network errors in words. Never the URL, whose path and query may be credentials.

use std::{error::Error, io, time::Duration};

use crate::{Refusal, attempt::MAX_ERROR_CHARS, dns::DnsError, tls::NO_ROOTS};

/// Why an attempt has no whole answer, for counting; [`Attempt::error`](crate::Attempt::error)
/// says it in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The egress guard let no request out.
    Refused,
    /// The name was not resolved.
    Dns,
    /// No connection came about.
    Connect,
    /// The receiver's certificate was not trusted, or the handshake failed.
    Tls,
    /// The time-out came first.
    Timeout,
    /// The connection ended before the answer did.
    Closed,
    /// The answer is no HTTP.
    Malformed,
    /// Anything else.
    Other,
}

impl FailureKind {
    /// One lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Malformed => "malformed",
            Self::Other => "other",
        }
    }
}

/// A network error, to be counted and to be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) kind: FailureKind,
    pub(crate) text: String,
}

impl Failed {
    fn new(kind: FailureKind, text: impl AsRef<str>) -> Self {
        Self {
            kind,
            text: tidy(text.as_ref()),
        }
    }
}

/// What an attempt was at when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Phase {
    /// Up to the answer's headers.
    #[default]
    Request,
    /// The answer's body.
    Body,
}

/// An egress refusal.
pub(crate) fn refused(refusal: &Refusal) -> Failed {
    Failed::new(FailureKind::Refused, format!("refused: {refusal}"))
}

/// An attempt that ran out of time, saying what it waited for.
pub(crate) fn timed_out(limit: Duration, connect_limit: Duration, phase: Phase) -> Failed {
    let waited_for = match phase {
        Phase::Body => "for the rest of the answer",
        // A slower connection would have been told by its own limit.
        Phase::Request if connect_limit < limit => "for the answer",
        Phase::Request => "for the connection or the answer",
    };
    let text = format!("time-out after {limit:?} waiting {waited_for}");
    Failed::new(FailureKind::Timeout, text)
}

/// What the HTTP client reports.
pub(crate) fn reported(error: &reqwest::Error, phase: Phase, connect_limit: Duration) -> Failed {
    let links = chain(error);
    if let Some(refusal) = find::<Refusal>(&links) {
        refused(refusal)
    } else if let Some(dns) = find::<DnsError>(&links) {
        Failed::new(FailureKind::Dns, format!("dns: {dns}"))
    } else if let Some(tls) = find::<rustls::Error>(&links) {
        Failed::new(FailureKind::Tls, format!("tls: {tls}"))
    } else if error.is_connect() && error.is_timeout() {
        let text = format!("time-out after {connect_limit:?} connecting");
        Failed::new(FailureKind::Timeout, text)
    } else if let Some(io) = find::<io::Error>(&links) {
        io_failed(io, error.is_connect(), phase)
    } else if let Some(http) = find::<hyper::Error>(&links) {
        http_failed(http, &links, phase)
    } else {
        Failed::new(FailureKind::Other, deepest(&links))
    }
}

/// An https attempt on a machine that trusts nobody.
pub(crate) fn no_roots() -> Failed {
    Failed::new(FailureKind::Tls, format!("tls: {NO_ROOTS}"))
}

fn io_failed(error: &io::Error, connecting: bool, phase: Phase) -> Failed {
    use io::ErrorKind::{
        AddrNotAvailable, BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset,
        HostUnreachable, InvalidData, InvalidInput, NetworkUnreachable, TimedOut, UnexpectedEof,
    };
    let what = match error.kind() {
        ConnectionRefused => "connection refused",
        ConnectionReset | ConnectionAborted | BrokenPipe => "connection reset",
        UnexpectedEof => "connection closed",
        HostUnreachable => "host unreachable",
        NetworkUnreachable => "network unreachable",
        TimedOut => "time-out of the connection",
        AddrNotAvailable => "no local address or port left",
        // How the HTTP client reports broken chunks.
        InvalidData | InvalidInput => {
            let text = format!("malformed answer: {error}");
            return Failed::new(FailureKind::Malformed, text);
        }
        _ => {
            let text = format!("connection failed: {error}");
            let kind = if connecting {
                FailureKind::Connect
            } else {
                FailureKind::Other
            };
            return Failed::new(kind, text);
        }
    };
    let kind = match error.kind() {
        TimedOut => FailureKind::Timeout,
        _ if connecting => FailureKind::Connect,
        ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof => FailureKind::Closed,
        _ => FailureKind::Connect,
    };
    if connecting {
        Failed::new(kind, what)
    } else {
        Failed::new(kind, format!("{what} {}", during(phase)))
    }
}

fn http_failed(error: &hyper::Error, links: &[&(dyn Error + 'static)], phase: Phase) -> Failed {
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        let text = format!("connection closed {}", during(phase));
        Failed::new(FailureKind::Closed, text)
    } else {
        let text = format!("malformed answer: {}", deepest(links));
        Failed::new(FailureKind::Malformed, text)
    }
}

fn during(phase: Phase) -> &'static str {
    match phase {
        Phase::Request => "before the answer",
        Phase::Body => "in the middle of the answer",
    }
}

/// An error and all that caused it. What an `io::Error` wraps is a link of its own, which
/// `source()` would skip.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut links = Vec::new();
    let mut next = Some(error);
    while let Some(link) = next {
        links.push(link);
        let wrapped = link.downcast_ref::<io::Error>().and_then(|io| io.get_ref());
        next = match wrapped {
            Some(inner) => Some(inner),
            None => link.source(),
        };
    }
    links
}

/// The deepest link of a type: closest to what went wrong.
fn find<'a, E: Error + 'static>(links: &[&'a (dyn Error + 'static)]) -> Option<&'a E> {
    links.iter().rev().find_map(|link| link.downcast_ref())
}

/// The first link is the HTTP client's own and names the URL; it is never shown.
fn deepest(links: &[&(dyn Error + 'static)]) -> String {
    match links {
        [_, .., last] => last.to_string(),
        _ => "the request could not be made".to_owned(),
    }
}

/// One line of bounded length: certificates and answers can put text into an error.
fn tidy(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MAX_ERROR_CHARS).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_one_bounded_line() {
        let text = tidy(&"a\r\nb\0".repeat(1000));
        assert_eq!(text.chars().count(), MAX_ERROR_CHARS);
        assert!(text.starts_with("a  b "));
    }

    #[test]
    fn a_time_out_says_what_it_waited_for() {
        let (limit, connect) = (Duration::from_secs(10), Duration::from_secs(5));
        assert_eq!(
            timed_out(limit, connect, Phase::Request).text,
            "time-out after 10s waiting for the answer"
        );
        assert_eq!(
            timed_out(connect, connect, Phase::Request).text,
            "time-out after 5s waiting for the connection or the answer"
        );
        assert_eq!(
            timed_out(limit, connect, Phase::Body).text,
            "time-out after 10s waiting for the rest of the answer"
        );
    }

    #[test]
    fn what_an_io_error_wraps_is_found() {
        let error = io::Error::other(DnsError::NotFound("a.example".to_owned()));
        let links = chain(&error);
        assert!(find::<DnsError>(&links).is_some());
    }
}
