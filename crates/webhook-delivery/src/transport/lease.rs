use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use tokio::time::Instant;

use super::{TransportError, pool::Connection, status_line::SeenStatus};

/// What is sent: whole, so that it can be sent again.
pub(crate) type Body = Full<Bytes>;

/// How an exchange ended.
pub(crate) enum Answered {
    /// With the head of an answer.
    Head(Response<Incoming>),
    /// The connection had ended before the request was sent.
    Unsent(TransportError),
    /// With a status, and nothing after it that is HTTP.
    Status(StatusCode),
    /// Without an answer.
    Failed(TransportError),
}

/// The sending end of a connection.
pub(crate) enum Sender {
    Http1 {
        sender: http1::SendRequest<Body>,
        spoke_tls: Arc<AtomicBool>,
        status: SeenStatus,
    },
    Http2(http2::SendRequest<Body>),
}

impl Connection for Sender {
    fn is_open(&self) -> bool {
        match self {
            Self::Http1 { sender, .. } => sender.is_ready(),
            Self::Http2(sender) => sender.is_ready(),
        }
    }

    fn shared(&self) -> Option<Self> {
        match self {
            Self::Http1 { .. } => None,
            Self::Http2(sender) => Some(Self::Http2(sender.clone())),
        }
    }
}

/// A connection as one exchange has it.
pub(crate) struct Lease<C = Sender> {
    pub(super) connection: C,
    pub(super) opened: Instant,
    pub(super) peer: IpAddr,
    /// Of its origin, when it was opened.
    pub(super) generation: u64,
    /// Whether it served another exchange before.
    pub(super) kept: bool,
}

impl<C: Connection> Lease<C> {
    /// Another lease of the same connection, where exchanges share one.
    pub(super) fn shared(&self) -> Option<Self> {
        Some(Self {
            connection: self.connection.shared()?,
            ..*self
        })
    }
}

impl Lease {
    /// Whether it served another exchange before.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept
    }

    /// One exchange, up to the head of its answer.
    pub(crate) async fn send(&mut self, mut request: Request<Body>) -> Answered {
        let (result, spoke_tls) = match &mut self.connection {
            Sender::Http1 {
                sender,
                spoke_tls,
                status,
            } => {
                origin_form(&mut request);
                status.reset();
                let result = sender.try_send_request(request).await;
                if let (Err(_), Some(status)) = (&result, status.get()) {
                    return Answered::Status(status);
                }
                (result, spoke_tls.load(Ordering::Relaxed))
            }
            Sender::Http2(sender) => {
                // The URI says it.
                request.headers_mut().remove(http::header::HOST);
                (sender.try_send_request(request).await, false)
            }
        };
        result.map_or_else(|error| failed(error, spoke_tls), Answered::Head)
    }

    /// Waits until the exchange is over on this side, too; whether another can follow.
    pub(crate) async fn is_reusable(&mut self) -> bool {
        match &mut self.connection {
            Sender::Http1 { sender, .. } => sender.ready().await.is_ok(),
            // It is in the pool since it was opened.
            Sender::Http2(_) => false,
        }
    }
}

fn failed(mut error: TrySendError<Request<Body>>, spoke_tls: bool) -> Answered {
    let unsent = error.take_message().is_some();
    let source = error.into_error();
    let error = TransportError::Http { source, spoke_tls };
    if unsent {
        Answered::Unsent(error)
    } else {
        Answered::Failed(error)
    }
}

fn origin_form(request: &mut Request<Body>) {
    if let Some(path) = request.uri().path_and_query() {
        *request.uri_mut() = Uri::from(path.clone());
    }
}
