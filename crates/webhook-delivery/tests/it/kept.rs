//! Kept connections: which are used again, and when they are let go of.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use webhook_delivery::{DeliveryClient, DeliveryConfig, Outcome, RetryPolicy, Verdict};
use webhook_testkit::{Behaviour, Receiver};

use crate::{LONG, SHORT, attempt_url, client, client_with, endpoint, event, wire};

/// As many kept connections as there are requests at once: none is answered before all are there.
async fn keep(client: &DeliveryClient, receiver: &Receiver, count: usize) {
    receiver.behave(Behaviour::ok().after(SHORT));
    let url = receiver.url();
    let attempts = (0..count).map(|_| attempt_url(client, &url, LONG));
    for attempt in futures_util::future::join_all(attempts).await {
        assert_eq!(attempt.verdict, Verdict::DELIVERED, "{attempt:?}");
    }
    assert_eq!(receiver.connections(), count);
    receiver.behave(Behaviour::ok());
}

/// A failover: every connection that there was is dead, new ones work.
#[tokio::test]
async fn one_dead_connection_speaks_for_all_that_are_kept() {
    for dead in [
        Behaviour::ResetBeforeAnswer,
        Behaviour::CloseBeforeAnswer,
        Behaviour::HangBeforeAnswer,
    ] {
        let (client, receiver) = (client(), Receiver::start(Behaviour::ok()).await);
        keep(&client, &receiver, 16).await;
        let shown = format!("{dead:?}");
        receiver.behave(Behaviour::decide(move |got| match got.connection {
            0..16 => dead.clone(),
            _ => Behaviour::ok(),
        }));
        let mut endpoint = endpoint(&receiver.url());
        endpoint.timeout = Some(SHORT);
        let policy = RetryPolicy::try_new([Duration::from_millis(1); 3], 0.0).unwrap();
        for first in [2, 1, 1] {
            let round = client.deliver(&endpoint, &event(), &policy).await;
            assert_eq!(round.outcome, Outcome::Delivered, "{shown}");
            assert_eq!(round.attempts.len(), first, "{shown}");
        }
        assert_eq!(receiver.connections(), 17, "{shown}");
    }
}

/// What was in use when another one failed is not kept when it comes back.
#[tokio::test]
async fn those_in_use_are_let_go_of_as_well() {
    let (client, receiver) = (client(), Receiver::start(Behaviour::ok()).await);
    keep(&client, &receiver, 2).await;
    receiver.behave(Behaviour::decide(|got| match got.path.as_str() {
        "/slow" => Behaviour::ok().after(SHORT),
        "/dead" => Behaviour::ResetBeforeAnswer,
        _ => Behaviour::ok(),
    }));
    let (slow_url, dead_url) = (receiver.url_of("/slow"), receiver.url_of("/dead"));
    let slow = attempt_url(&client, &slow_url, LONG);
    let dead = attempt_url(&client, &dead_url, LONG);
    let (slow, dead) = tokio::join!(slow, dead);
    assert_eq!(
        (slow.verdict, dead.verdict),
        (Verdict::DELIVERED, Verdict::SILENT)
    );
    assert_eq!(receiver.connections(), 2);
    let next = attempt_url(&client, &receiver.url(), LONG).await;
    assert_eq!(next.verdict, Verdict::DELIVERED);
    assert_eq!(receiver.connections(), 3);
}

/// Closed between two requests, without a word: nobody notices but the connection.
#[tokio::test]
async fn a_connection_that_was_closed_while_unused_costs_no_attempt() {
    let server = wire::Server::start(|mut stream| async move {
        if wire::read_request(&mut stream).await.is_some() {
            // Claims to keep it.
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
    })
    .await;
    let client = client();
    for connections in 1..=5 {
        let attempt = attempt_url(&client, &server.url(), LONG).await;
        assert_eq!(attempt.verdict, Verdict::DELIVERED, "{attempt:?}");
        assert_eq!(server.connections(), connections);
        // The close arrives with whatever is done next.
        let other = Receiver::start(Behaviour::ok().after(Duration::from_millis(50))).await;
        attempt_url(&client, &other.url(), LONG).await;
    }
}

#[tokio::test]
async fn no_connection_grows_old() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let client = client_with(DeliveryConfig {
        max_connection_age: Duration::ZERO,
        ..DeliveryConfig::default()
    });
    for connections in 1..=3 {
        let attempt = attempt_url(&client, &receiver.url(), LONG).await;
        assert_eq!(attempt.verdict, Verdict::DELIVERED);
        assert_eq!(receiver.connections(), connections);
    }
}

/// The bound is one for all receivers; the connection unused for longest goes.
#[tokio::test]
async fn what_is_kept_is_bounded_in_sum() {
    let client = client_with(DeliveryConfig {
        max_kept_connections: 2,
        ..DeliveryConfig::default()
    });
    let mut receivers = Vec::new();
    for _ in 0..3 {
        let receiver = Receiver::start(Behaviour::ok()).await;
        attempt_url(&client, &receiver.url(), LONG).await;
        receivers.push(receiver);
    }
    // The first one's is gone; to ask it again takes the second one's.
    for (receiver, connections) in [(2, 1), (1, 1), (0, 2), (2, 2), (0, 2)] {
        attempt_url(&client, &receivers[receiver].url(), LONG).await;
        assert_eq!(receivers[receiver].connections(), connections, "{receiver}");
    }
}
