//! Reads along on an HTTP/1 connection for the status that an answer begins with: it decides, also
//! where what follows is no HTTP, and the parser has nothing but an error to tell.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Longest status line that is looked at; the status is in its first 12 bytes.
const LONGEST: usize = 1_024;
/// What a status line has at least: `HTTP/1.1 200`.
const SHORTEST: usize = 12;

/// The status of the answer under way. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SeenStatus(Arc<AtomicU32>);

impl SeenStatus {
    /// No status yet, and bytes of the next answer may come.
    const NONE: u32 = 0;

    /// A request is about to be sent.
    pub(super) fn reset(&self) {
        self.0.store(Self::NONE, Ordering::Relaxed);
    }

    /// The status that the answer begins with, if its line has come. An interim one (1xx) is none.
    pub(super) fn get(&self) -> Option<StatusCode> {
        let code = u16::try_from(self.0.load(Ordering::Relaxed)).ok()?;
        StatusCode::from_u16(code)
            .ok()
            .filter(|it| !it.is_informational())
    }

    fn set(&self, status: u16) {
        self.0.store(status.into(), Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) != Self::NONE
    }
}

/// A connection that is read along on.
pub(super) struct Reading<S> {
    io: S,
    status: SeenStatus,
    line: Vec<u8>,
}

impl<S> Reading<S> {
    pub(super) fn new(io: S) -> Self {
        Self {
            io,
            status: SeenStatus::default(),
            line: Vec::new(),
        }
    }

    pub(super) fn status(&self) -> SeenStatus {
        self.status.clone()
    }

    fn saw(&mut self, bytes: &[u8]) {
        if self.status.is_set() {
            self.line.clear();
            return;
        }
        let room = LONGEST.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let Some(end) = self.line.iter().position(|&byte| byte == b'\n') else {
            return;
        };
        if let Some(status) = parse(&self.line[..end]) {
            self.status.set(status);
        }
        self.line.clear();
    }
}

/// RFC 9112 §4: the version, a space, three digits, and then a space or the end.
fn parse(line: &[u8]) -> Option<u16> {
    let (start, rest) = line.split_at_checked(SHORTEST)?;
    let digits = start.strip_prefix(b"HTTP/1.")?.get(2..)?;
    let ends = matches!(rest.first(), None | Some(b' ' | b'\r'));
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    ends.then_some(number)
}

impl<S: AsyncRead + Unpin> AsyncRead for Reading<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.saw(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Reading<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(parts: &[&str]) -> Option<u16> {
        let mut reading = Reading::new(());
        let status = reading.status();
        parts.iter().for_each(|part| reading.saw(part.as_bytes()));
        status.get().map(|it| it.as_u16())
    }

    #[test]
    fn a_whole_status_line_is_seen_and_nothing_less() {
        for (parts, expected) in [
            (&["HTTP/1.1 200 OK\r\nx"][..], Some(200)),
            (&["HTT", "P/1.0 40", "4\n", "HTTP/1.1 200\r\n"], Some(404)),
            (&["HTTP/1.1 200\r\n"], Some(200)),
            (&["HTTP/1.1 200 OK"], None),
            (&["HTTP/1.1 100 Continue\r\n"], None),
            (&["HTTP/1.1 2000\r\n"], None),
            (&["HTTP/2.0 200\r\n"], None),
            (&["220 mail.example ESMTP\r\n"], None),
            (&["\n"], None),
        ] {
            assert_eq!(seen(parts), expected, "{parts:?}");
        }
    }
}
