//! Liveness and readiness, of the API and of a process without one.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use tokio_util::sync::CancellationToken;
use webhook_api::{ApiError, ProbeServer};

use crate::{
    client::{Reply, exchange},
    server::{SCRAPED, Server, scrape},
};

const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_alive_and_ready_without_a_token() {
    let server = Server::start().await;
    for path in ["/healthz", "/readyz"] {
        let reply = server.raw("GET", path, "", b"").await;
        assert_eq!((reply.status, reply.json()), (200, json!({"status": "ok"})));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named() {
    let server = Server::start_refusing().await;
    let reply = server.raw("GET", "/readyz", "", b"").await;
    let problem = reply.problem(503, "Not ready: bus");
    assert_eq!(problem["missing"], json!(["bus"]));

    server.store.close().await.unwrap();
    let reply = server.raw("GET", "/readyz", "", b"").await;
    reply.problem(503, "Not ready: database, bus");
    assert_eq!(server.raw("GET", "/healthz", "", b"").await.status, 200);

    let reply = server.send("GET", "/api/v1/webhooks", None).await;
    reply.problem(503, "The database cannot be reached now; try again later");
    assert_eq!(reply.header("retry-after"), Some("5"));
    server.stop().await;
}

async fn probe(addr: SocketAddr, method: &str, path: &str) -> Reply {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    exchange(addr, request.into_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_has_probes() {
    let missing = Arc::new(Mutex::new(vec!["database".to_owned()]));
    let asked = Arc::clone(&missing);
    let asked = move || {
        let missing = asked.lock().unwrap().clone();
        async move { missing }
    };
    let server = ProbeServer::bind(FREE, asked, scrape()).unwrap();
    let addr = server.addr();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(server.run(shutdown.clone()));

    assert_eq!(probe(addr, "GET", "/healthz").await.status, 200);
    probe(addr, "GET", "/readyz")
        .await
        .problem(503, "Not ready: database");
    missing.lock().unwrap().clear();
    assert_eq!(probe(addr, "HEAD", "/readyz").await.status, 200);
    let reply = probe(addr, "POST", "/readyz").await;
    reply.problem(405, "This route takes GET, HEAD");
    assert_eq!(reply.header("allow"), Some("GET, HEAD"));
    let reply = probe(addr, "GET", "/metrics").await;
    assert_eq!((reply.status, &reply.body[..]), (200, SCRAPED.as_bytes()));
    let reply = probe(addr, "DELETE", "/metrics").await;
    reply.problem(405, "This route takes GET, HEAD");
    assert_eq!(probe(addr, "GET", "/api/v1/webhooks").await.status, 404);

    shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(10), task).await;
    ended.expect("ends").unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_names_its_setting() {
    let holder = std::net::TcpListener::bind(FREE).unwrap();
    let taken = holder.local_addr().unwrap();
    let Err(error) = ProbeServer::bind(taken, || async { Vec::new() }, scrape()) else {
        panic!("bound twice");
    };
    assert!(matches!(error, ApiError::ProbePortTaken(addr) if addr == taken));
    assert!(error.to_string().contains("DECNET_METRICS_ADDR"));
}
