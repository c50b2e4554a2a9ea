use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A TCP connection on which the answer goes before what became of the request.
///
/// A receiver may answer and close before it has read everything (413, 401), and then a write
/// fails while the answer waits to be read. Such a failure is therefore told by the next read, after
/// whatever has arrived.
pub(super) struct Socket {
    tcp: TcpStream,
    write_failed: Option<io::ErrorKind>,
    begun: bool,
    spoke_tls: Arc<AtomicBool>,
}

impl Socket {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self {
            tcp,
            write_failed: None,
            begun: false,
            spoke_tls: Arc::default(),
        }
    }

    /// Becomes true when the other side's first bytes are a TLS record.
    pub(super) fn spoke_tls(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.spoke_tls)
    }

    /// What a write came to, with the failures that a read is to tell.
    fn wrote(&mut self, result: io::Result<usize>, asked: usize) -> io::Result<usize> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        match result {
            Err(error) if matches!(error.kind(), BrokenPipe | ConnectionReset) => {
                // A reset says more than the broken pipes that come after it.
                self.write_failed.get_or_insert(error.kind());
                Ok(asked)
            }
            result => result,
        }
    }
}

/// Alerts and handshakes (RFC 8446 §5.1) of any version so far.
fn is_tls_record(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, 0x03, ..])
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        if read.is_empty() && buf.remaining() > 0 {
            return Poll::Ready(self.write_failed.map_or(Ok(()), |kind| Err(kind.into())));
        }
        if !self.begun && !read.is_empty() {
            self.begun = true;
            if is_tls_record(read) {
                self.spoke_tls.store(true, Ordering::Relaxed);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.tcp).poll_write(cx, buf));
        Poll::Ready(self.wrote(result, buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs));
        let asked = bufs.iter().map(|buf| buf.len()).sum();
        Poll::Ready(self.wrote(result, asked))
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
