//! A connection's socket, which ends when the registry says so.
//!
//! It also gives a body to what actix answers by itself: to a request that it cannot read, or that
//! does not arrive, it answers with a bare status, and no handler hears of it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use actix_web::http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{Connection, Connections, connection::Ended};
use crate::problem::Problem;

/// A socket with a place among the connections.
pub(crate) struct Guarded {
    socket: TcpStream,
    pub(crate) connection: Arc<Connection>,
    connections: Arc<Connections>,
    /// What is written instead of a bare answer, and how much of it is.
    instead: Option<(Vec<u8>, usize)>,
}

impl Guarded {
    /// None where there is no place for another connection.
    pub(crate) fn admit(socket: TcpStream, connections: &Arc<Connections>) -> Option<Self> {
        let peer = socket.peer_addr().ok()?;
        // Answers are written whole; a delayed part would wait for nothing. Without it they are
        // only slower.
        let _ = socket.set_nodelay(true);
        Some(Self {
            connection: connections.admit(peer, Instant::now())?,
            connections: Arc::clone(connections),
            socket,
            instead: None,
        })
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
        let read = Pin::new(&mut self.socket).poll_read(cx, buf);
        if read.is_pending() {
            self.connection.waits(cx.waker());
        }
        read
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
            let written = match Pin::new(&mut this.socket).poll_write(cx, rest) {
                Poll::Ready(written) => written?,
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
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        self.connection.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.connections.closed(&self.connection);
    }
}
