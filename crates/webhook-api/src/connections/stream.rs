//! A connection's socket, which ends when the registry says so.
//!
//! It also gives a body to what actix answers by itself: to a request that it cannot read, or that
//! does not arrive, it answers with a bare status, and no handler hears of it.

use std::{
    io,
    net::Shutdown,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use actix_web::{http::StatusCode, web::Bytes};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{
    Connection, Connections,
    connection::{Ended, MayRead},
};
use crate::problem::Problem;

/// What is read from a socket at a time, and kept while it is not wanted.
const READ_BYTES: usize = 4 << 10;

/// A socket with a place among the connections.
pub(crate) struct Guarded {
    socket: Arc<TcpStream>,
    pub(crate) connection: Arc<Connection>,
    connections: Arc<Connections>,
    /// What is written instead of a bare answer, and how much of it is.
    instead: Option<(Vec<u8>, usize)>,
    /// What came with the head of a request and is not for actix yet.
    ahead: Bytes,
    head: HeadEnd,
    /// Whether actix has to look at what it read before it reads more.
    has_enough: bool,
    /// Whether actix wanted to read when it should not.
    is_held: bool,
}

impl Guarded {
    /// None where there is no place for another connection.
    pub(crate) fn admit(socket: TcpStream, connections: &Arc<Connections>) -> Option<Self> {
        let peer = socket.peer_addr().ok()?;
        // Answers are written whole; a delayed part would wait for nothing. Without it they are
        // only slower.
        let _ = socket.set_nodelay(true);
        let connection = connections.admit(peer, Instant::now())?;
        let socket = Arc::new(socket);
        connection.is_on(&socket);
        Some(Self {
            connection,
            connections: Arc::clone(connections),
            socket,
            instead: None,
            ahead: Bytes::new(),
            head: HeadEnd::default(),
            has_enough: false,
            is_held: false,
        })
    }

    /// What the socket has; nothing at its end.
    fn poll_socket(&self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut bytes = [0; READ_BYTES];
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            match self.socket.try_read(&mut bytes) {
                Ok(count) => return Poll::Ready(Ok(Bytes::copy_from_slice(&bytes[..count]))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn ended(&self) -> Result<(), io::Error> {
        match self.connection.ended() {
            None | Some(Ended::Drained) => Ok(()),
            Some(Ended::GaveWay | Ended::TooSlow) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    /// A problem in the place of what actix says by itself.
    fn instead_of(&self, answer: &[u8]) -> Option<Vec<u8>> {
        if self.connection.is_answering() {
            return None;
        }
        let problem = bare(answer)?;
        self.connections.stats.unreadable(problem.status().as_u16());
        let peer = self.connection.peer;
        tracing::debug!(%peer, status = %problem.status(), "request refused: it cannot be read");
        Some(problem.into_bytes())
    }
}

/// What an answer without a body stands for.
fn bare(answer: &[u8]) -> Option<Problem> {
    let head = std::str::from_utf8(answer.strip_suffix(b"\r\n\r\n")?).ok()?;
    let (status, headers) = head.split_once("\r\n")?;
    let status = status.strip_prefix("HTTP/1.1 ")?.split(' ').next()?;
    let is_empty = headers
        .split("\r\n")
        .any(|header| header.eq_ignore_ascii_case("content-length: 0"));
    let problem = match StatusCode::from_bytes(status.as_bytes()).ok()? {
        StatusCode::BAD_REQUEST => Problem::Unreadable,
        StatusCode::REQUEST_TIMEOUT => Problem::HeadTimeout,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Problem::HeadTooLarge,
        _ => return None,
    };
    is_empty.then_some(problem)
}

/// Finds the empty line that ends a request's head. Where it is mistaken, actix only has to look once
/// more: an empty line before a request says nothing.
#[derive(Debug, Default)]
struct HeadEnd {
    /// Whether a line has just ended.
    line_ended: bool,
}

impl HeadEnd {
    /// How many of these bytes, which follow those of the call before, are the head's.
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' if self.line_ended => {
                    self.line_ended = false;
                    return Some(at + 1);
                }
                b'\n' => self.line_ended = true,
                b'\r' => {}
                _ => self.line_ended = false,
            }
        }
        None
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.ended()?;
        if self.connection.ended().is_some() {
            // As if the client had closed its half: what is being answered is answered.
            return Poll::Ready(Ok(()));
        }
        if self.has_enough {
            self.has_enough = false;
            cx.waker().wake_by_ref();
            self.connection.is_held(cx.waker());
            return Poll::Pending;
        }
        let may_read = self.connection.may_read();
        if may_read == MayRead::Nothing {
            self.is_held = true;
            self.connection.is_held(cx.waker());
            return Poll::Pending;
        }
        if self.ahead.is_empty() {
            match self.poll_socket(cx) {
                Poll::Ready(read) => self.ahead = read?,
                Poll::Pending => {
                    self.connection.waits(cx.waker());
                    return Poll::Pending;
                }
            }
        }
        let this = &mut *self;
        let here = this.ahead.len().min(buf.remaining());
        let count = match may_read {
            MayRead::Nothing => 0,
            MayRead::Body(most) => here.min(most),
            MayRead::Head => {
                if here > 0 {
                    this.connection.asks();
                }
                let end = this.head.find(&this.ahead[..here]);
                this.has_enough = end.is_some();
                end.unwrap_or(here)
            }
        };
        if let MayRead::Body(most) = may_read {
            this.has_enough = count == most;
            this.connection.has_read(count);
        }
        buf.put_slice(&this.ahead.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        answer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.ended()?;
        if self.instead.is_none() {
            self.instead = self.instead_of(answer).map(|problem| (problem, 0));
        }
        let this = &mut *self;
        loop {
            let rest = match &this.instead {
                Some((problem, written)) if *written == problem.len() => {
                    this.instead = None;
                    return Poll::Ready(Ok(answer.len()));
                }
                Some((problem, written)) => &problem[*written..],
                None => answer,
            };
            let written = match this.socket.poll_write_ready(cx)? {
                Poll::Ready(()) => match this.socket.try_write(rest) {
                    Ok(written) => written,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Poll::Ready(Err(error)),
                },
                Poll::Pending => {
                    this.connection.stalls(cx.waker());
                    return Poll::Pending;
                }
            };
            this.connection.progresses(written);
            match &mut this.instead {
                Some((_, so_far)) => *so_far += written,
                None => return Poll::Ready(Ok(written)),
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.flushed();
        if self.is_held && !self.connection.is_answering() {
            self.is_held = false;
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match SockRef::from(&*self.socket).shutdown(Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.connections.closed(&self.connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line_however_it_comes() {
        for text in [
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\nHost: x\n\n",
        ] {
            let mut whole = HeadEnd::default();
            let two = [text, text].concat();
            assert_eq!(whole.find(two.as_bytes()), Some(text.len()));
            for cut in 1..text.len() {
                let mut parts = HeadEnd::default();
                assert_eq!(parts.find(&text.as_bytes()[..cut]), None, "{cut}");
                let rest = &two.as_bytes()[cut..];
                assert_eq!(parts.find(rest), Some(text.len() - cut), "{cut}");
            }
        }
    }
}
