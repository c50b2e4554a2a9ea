//! A webhook receiver that verifies what it gets: behind `decnet listen`, and in the demo.

mod answer;
pub(crate) mod print;
mod seen;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use webhook_delivery::{
    EVENT_ID, EVENT_TOPIC, SIGNATURE,
    verify::{Scheme, Verifier},
};
use webhook_model::UtcTime;

pub(crate) use self::answer::Answers;
use self::seen::Seen;

/// Longest body that is read: an event of 1 MiB, and room for what our own envelope adds.
const MAX_BODY_BYTES: usize = (1 << 20) + (64 << 10);
/// Connections at once; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 1_024;
/// Longest wait for a request's head, which also ends idle connections.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait for a body; senders give up after 10 s.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Deliveries that wait to be printed. A full queue holds the answers back, so that nothing is
/// acknowledged that could not be shown.
const QUEUE: usize = 1_024;
/// Pause after a failed accept, which is what running out of files looks like.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long requests in progress may take after the order to stop.
const GRACE: Duration = Duration::from_secs(2);

/// One request as it was judged.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) at: UtcTime,
    pub(crate) event_id: String,
    pub(crate) topic: String,
    /// Whether both signatures match; `None` when no secret was given to check with.
    pub(crate) verified: Option<Result<(), String>>,
    /// Whether an event with this id was accepted before.
    pub(crate) duplicate: bool,
    /// What was answered.
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// A bound receiver.
pub(crate) struct Receiver {
    listener: TcpListener,
    addr: SocketAddr,
    judge: Arc<Judge>,
}

impl Receiver {
    /// Listens on `addr`. Without a verifier nothing can be checked, and everything is taken.
    pub(crate) async fn bind(
        addr: SocketAddr,
        verifier: Option<Verifier>,
        answers: Answers,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let judge = Judge {
            verifier,
            answers,
            seen: Mutex::default(),
        };
        Ok(Self {
            listener,
            addr,
            judge: Arc::new(judge),
        })
    }

    /// Where it listens, with the port that port 0 became.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A queue of the right size for what [`run`](Self::run) hands over.
    pub(crate) fn queue() -> (mpsc::Sender<Delivery>, mpsc::Receiver<Delivery>) {
        mpsc::channel(QUEUE)
    }

    /// Receives until `shutdown`, then lets requests in progress end.
    pub(crate) async fn run(self, deliveries: mpsc::Sender<Delivery>, shutdown: CancellationToken) {
        let connections = TaskTracker::new();
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let next = async {
                let permit = permits.clone().acquire_owned().await;
                (permit, self.listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                () = shutdown.cancelled() => break,
                next = next => next,
            };
            let Ok((stream, _)) = accepted else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let serving = connection(
                stream,
                self.judge.clone(),
                deliveries.clone(),
                shutdown.clone(),
            );
            connections.spawn(async move {
                let _permit = permit;
                serving.await;
            });
        }
        connections.close();
        // What takes longer is cut off when the runtime ends.
        let _ = tokio::time::timeout(GRACE, connections.wait()).await;
    }
}

async fn connection(
    stream: TcpStream,
    judge: Arc<Judge>,
    deliveries: mpsc::Sender<Delivery>,
    shutdown: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let (judge, deliveries) = (judge.clone(), deliveries.clone());
        async move { Ok::<_, std::convert::Infallible>(judge.handle(request, &deliveries).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    // A sender that hangs up in the middle is its own affair.
    tokio::select! {
        _ = &mut serving => return,
        () = shutdown.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

/// Decides what a request is worth.
struct Judge {
    verifier: Option<Verifier>,
    answers: Answers,
    seen: Mutex<Seen>,
}

impl Judge {
    async fn handle(
        &self,
        request: Request<Incoming>,
        deliveries: &mpsc::Sender<Delivery>,
    ) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "this receiver takes POST");
            answer
                .headers_mut()
                .insert(header::ALLOW, header::HeaderValue::from_static("POST"));
            return answer;
        }
        let (head, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES).collect();
        let body = match tokio::time::timeout(BODY_TIMEOUT, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => {
                return plain(StatusCode::PAYLOAD_TOO_LARGE, "body over 1 MiB, or cut off");
            }
            Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the body took too long"),
        };
        let delivery = self.judge(&head.headers, body);
        let status = delivery.status;
        sleep(self.answers.delay).await;
        // Handed over before it is answered: what was acknowledged has been shown.
        let _ = deliveries.send(delivery).await;
        plain(status, "")
    }

    fn judge(&self, headers: &HeaderMap, body: Bytes) -> Delivery {
        let now = UtcTime::now();
        let text = |name| {
            headers
                .get(name)
                .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
        };
        let event_id = text(EVENT_ID).unwrap_or_default();
        let verified = self
            .verifier
            .as_ref()
            .map(|verifier| check(verifier, headers, &body, now, &event_id));
        let status = match &verified {
            Some(Err(_)) => StatusCode::UNAUTHORIZED,
            _ => self.answers.status(),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // An id that nobody vouches for says nothing about an earlier one.
        let duplicate = match &verified {
            Some(Err(_)) => false,
            _ if event_id.is_empty() => false,
            _ if status.is_success() => !seen.insert(&event_id),
            _ => seen.contains(&event_id),
        };
        drop(seen);
        Delivery {
            at: now,
            event_id,
            topic: text(EVENT_TOPIC).unwrap_or_default(),
            verified,
            duplicate,
            status,
            body,
        }
    }
}

/// Both signatures, and that the id which is shown is the one that was signed.
fn check(
    verifier: &Verifier,
    headers: &HeaderMap,
    body: &[u8],
    now: UtcTime,
    event_id: &str,
) -> Result<(), String> {
    let verified = verifier
        .verify(headers, body, now)
        .map_err(|error| error.to_string())?;
    if verified.scheme != Scheme::Both {
        return Err(format!("header {SIGNATURE} is missing"));
    }
    if verified.id.as_deref() != Some(event_id) {
        return Err(format!("{EVENT_ID} is not the id that was signed"));
    }
    Ok(())
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    answer
}
