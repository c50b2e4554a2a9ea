//! Receivers that do not want HTTP/2 for a request, or not on that connection.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use h2::{Reason, server};
use rustls::{ServerConfig, crypto::ring};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use webhook_delivery::{DeliveryClient, DeliveryConfig, Verdict};

use crate::{LONG, attempt_url, client_with, error, wire};

/// What becomes of a request over HTTP/2.
#[derive(Clone, Copy)]
enum Then {
    Answer,
    Reset(Reason),
}

/// The connection that says at its first request that it goes away and has processed none.
#[derive(Clone, Copy)]
struct GoesAway(Reason);

/// Takes everything over HTTP/1.1; over HTTP/2 does with request number `n` as it is told.
struct Server {
    url: String,
    client: DeliveryClient,
    http1: Arc<AtomicUsize>,
    http2: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

async fn server(then: impl Fn(usize) -> Then + Clone + Send + 'static) -> Server {
    server_with(None, then).await
}

/// One whose first connection may go away.
async fn server_with(
    first: Option<GoesAway>,
    then: impl Fn(usize) -> Then + Clone + Send + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/T0KEN", listener.local_addr().unwrap());
    let (certificate, key) = webhook_testkit::self_signed(&["127.0.0.1"]);
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tls = TlsAcceptor::from(Arc::new(config));
    let [http1, http2, connections] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
    let mut accepting = JoinSet::new();
    accepting.spawn({
        let (http1, http2) = (Arc::clone(&http1), Arc::clone(&http2));
        let connections = Arc::clone(&connections);
        async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let number = connections.fetch_add(1, Ordering::SeqCst);
                let stream = tls.accept(stream).await.unwrap();
                if let (0, Some(goes)) = (number, first) {
                    serving.spawn(go_away(stream, goes));
                } else if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    serving.spawn(speak_http2(stream, Arc::clone(&http2), then.clone()));
                } else {
                    serving.spawn(speak_http1(stream, Arc::clone(&http1)));
                }
            }
        }
    });
    Server {
        url,
        client: client_with(DeliveryConfig {
            extra_roots: vec![certificate],
            ..DeliveryConfig::default()
        }),
        http1,
        http2,
        connections,
        _accepting: accepting,
    }
}

async fn speak_http1(mut stream: TlsStream<TcpStream>, count: Arc<AtomicUsize>) {
    while wire::read_request(&mut stream).await.is_some() {
        count.fetch_add(1, Ordering::SeqCst);
        let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream.flush().await.unwrap();
    }
}

async fn speak_http2(
    stream: TlsStream<TcpStream>,
    count: Arc<AtomicUsize>,
    then: impl Fn(usize) -> Then,
) {
    let mut connection = server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        assert!(request.headers().get("host").is_none());
        match then(count.fetch_add(1, Ordering::SeqCst)) {
            Then::Answer => {
                let mut response = http::Response::new(());
                *response.status_mut() = http::StatusCode::NO_CONTENT;
                respond.send_response(response, true).unwrap();
            }
            Then::Reset(reason) => respond.send_reset(reason),
        }
    }
}

/// Frame by frame: a library would process the request first.
async fn go_away(mut stream: TlsStream<TcpStream>, GoesAway(reason): GoesAway) {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(&SETTINGS).await.unwrap();
    stream.flush().await.unwrap();
    // Preface, settings and request come in any number of pieces.
    let mut seen = Vec::new();
    while !has_request(&seen) {
        seen.extend(wire::read_some(&mut stream).await);
    }
    // Eight bytes on stream 0: the last stream that was processed, which is none, and why.
    let mut frame = vec![0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    frame.extend(u32::from(reason).to_be_bytes());
    stream.write_all(&frame).await.unwrap();
    stream.flush().await.unwrap();
    wire::drain(&mut stream).await;
}

/// Whether there is a HEADERS frame behind the preface (RFC 9113 §3.4, §4.1).
fn has_request(seen: &[u8]) -> bool {
    const HEADERS: u8 = 1;
    let mut rest = seen
        .get("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()..)
        .unwrap_or_default();
    while let [a, b, c, kind, ..] = rest {
        if *kind == HEADERS {
            return true;
        }
        let length = 9 + u32::from_be_bytes([0, *a, *b, *c]) as usize;
        rest = rest.get(length..).unwrap_or_default();
    }
    false
}

impl Server {
    async fn check(&self, status: u16) {
        let attempt = attempt_url(&self.client, &self.url, LONG).await;
        assert_eq!(
            (attempt.verdict, attempt.status),
            (Verdict::DELIVERED, Some(status)),
            "{attempt:?}"
        );
    }

    /// Requests over HTTP/1.1 and HTTP/2, and connections.
    fn counts(&self) -> (usize, usize, usize) {
        let count = |it: &AtomicUsize| it.load(Ordering::SeqCst);
        (
            count(&self.http1),
            count(&self.http2),
            count(&self.connections),
        )
    }
}

#[tokio::test]
async fn http_1_1_where_http_2_is_refused() {
    let reset = server(|_| Then::Reset(Reason::HTTP_1_1_REQUIRED)).await;
    // Within the attempt, and remembered for those that follow.
    reset.check(202).await;
    assert_eq!(reset.counts(), (1, 1, 2));
    reset.check(202).await;
    assert_eq!(reset.counts(), (2, 1, 2));

    let away = GoesAway(Reason::HTTP_1_1_REQUIRED);
    let server = server_with(Some(away), |_| Then::Answer).await;
    server.check(202).await;
    server.check(202).await;
    assert_eq!(server.counts(), (2, 0, 2));
}

#[tokio::test]
async fn a_request_that_was_not_processed_is_repeated_once() {
    let refused_once = server(|n| match n {
        1 => Then::Reset(Reason::REFUSED_STREAM),
        _ => Then::Answer,
    })
    .await;
    for _ in 0..3 {
        refused_once.check(204).await;
    }
    assert_eq!(refused_once.counts(), (0, 4, 2));

    let away = server_with(Some(GoesAway(Reason::NO_ERROR)), |_| Then::Answer).await;
    away.check(204).await;
    assert_eq!(away.counts(), (0, 1, 2));

    let server = server(|_| Then::Reset(Reason::REFUSED_STREAM)).await;
    let refused = attempt_url(&server.client, &server.url, LONG).await;
    assert_eq!((refused.verdict, refused.status), (Verdict::SILENT, None));
    assert!(error(&refused).starts_with("connection reset before the answer (HTTP/2: "));
    assert_eq!(server.counts(), (0, 2, 2));
}

/// A reset of one stream is a failure on a kept connection.
#[tokio::test]
async fn a_failure_ends_the_use_of_a_shared_connection() {
    let server = server(|n| match n {
        1 => Then::Reset(Reason::INTERNAL_ERROR),
        _ => Then::Answer,
    })
    .await;
    server.check(204).await;
    let failed = attempt_url(&server.client, &server.url, LONG).await;
    assert_eq!((failed.verdict, failed.status), (Verdict::SILENT, None));
    server.check(204).await;
    assert_eq!(server.counts(), (0, 3, 2));
}

/// Nobody knows of HTTP/2 at first: whoever comes second to the same origin joins the first.
#[tokio::test]
async fn attempts_that_begin_together_end_on_one_connection() {
    let server = server(|_| Then::Answer).await;
    futures_util::future::join_all((0..20).map(|_| server.check(204))).await;
    let (_, requests, connections) = server.counts();
    assert_eq!(requests, 20);
    server.check(204).await;
    assert_eq!(server.counts(), (0, 21, connections));
}
