//! Network errors in words, and whose doing they are. Never the URL, whose path and query may be
//! credentials.

mod local;
mod tls;

use std::{error::Error, io, time::Duration};

use crate::{
    EndpointVerdict, LocalFault, Refusal, Verdict, attempt::MAX_ERROR_CHARS, dns::DnsError,
    tls::NO_ROOTS, transport::TransportError,
};
pub(crate) use local::local_fault;

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

/// A network error: to be counted, to be read, and to be acted on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) kind: FailureKind,
    pub(crate) text: String,
    pub(crate) verdict: Verdict,
}

impl Failed {
    /// Of a receiver from which no answer came.
    fn new(kind: FailureKind, text: impl AsRef<str>) -> Self {
        Self {
            kind,
            text: tidy(text.as_ref()),
            verdict: Verdict::SILENT,
        }
    }

    fn ourselves(kind: FailureKind, fault: LocalFault, text: impl AsRef<str>) -> Self {
        Self {
            verdict: Verdict::Ourselves(fault),
            ..Self::new(kind, text)
        }
    }
}

/// What an attempt is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Phase {
    /// The name's addresses.
    #[default]
    Resolving,
    /// The TCP connection.
    Connecting,
    /// The TLS handshake.
    Handshake,
    /// The answer's head.
    Answer,
}

/// A literal address that the guard refuses: it stays what it is.
pub(crate) fn refused_for_good(refusal: &Refusal) -> Failed {
    Failed {
        verdict: Verdict::refused(EndpointVerdict::Silent),
        ..refused(refusal)
    }
}

/// An https attempt on a machine that trusts nobody.
pub(crate) fn no_roots() -> Failed {
    let text = format!("tls: {NO_ROOTS}");
    Failed::ourselves(FailureKind::Tls, LocalFault::Roots, text)
}

/// An attempt that ran out of time while no name server said anything.
pub(crate) fn unanswered() -> Failed {
    let fault = LocalFault::Resolver;
    Failed::ourselves(FailureKind::Dns, fault, format!("dns: {fault}"))
}

/// An attempt that ran out of time, saying what it waited for.
pub(crate) fn timed_out(limit: Duration, phase: Phase) -> Failed {
    let waiting = match phase {
        Phase::Resolving => "resolving the name",
        Phase::Connecting => "connecting",
        Phase::Handshake => {
            "in the TLS handshake: the connection was accepted, and nothing came; does this port \
             speak TLS?"
        }
        Phase::Answer => "waiting for the answer",
    };
    let text = format!("time-out after {limit:?} {waiting}");
    Failed::new(FailureKind::Timeout, text)
}

/// What the transport reports, from the phase that it was in.
pub(crate) fn reported(error: &TransportError, phase: Phase) -> Failed {
    match error {
        TransportError::Refused(refusal) => refused(refusal),
        TransportError::Dns(error) => {
            let text = format!("dns: {error}");
            match error {
                DnsError::Unanswered(_) => {
                    Failed::ourselves(FailureKind::Dns, LocalFault::Resolver, text)
                }
                DnsError::Local(_, fault) => Failed::ourselves(FailureKind::Dns, *fault, text),
                DnsError::NotFound(_) | DnsError::TimedOut(_) | DnsError::Failed(..) => {
                    Failed::new(FailureKind::Dns, text)
                }
            }
        }
        TransportError::Connect(error) => connect_failed(error),
        TransportError::TimedOut(limit) => timed_out(*limit, phase),
        TransportError::Tls(error) => handshake_failed(error),
        TransportError::TlsName => {
            let text = "tls: no certificate can be for this host name; use another name of it";
            Failed::new(FailureKind::Tls, text)
        }
        TransportError::Url => {
            let text = "the URL's host or path cannot be sent as HTTP; percent-encode it";
            Failed::new(FailureKind::Other, text)
        }
        TransportError::Http {
            spoke_tls: true, ..
        } => {
            let text = "tls: the receiver speaks TLS on this port; write its URL with https://";
            Failed::new(FailureKind::Tls, text)
        }
        TransportError::Http { source, .. } => http_failed(source),
    }
}

/// Why HTTP/2 ended a request, if it did so with a reason.
pub(crate) fn http2_reason(error: &TransportError) -> Option<h2::Reason> {
    let TransportError::Http { source, .. } = error else {
        return None;
    };
    find::<h2::Error>(&chain(source))?.reason()
}

fn refused(refusal: &Refusal) -> Failed {
    Failed::new(FailureKind::Refused, format!("refused: {refusal}"))
}

fn connect_failed(error: &io::Error) -> Failed {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, TimedOut,
    };
    if let Some(fault) = local_fault(error) {
        return Failed::ourselves(FailureKind::Connect, fault, fault.to_string());
    }
    let what = match error.kind() {
        ConnectionRefused => "connection refused",
        ConnectionReset => "connection reset while connecting",
        HostUnreachable => "host unreachable",
        NetworkUnreachable => "network unreachable",
        TimedOut => return Failed::new(FailureKind::Timeout, "time-out of the connection"),
        _ => return Failed::new(FailureKind::Connect, format!("connection failed: {error}")),
    };
    Failed::new(FailureKind::Connect, what)
}

fn handshake_failed(error: &io::Error) -> Failed {
    let links = chain(error);
    let text = match find::<rustls::Error>(&links) {
        Some(error) => tls::explain(error),
        None => tls::CLOSED.to_owned(),
    };
    Failed::new(FailureKind::Tls, format!("tls: {text}"))
}

fn http_failed(error: &hyper::Error) -> Failed {
    let links = chain(error);
    if let Some(reason) = find::<h2::Error>(&links).and_then(h2::Error::reason) {
        let text = format!("connection reset before the answer (HTTP/2: {reason})");
        return Failed::new(FailureKind::Closed, text);
    }
    // A record that ends early, or an alert.
    if let Some(error) = find::<rustls::Error>(&links) {
        return Failed::new(FailureKind::Tls, format!("tls: {}", tls::explain(error)));
    }
    if let Some(io) = find::<io::Error>(&links) {
        return io_failed(io);
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return Failed::new(FailureKind::Closed, "connection closed before the answer");
    }
    let text = format!("malformed answer: {}", deepest(&links));
    Failed::new(FailureKind::Malformed, text)
}

fn io_failed(error: &io::Error) -> Failed {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, HostUnreachable, InvalidData, InvalidInput,
        NetworkUnreachable, TimedOut, UnexpectedEof,
    };
    let (kind, what) = match error.kind() {
        ConnectionReset | ConnectionAborted | BrokenPipe => {
            (FailureKind::Closed, "connection reset before the answer")
        }
        UnexpectedEof => (FailureKind::Closed, "connection closed before the answer"),
        HostUnreachable => (FailureKind::Connect, "host unreachable before the answer"),
        NetworkUnreachable => (
            FailureKind::Connect,
            "network unreachable before the answer",
        ),
        TimedOut => (
            FailureKind::Timeout,
            "time-out of the connection before the answer",
        ),
        // How broken framing is reported.
        InvalidData | InvalidInput => {
            let text = format!("malformed answer: {error}");
            return Failed::new(FailureKind::Malformed, text);
        }
        _ => return Failed::new(FailureKind::Other, format!("connection failed: {error}")),
    };
    Failed::new(kind, what)
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

/// The last link says most.
fn deepest(links: &[&(dyn Error + 'static)]) -> String {
    links
        .last()
        .map(|last| last.to_string())
        .unwrap_or_default()
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
        let limit = Duration::from_secs(10);
        for (phase, text) in [
            (Phase::Resolving, "time-out after 10s resolving the name"),
            (Phase::Connecting, "time-out after 10s connecting"),
            (Phase::Answer, "time-out after 10s waiting for the answer"),
        ] {
            assert_eq!(timed_out(limit, phase).text, text);
        }
        let handshake = timed_out(limit, Phase::Handshake).text;
        assert!(handshake.starts_with("time-out after 10s in the TLS handshake: "));
    }

    #[test]
    fn what_an_io_error_wraps_is_found() {
        let error = io::Error::other(DnsError::NotFound("a.example".to_owned()));
        let links = chain(&error);
        assert!(find::<DnsError>(&links).is_some());
    }
}
