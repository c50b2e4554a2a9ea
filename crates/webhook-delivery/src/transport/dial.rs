use std::{net::IpAddr, sync::Arc, time::Duration};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::{Target, TransportError, lease::Sender, race, socket::Socket, status_line::Reading};
use crate::{failure::Phase, tls::Tls};

/// How often an HTTP/2 connection in use is pinged, and how long the answer may take. One request's
/// time-out ends its stream, not the connection: without pings a dead one would be used again
/// and again.
const HTTP2_PING: Duration = Duration::from_secs(10);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(5);
/// What may arrive unread on an HTTP/2 stream, and on a connection: no more of an answer is read
/// than the first of them holds.
const HTTP2_STREAM_WINDOW: u32 = 64 * 1024;
const HTTP2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Header lines of an answer. Proxies add theirs.
const MAX_ANSWER_HEADERS: usize = 512;
/// Bytes of an answer's head, and of what is read ahead: several times what servers let a head have,
/// and little enough that reading heads up to it holds up nobody's deliveries.
const MAX_ANSWER_HEAD_BYTES: usize = 64 * 1024;

/// Opens connections.
pub(super) struct Dialer {
    /// HTTP/2, or HTTP/1.1 if the receiver prefers.
    tls: TlsConnector,
    tls_http1: TlsConnector,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Dialer {
    pub(super) fn new(tls: &Tls) -> Self {
        let with_alpn = |protocols: &[&[u8]]| {
            let mut config = tls.config.clone();
            config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
            TlsConnector::from(Arc::new(config))
        };
        let mut http1 = http1::Builder::new();
        // As leniently as RFC 9112 §5 lets a client read.
        http1
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .ignore_invalid_headers_in_responses(true)
            .max_headers(MAX_ANSWER_HEADERS)
            .max_buf_size(MAX_ANSWER_HEAD_BYTES)
            .title_case_headers(true);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(HTTP2_PING)
            .keep_alive_timeout(HTTP2_PING_TIMEOUT)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW);
        Self {
            tls: with_alpn(&[b"h2", b"http/1.1"]),
            tls_http1: with_alpn(&[b"http/1.1"]),
            http1,
            http2,
        }
    }

    /// Connects to one of these addresses and shakes hands; `http1` rules HTTP/2 out.
    pub(super) async fn dial(
        &self,
        target: &Target<'_>,
        addrs: &[IpAddr],
        http1: bool,
        phase: &mut Phase,
    ) -> Result<(Sender, IpAddr), TransportError> {
        *phase = Phase::Connecting;
        let tcp = race::connect(addrs, target.port())
            .await
            .map_err(TransportError::Connect)?;
        let peer = tcp.peer_addr().map_err(TransportError::Connect)?.ip();
        let socket = Socket::new(tcp);
        let spoke_tls = socket.spoke_tls();
        if !target.is_https() {
            return Ok((self.http1(socket, spoke_tls).await?, peer));
        }
        *phase = Phase::Handshake;
        let connector = if http1 { &self.tls_http1 } else { &self.tls };
        let stream = connector
            .connect(server_name(target)?, socket)
            .await
            .map_err(TransportError::Tls)?;
        let sender = if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            let (sender, connection) = self
                .http2
                .handshake(TokioIo::new(stream))
                .await
                .map_err(http)?;
            tokio::spawn(connection);
            Sender::Http2(sender)
        } else {
            self.http1(stream, Arc::default()).await?
        };
        Ok((sender, peer))
    }

    /// The connection's task ends with the connection, at the latest when nothing can send on it
    /// any more.
    async fn http1(
        &self,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        spoke_tls: Arc<std::sync::atomic::AtomicBool>,
    ) -> Result<Sender, TransportError> {
        let io = Reading::new(io);
        let status = io.status();
        let (sender, connection) = self.http1.handshake(TokioIo::new(io)).await.map_err(http)?;
        tokio::spawn(connection);
        Ok(Sender::Http1 {
            sender,
            spoke_tls,
            status,
        })
    }
}

fn http(source: hyper::Error) -> TransportError {
    TransportError::Http {
        source,
        spoke_tls: false,
    }
}

fn server_name(target: &Target<'_>) -> Result<ServerName<'static>, TransportError> {
    match (target.name(), target.addr()) {
        (Some(name), _) => {
            ServerName::try_from(name.to_owned()).map_err(|_| TransportError::TlsName)
        }
        (None, Some(addr)) => Ok(addr.into()),
        (None, None) => Err(TransportError::Url),
    }
}
