//! Names that move to another address, and names that DNS can hold.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::{io::AsyncWriteExt, net::TcpStream};
use webhook_delivery::{DeliveryClient, DeliveryConfig, EgressPolicy, LocalFault, Verdict};
use webhook_testkit::{Behaviour, Receiver};

use crate::{
    LONG, SHORT, attempt_url, client_with,
    dns::{Reply, asking, name_server, named},
    error, wire,
};

/// Takes everything, and keeps its connections.
async fn taking(mut stream: TcpStream) {
    while wire::read_request(&mut stream).await.is_some() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    }
}

#[tokio::test]
async fn connections_follow_a_name_that_moves() {
    let old = wire::Server::start(taking).await;
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], old.addr().port()));
    let new = wire::Server::on(elsewhere, taking).await;
    let last = Arc::new(AtomicU8::new(1));
    let server = {
        let last = Arc::clone(&last);
        name_server(move |_| {
            Reply::Addresses(vec![Ipv4Addr::new(127, 0, 0, last.load(Ordering::SeqCst))])
        })
        .await
    };
    let client = DeliveryClient::new(DeliveryConfig {
        egress: EgressPolicy::default().allow_cidrs(vec!["127.0.0.0/8".parse().unwrap()]),
        name_servers: vec![server.addr()],
        resolve_every: Duration::ZERO,
        ..DeliveryConfig::default()
    })
    .unwrap();
    let url = format!("http://hooks.example:{}/", old.addr().port());
    for (at, connections) in [
        (1, (1, 0)),
        (1, (1, 0)),
        (2, (1, 1)),
        (2, (1, 1)),
        (1, (2, 1)),
    ] {
        last.store(at, Ordering::SeqCst);
        let attempt = attempt_url(&client, &url, LONG).await;
        assert_eq!(attempt.verdict, Verdict::DELIVERED, "{attempt:?}");
        assert_eq!((old.connections(), new.connections()), connections);
    }
}

/// Neither an attempt nor its time is lost to name servers that fail or fall silent.
#[tokio::test]
async fn a_kept_connection_serves_while_the_name_servers_are_away() {
    /// Less than the resolver waits for an answer.
    const LIMIT: Duration = Duration::from_secs(2);
    for away in [|| Reply::ServerFailure, || Reply::Silence] {
        let receiver = Receiver::start(Behaviour::ok()).await;
        let server = name_server(move |n| match n {
            0 => Reply::Addresses(vec![Ipv4Addr::LOCALHOST]),
            _ => away(),
        })
        .await;
        let client = client_with(DeliveryConfig {
            name_servers: vec![server.addr()],
            resolve_every: Duration::ZERO,
            ..DeliveryConfig::default()
        });
        let url = named(&receiver, "hooks.example");
        for _ in 0..3 {
            let attempt = attempt_url(&client, &url, LIMIT).await;
            assert_eq!(attempt.verdict, Verdict::DELIVERED, "{attempt:?}");
        }
        assert_eq!(receiver.connections(), 1);
    }
}

/// Rebinding on a kept connection: the name leads inside now.
#[tokio::test]
async fn a_kept_connection_ends_when_its_name_leads_inside() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let server = name_server(|n| match n {
        0 => Reply::Addresses(vec![Ipv4Addr::LOCALHOST]),
        _ => Reply::Addresses(vec![Ipv4Addr::new(10, 0, 0, 1)]),
    })
    .await;
    let client = client_with(DeliveryConfig {
        name_servers: vec![server.addr()],
        resolve_every: Duration::ZERO,
        ..DeliveryConfig::default()
    });
    let url = named(&receiver, "hooks.example");
    assert_eq!(
        attempt_url(&client, &url, LONG).await.verdict,
        Verdict::DELIVERED
    );
    let refused = attempt_url(&client, &url, LONG).await;
    assert!(error(&refused).starts_with("refused: hooks.example resolves to 10.0.0.1"));
    assert_eq!(receiver.count(), 1);
}

#[tokio::test]
async fn any_name_that_dns_can_hold_is_resolved() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let server = name_server(|_| Reply::Addresses(vec![Ipv4Addr::LOCALHOST])).await;
    let client = asking(&server);
    let long = format!("{}.example", "a".repeat(63));
    for name in [
        "my_receiver",
        "_dmarc.example",
        "-dash-.example",
        "0-9.example",
        "a--b.example",
        "my_receiver.",
        long.as_str(),
    ] {
        let attempt = attempt_url(&client, &named(&receiver, name), LONG).await;
        assert_eq!(attempt.verdict, Verdict::DELIVERED, "{name}: {attempt:?}");
    }
}

/// What no name server answers is nobody's fault but ours.
#[tokio::test]
async fn name_servers_that_are_away_are_ours() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let closed = {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for addr in [closed, silent.local_addr().unwrap()] {
        let client = client_with(DeliveryConfig {
            name_servers: vec![addr],
            ..DeliveryConfig::default()
        });
        // Also where the attempt has less time than the resolver.
        for limit in [LONG, SHORT] {
            let attempt = attempt_url(&client, &named(&receiver, "hooks.example"), limit).await;
            let ours = Verdict::Ourselves(LocalFault::Resolver);
            assert_eq!(attempt.verdict, ours, "{attempt:?}");
            let text = error(&attempt);
            assert!(
                text.contains("the name servers of this machine do not answer"),
                "{text}"
            );
            assert!(text.contains("/etc/resolv.conf"), "{text}");
        }
    }
}

/// A name that alone is not answered for is its owner's.
#[tokio::test]
async fn a_name_that_is_not_answered_for_is_not_ours() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let server = name_server(|_| Reply::Silence).await;
    for limit in [LONG, SHORT] {
        let attempt =
            attempt_url(&asking(&server), &named(&receiver, "hooks.example"), limit).await;
        assert_eq!(attempt.verdict, Verdict::SILENT, "{attempt:?}");
    }
}
