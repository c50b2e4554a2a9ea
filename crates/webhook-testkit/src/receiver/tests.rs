use std::{sync::Arc, time::Duration};

use super::*;

const SOON: Duration = Duration::from_secs(10);

fn text(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).into_owned()
}

async fn post(receiver: &Receiver, id: &str) -> String {
    let headers = [("X-DECNET-Event-Id", id)];
    text(&receiver.post_raw("/hook", &headers, b"{}").await)
}

#[tokio::test]
async fn scripted_statuses_and_counts() {
    let receiver = Receiver::start(Behaviour::first(
        2,
        Behaviour::status(503),
        Behaviour::by_event(|id| if id == "poison" { 500 } else { 200 }),
    ))
    .await;
    for (id, status) in [
        ("a", 503),
        ("a", 503),
        ("a", 200),
        ("poison", 500),
        ("a", 200),
        ("b", 200),
    ] {
        let answer = post(&receiver, id).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    let got = receiver.wait_for(6, SOON).await;
    assert_eq!(got[3].event_id(), Some("poison"));
    assert_eq!(got[0].body, "{}");
    receiver.log(|log| {
        assert_eq!((log.taken(), log.unique(), log.duplicates()), (3, 2, 1));
        assert_eq!((log.times("a"), log.times("poison")), (2, 0));
    });
}

#[tokio::test]
async fn misbehaves_as_told() {
    let receiver = Receiver::start(Behaviour::broken_http()).await;
    assert!(post(&receiver, "a").await.starts_with("220 mail"));
    receiver.behave(Behaviour::ResetBeforeAnswer);
    assert_eq!(post(&receiver, "a").await, "");
    receiver.behave(Behaviour::CloseBeforeAnswer);
    assert_eq!(post(&receiver, "a").await, "");
    receiver.behave(Behaviour::redirect("http://other.example/"));
    assert!(
        post(&receiver, "a")
            .await
            .contains("location: http://other.example/")
    );
    receiver.behave(Behaviour::Trickle {
        status: 200,
        every: Duration::from_millis(1),
        bytes: 3,
    });
    assert!(post(&receiver, "a").await.ends_with("\r\n\r\n..."));
    receiver.behave(Behaviour::ok().after(Duration::from_millis(1)));
    assert!(post(&receiver, "a").await.ends_with("received"));
}

#[tokio::test]
async fn hangs_until_the_other_side_gives_up() {
    let receiver = Receiver::start(Behaviour::HangBeforeAnswer).await;
    let hanging = tokio::time::timeout(Duration::from_millis(50), post(&receiver, "a")).await;
    assert!(hanging.is_err());
    receiver.wait_for(1, SOON).await;
    receiver.down().await;
}

#[tokio::test]
async fn down_and_up_on_one_port() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    post(&receiver, "a").await;
    receiver.down().await;
    assert!(TcpStream::connect(receiver.addr()).await.is_err());
    receiver.up().await.unwrap();
    post(&receiver, "b").await;
    assert_eq!(receiver.count(), 2);
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn connections_are_kept_alive() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let mut stream = TcpStream::connect(receiver.addr()).await.unwrap();
    let request = b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}";
    for _ in 0..3 {
        stream.write_all(request).await.unwrap();
        let mut buffer = [0; 1024];
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(buffer[..n].ends_with(b"received"));
    }
    assert_eq!((receiver.count(), receiver.connections()), (3, 1));
}

#[tokio::test]
async fn one_wait_ends_with_another_tasks_post() {
    let receiver = Arc::new(Receiver::start(Behaviour::ok()).await);
    let waiting = tokio::spawn({
        let receiver = Arc::clone(&receiver);
        async move { receiver.wait_until(|log| log.times("b") == 1, SOON).await }
    });
    post(&receiver, "a").await;
    assert!(!waiting.is_finished());
    post(&receiver, "b").await;
    waiting.await.unwrap();
}

#[tokio::test]
async fn signatures_are_checked_by_path() {
    let receiver = Receiver::builder(Behaviour::ok()).secret("x").start().await;
    receiver.trust_on("/own", "0123456789abcdef");
    let headers = [(
        "x-decnet-signature",
        "sha256=f91e3e9f05cc2df64ac1c26f8adccdffda8d1e4a7a8c50a1a08eeadac6ddfec5",
    )];
    receiver.post_raw("/hook", &headers, b"{}").await;
    receiver.post_raw("/own", &headers, b"{}").await;
    let got = receiver.received();
    assert_eq!(got[0].signatures.map(|s| s.decnet), Some(false));
    assert_eq!(got[1].signatures.map(|s| s.decnet), Some(true));
    assert!(!got[1].is_verified() && !got[1].is_taken());
}

#[tokio::test]
#[should_panic(expected = "2 requests did not come within")]
async fn a_wait_ends() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    receiver.wait_for(2, Duration::from_millis(10)).await;
}
