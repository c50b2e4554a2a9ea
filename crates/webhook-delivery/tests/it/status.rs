//! The status decides, whatever becomes of the rest.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use webhook_delivery::{EndpointVerdict, PreparedEvent, Verdict};
use webhook_model::{Event, Payload, Topic};
use webhook_testkit::{Behaviour, End, Receiver};

use crate::{LONG, SHORT, attempt, attempt_url, client, endpoint, error, wire};

/// More than a body is waited for, less than the attempt may take.
const BODY_WAITED_FOR: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_body_that_breaks_off_changes_nothing() {
    let half = "content-length: 100\r\n\r\nabc";
    let chunked = "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    for (status, verdict, error) in [
        (200, Verdict::DELIVERED, None),
        (
            404,
            Verdict::refused(EndpointVerdict::Objects),
            Some("non-retryable 404"),
        ),
        (503, Verdict::SILENT, Some("http 503")),
    ] {
        for body in [half, chunked] {
            for end in [End::Abrupt, End::Reset, End::HalfClosed] {
                let text = format!("HTTP/1.1 {status} X\r\n{body}");
                let receiver = Receiver::start(Behaviour::RawThen(text.into(), end)).await;
                let attempt = attempt(&receiver, LONG).await;
                let got = (attempt.verdict, attempt.error.as_deref());
                assert_eq!(got, (verdict, error), "{status} {body:?} {end:?}");
                assert_eq!(attempt.status, Some(status));
                // What was there before a reset may be gone with it.
                assert!(end == End::Reset || attempt.answer == "abc", "{attempt:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_broken_body_is_not_looked_at() {
    for text in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 204 No Content\r\n\r\nand yet a body",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nlonger than that",
    ] {
        let receiver = Receiver::start(Behaviour::Raw(text.into())).await;
        let attempt = attempt(&receiver, LONG).await;
        assert_eq!(attempt.verdict, Verdict::DELIVERED, "{text}: {attempt:?}");
    }
}

#[tokio::test]
async fn a_body_that_stalls_or_trickles_is_not_waited_for_long() {
    for (name, slow) in [
        ("stall", Behaviour::StallMidBody),
        (
            "trickle",
            Behaviour::Trickle {
                status: 200,
                every: Duration::from_millis(20),
                bytes: 10_000,
            },
        ),
    ] {
        let receiver = Receiver::start(slow).await;
        for limit in [SHORT, LONG] {
            let attempt = attempt(&receiver, limit).await;
            assert_eq!(
                (attempt.verdict, attempt.status, attempt.error),
                (Verdict::DELIVERED, Some(200), None),
                "{name}"
            );
            assert!(!attempt.answer.is_empty());
            assert!(attempt.duration < BODY_WAITED_FOR, "{:?}", attempt.duration);
        }
    }
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\n\
                HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
    let receiver = Receiver::start(Behaviour::Raw(text.into())).await;
    let attempt = attempt(&receiver, LONG).await;
    assert_eq!(
        (attempt.verdict, attempt.status),
        (Verdict::DELIVERED, Some(202))
    );
}

/// An event far larger than what sockets hold.
fn large() -> PreparedEvent {
    let payload = format!(r#"{{"note":"{}"}}"#, "x".repeat(8 << 20));
    let topic = Topic::parse("attacker.observed").unwrap();
    PreparedEvent::new(&Event::new(
        topic,
        "observed",
        Payload::parse(&payload).unwrap(),
    ))
}

/// Answers as soon as the head is there, and then closes in either way: with a reset where
/// unread bytes are left.
#[tokio::test]
async fn an_answer_before_the_request_is_sent_counts() {
    let event = large();
    for (status, verdict) in [
        (200, Verdict::DELIVERED),
        (413, Verdict::refused(EndpointVerdict::Answers)),
        (401, Verdict::refused(EndpointVerdict::Objects)),
    ] {
        for drained in [false, true] {
            let server = wire::Server::start(move |mut stream| async move {
                wire::read_some(&mut stream).await;
                let answer = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
                if drained {
                    wire::drain(&mut stream).await;
                }
            })
            .await;
            for _ in 0..10 {
                let attempt = client().attempt(&endpoint(&server.url()), &event).await;
                assert_eq!(
                    (attempt.verdict, attempt.status),
                    (verdict, Some(status)),
                    "{drained} {attempt:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn nobody_reads_the_request() {
    let event = large();
    let server = wire::Server::start(|mut stream| async move {
        wire::read_some(&mut stream).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    let attempt = client().attempt(&endpoint(&server.url()), &event).await;
    assert_eq!((attempt.verdict, attempt.status), (Verdict::SILENT, None));
    assert_eq!(error(&attempt), "connection reset before the answer");
}

/// Names as the contract writes them, other names capitalised.
#[tokio::test]
async fn header_names_go_out_as_written() {
    let (sent, mut got) = tokio::sync::mpsc::unbounded_channel();
    let server = wire::Server::start(move |mut stream| {
        let sent = sent.clone();
        async move {
            while let Some(request) = wire::read_request(&mut stream).await {
                sent.send(request).unwrap();
                let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
        }
    })
    .await;
    let client = client();
    for _ in 0..2 {
        let mut endpoint = endpoint(&server.url());
        endpoint.headers = vec![("x-api-key".parse().unwrap(), "k".parse().unwrap())];
        let attempt = client.attempt(&endpoint, &crate::event()).await;
        assert_eq!(attempt.verdict, Verdict::DELIVERED, "{attempt:?}");
        let request = got.recv().await.unwrap();
        assert!(request.starts_with("POST /T0KEN HTTP/1.1\r\n"), "{request}");
        for name in [
            "Content-Type",
            "Content-Length",
            "Host",
            "User-Agent",
            "X-Api-Key",
            "X-DECNET-Signature",
            "X-DECNET-Event-Id",
            "X-DECNET-Event-Topic",
            "X-DECNET-Timestamp",
            "webhook-id",
            "webhook-timestamp",
            "webhook-signature",
        ] {
            assert_eq!(
                request.matches(&format!("\r\n{name}: ")).count(),
                1,
                "{name} in {request}"
            );
        }
    }
    assert_eq!(server.connections(), 1);
}

/// Its own clock measures the pause that a receiver asks for.
#[tokio::test]
async fn a_date_is_measured_by_the_answers_own_clock() {
    use webhook_delivery::{EventVerdict, MAX_RETRY_AFTER};
    for (date, asked, expected) in [
        // Half an hour ahead, meaning five seconds.
        (
            "Tue, 24 Nov 2026 00:30:00 GMT",
            "Tue, 24 Nov 2026 00:30:05 GMT",
            5,
        ),
        (
            "Thu, 01 Jan 1970 00:00:00 GMT",
            "Thu, 01 Jan 1970 00:00:07 GMT",
            7,
        ),
        (
            "Thu, 01 Jan 1970 00:00:00 GMT",
            "Fri, 31 Dec 9999 23:59:59 GMT",
            3600,
        ),
        (
            "Tue, 24 Nov 2026 00:30:00 GMT",
            "Tue, 24 Nov 2026 00:29:00 GMT",
            0,
        ),
    ] {
        let receiver = Receiver::start(Behaviour::Answer {
            status: 429,
            headers: vec![
                ("Date".to_owned(), date.to_owned()),
                ("Retry-After".to_owned(), asked.to_owned()),
            ],
            body: Bytes::new(),
        })
        .await;
        let attempt = attempt_url(&client(), &receiver.url(), LONG).await;
        let after = Some(Duration::from_secs(expected).min(MAX_RETRY_AFTER));
        let Verdict::Receiver { event, .. } = attempt.verdict else {
            panic!("{attempt:?}");
        };
        assert_eq!(event, EventVerdict::NotYet { after }, "{date} {asked}");
    }
}
