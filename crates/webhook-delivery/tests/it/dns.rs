//! Names, with a name server of the tests' own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{net::UdpSocket, task::JoinSet};
use webhook_delivery::{DeliveryClient, DeliveryConfig, Verdict};
use webhook_testkit::{Behaviour, Receiver};

use crate::{LONG, attempt_url, client, client_with, error};

const RETRY: Verdict = Verdict::SILENT;
const A: u16 = 1;

/// Answers each query for A as a closure says: addresses, or nothing at all.
pub(crate) struct NameServer {
    addr: SocketAddr,
    queries: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

pub(crate) enum Reply {
    Addresses(Vec<Ipv4Addr>),
    NoSuchName,
    ServerFailure,
    Silence,
}

pub(crate) async fn name_server(reply: impl Fn(usize) -> Reply + Send + 'static) -> NameServer {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    let queries = Arc::new(AtomicUsize::new(0));
    let mut task = JoinSet::new();
    task.spawn({
        let queries = Arc::clone(&queries);
        async move {
            let mut buffer = [0; 1024];
            loop {
                let (n, from) = socket.recv_from(&mut buffer).await.unwrap();
                let query = &buffer[..n];
                let reply = if kind(query) == A {
                    reply(queries.fetch_add(1, Ordering::SeqCst))
                } else {
                    Reply::Addresses(Vec::new())
                };
                if let Some(answer) = answer(query, &reply) {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        }
    });
    NameServer {
        addr,
        queries,
        _task: task,
    }
}

impl NameServer {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Where the question ends (RFC 1035 §4.1.2).
fn question_end(query: &[u8]) -> usize {
    let mut at = 12;
    while query[at] != 0 {
        at += 1 + usize::from(query[at]);
    }
    at + 5
}

fn kind(query: &[u8]) -> u16 {
    let end = question_end(query);
    u16::from_be_bytes([query[end - 4], query[end - 3]])
}

fn answer(query: &[u8], reply: &Reply) -> Option<Vec<u8>> {
    let (code, addresses) = match reply {
        Reply::Addresses(addresses) => (0, addresses.as_slice()),
        Reply::ServerFailure => (2, &[][..]),
        Reply::NoSuchName => (3, &[][..]),
        Reply::Silence => return None,
    };
    let mut answer = query[..2].to_vec();
    answer.extend([
        0x81,
        0x80 | code,
        0,
        1,
        0,
        addresses.len() as u8,
        0,
        0,
        0,
        0,
    ]);
    answer.extend(&query[12..question_end(query)]);
    for address in addresses {
        // The question's name, A, IN, no time to live, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

pub(crate) fn asking(server: &NameServer) -> DeliveryClient {
    client_with(DeliveryConfig {
        name_servers: vec![server.addr],
        ..DeliveryConfig::default()
    })
}

pub(crate) fn named(receiver: &Receiver, name: &str) -> String {
    format!("http://{name}:{}/T0KEN", receiver.addr().port())
}

#[tokio::test]
async fn localhost_is_refused() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let strict = DeliveryClient::new(DeliveryConfig::default()).unwrap();
    for name in ["localhost", "a.localhost", "LOCALHOST."] {
        let attempt = attempt_url(&strict, &named(&receiver, name), LONG).await;
        assert!(
            error(&attempt).contains("a loopback address"),
            "{attempt:?}"
        );
    }
    assert_eq!(receiver.connections(), 0);
    let allowed = attempt_url(&client(), &named(&receiver, "localhost"), LONG).await;
    assert_eq!(allowed.verdict, Verdict::DELIVERED, "{:?}", allowed.error);
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_for_now() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let inside = vec![Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
    let server = name_server(move |_| Reply::Addresses(inside.clone())).await;
    let attempt = attempt_url(&asking(&server), &named(&receiver, "hooks.example"), LONG).await;
    assert_eq!(attempt.verdict, RETRY);
    let text = error(&attempt);
    let expected = "refused: hooks.example resolves to 10.0.0.1, a private address; to allow it";
    assert!(text.starts_with(expected), "{text}");
    assert_eq!(receiver.connections(), 0);
}

/// Rebinding: each connection goes where its own, checked resolution led.
#[tokio::test]
async fn a_name_that_moves_inside_is_refused_from_then_on() {
    let receiver = Receiver::start(Behaviour::CloseBeforeAnswer).await;
    let server = name_server(|n| match n {
        0 => Reply::Addresses(vec![Ipv4Addr::LOCALHOST]),
        _ => Reply::Addresses(vec![Ipv4Addr::new(169, 254, 169, 254)]),
    })
    .await;
    let (client, url) = (asking(&server), named(&receiver, "rebind.example"));
    let reached = attempt_url(&client, &url, LONG).await;
    assert_eq!(error(&reached), "connection closed before the answer");
    let refused = attempt_url(&client, &url, LONG).await;
    assert!(error(&refused).contains("cloud metadata"), "{refused:?}");
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn of_a_mix_only_the_allowed_are_used() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let mix = vec![Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::LOCALHOST];
    let server = name_server(move |_| Reply::Addresses(mix.clone())).await;
    let url = named(&receiver, "hooks.example");
    let attempt = attempt_url(&asking(&server), &url, LONG).await;
    assert_eq!(attempt.verdict, Verdict::DELIVERED, "{:?}", attempt.error);
    let host = format!("hooks.example:{}", receiver.addr().port());
    assert_eq!(receiver.received()[0].header("host"), Some(host.as_str()));
}

#[tokio::test]
async fn names_that_do_not_resolve() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let missing = "dns: name hooks.example does not exist or has no address";
    for (reply, expected) in [
        (Reply::NoSuchName, missing),
        (Reply::Addresses(Vec::new()), missing),
        (
            Reply::ServerFailure,
            "dns: name hooks.example cannot be resolved: ",
        ),
    ] {
        let reply = std::sync::Mutex::new(reply);
        let server = name_server(move |_| {
            std::mem::replace(&mut *reply.lock().unwrap(), Reply::ServerFailure)
        })
        .await;
        let url = named(&receiver, "hooks.example");
        let attempt = attempt_url(&asking(&server), &url, LONG).await;
        assert_eq!(attempt.verdict, RETRY);
        assert!(error(&attempt).starts_with(expected), "{attempt:?}");
    }
}

#[tokio::test]
async fn a_silent_name_server_is_not_waited_for_long() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let server = name_server(|_| Reply::Silence).await;
    let attempt = attempt_url(&asking(&server), &named(&receiver, "hooks.example"), LONG).await;
    assert_eq!(attempt.verdict, RETRY);
    assert!(error(&attempt).starts_with("dns: "), "{attempt:?}");
    assert!(attempt.duration < Duration::from_secs(5), "{attempt:?}");
}

#[tokio::test]
async fn a_host_is_resolved_once_at_a_time() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let server = name_server(|_| Reply::Addresses(vec![Ipv4Addr::LOCALHOST])).await;
    let (client, url) = (asking(&server), named(&receiver, "hooks.example"));
    let attempts = (0..50).map(|_| attempt_url(&client, &url, LONG));
    for attempt in futures_util::future::join_all(attempts).await {
        assert_eq!(attempt.verdict, Verdict::DELIVERED, "{:?}", attempt.error);
    }
    assert_eq!(server.queries.load(Ordering::SeqCst), 1);
}
