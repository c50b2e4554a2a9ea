//! What goes wrong below HTTP, and what is said about it.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use webhook_delivery::{DeliveryConfig, Verdict};
use webhook_testkit::{Behaviour, End, Receiver};

use crate::{LONG, SHORT, attempt, attempt_url, client, client_with, error};

const RETRY: Verdict = Verdict::SILENT;

#[tokio::test]
async fn a_closed_port() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    receiver.down().await;
    let refused = attempt(&receiver, LONG).await;
    assert_eq!((refused.verdict, refused.status), (RETRY, None));
    assert_eq!(error(&refused), "connection refused");
    receiver.up().await.unwrap();
    assert_eq!(attempt(&receiver, LONG).await.verdict, Verdict::DELIVERED);
}

#[tokio::test]
async fn no_answer_at_all() {
    let receiver = Receiver::start(Behaviour::HangBeforeAnswer).await;
    let attempt = attempt(&receiver, SHORT).await;
    assert_eq!((attempt.verdict, attempt.status), (RETRY, None));
    let text = "time-out after 300ms waiting for the answer";
    assert_eq!(error(&attempt), text);
    assert!(attempt.duration >= SHORT && attempt.duration < LONG);
}

#[tokio::test]
async fn connections_that_end_early() {
    let cut = |text: &'static str, end| Behaviour::RawThen(text.into(), end);
    for (behaviour, text) in [
        (
            Behaviour::ResetBeforeAnswer,
            "connection reset before the answer",
        ),
        (
            Behaviour::CloseBeforeAnswer,
            "connection closed before the answer",
        ),
        (
            cut("HTTP/1.1 20", End::Abrupt),
            "connection closed before the answer",
        ),
        (
            cut("HTTP/1.1 20", End::HalfClosed),
            "connection closed before the answer",
        ),
        (
            cut("HTTP/1.1 20", End::Reset),
            "connection reset before the answer",
        ),
        (
            cut("", End::HalfClosed),
            "connection closed before the answer",
        ),
        (
            cut("HTTP/1.1 100 Continue\r\n\r\n", End::Abrupt),
            "connection closed before the answer",
        ),
    ] {
        let receiver = Receiver::start(behaviour).await;
        let attempt = attempt(&receiver, LONG).await;
        assert_eq!((attempt.verdict, attempt.status), (RETRY, None), "{text}");
        assert_eq!(error(&attempt), text);
    }
}

#[tokio::test]
async fn answers_that_are_no_http() {
    for raw in [
        Behaviour::broken_http(),
        Behaviour::Raw(Bytes::from_static(b"HTTP/1.1 abc OK\r\n\r\n")),
        Behaviour::Raw(Bytes::from_static(b"HTTP/1.1 20 OK\r\n\r\n")),
    ] {
        let receiver = Receiver::start(raw).await;
        let attempt = attempt(&receiver, LONG).await;
        assert_eq!(attempt.verdict, RETRY);
        let text = error(&attempt);
        assert!(text.starts_with("malformed answer: "), "{text}");
    }
}

/// Accepts into its backlog and says nothing, so that a TLS handshake never ends.
#[tokio::test]
async fn a_connection_that_is_never_made() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client_with(DeliveryConfig {
        connect_timeout: Duration::from_millis(200),
        ..DeliveryConfig::default()
    });
    let url = format!("https://{}/T0KEN", listener.local_addr().unwrap());
    let attempt = attempt_url(&client, &url, LONG).await;
    assert_eq!(attempt.verdict, RETRY);
    let text = error(&attempt);
    assert!(
        text.starts_with("time-out after 200ms in the TLS handshake: "),
        "{text}"
    );
}

/// Headers that arrive byte by byte reset no clock.
#[tokio::test]
async fn the_time_out_is_one_for_everything() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/T0KEN", listener.local_addr().unwrap());
    let dripping = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await.unwrap();
        while stream.write_all(b"y").await.is_ok() {
            tick.tick().await;
        }
    };
    let client = client();
    let attempt = tokio::select! {
        attempt = attempt_url(&client, &url, SHORT) => attempt,
        () = dripping => unreachable!("the attempt ends first"),
    };
    assert!(
        error(&attempt).starts_with("time-out after 300ms"),
        "{attempt:?}"
    );
}

/// Held in silence after a part of the head: the same time-out as for no word at all.
#[tokio::test]
async fn half_a_head_is_no_answer() {
    for text in [
        "",
        "HTTP/1.1 2",
        "HTTP/1.1 200 OK\r\nx: ",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        let receiver = Receiver::start(Behaviour::RawThen(text.into(), End::Held)).await;
        let attempt = attempt(&receiver, SHORT).await;
        assert_eq!((attempt.verdict, attempt.status), (RETRY, None), "{text}");
        let expected = "time-out after 300ms waiting for the answer";
        assert_eq!(error(&attempt), expected, "{text}");
    }
}
