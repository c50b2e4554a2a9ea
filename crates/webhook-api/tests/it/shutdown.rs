//! Addresses and ends.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use webhook_api::{ApiConfig, ApiDeps, ApiError, ApiServer, ApiStats, tokens::JwtSecret};
use webhook_delivery::{DeliveryClient, DeliveryConfig};

use crate::{
    client::read_reply,
    server::{JWT_KEY, Server, scrape},
};

fn deps(server: &Server) -> ApiDeps {
    ApiDeps {
        store: server.store.clone(),
        bus: server.bus.clone(),
        delivery: DeliveryClient::new(DeliveryConfig::default()).unwrap(),
        stats: ApiStats::default(),
        scrape: scrape(),
        worker: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_names_its_setting() {
    let server = Server::start().await;
    let mut config = ApiConfig::new(JwtSecret::parse(JWT_KEY).unwrap());
    config.port = server.addr.port();
    let Err(error) = ApiServer::bind(config.clone(), deps(&server)).await else {
        panic!("bound twice");
    };
    assert!(matches!(error, ApiError::PortTaken(addr) if addr == server.addr));
    assert!(error.to_string().contains("DECNET_API_PORT"), "{error}");

    config.host = "no such host".to_owned();
    let Err(error) = ApiServer::bind(config, deps(&server)).await else {
        panic!("bound nowhere");
    };
    assert!(error.to_string().contains("DECNET_API_HOST"), "{error}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_progress_is_finished() {
    let server = Server::start().await;
    let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", receiver.local_addr().unwrap());
    let body = serde_json::json!({"name": "n", "url": url, "topic_patterns": ["a"]});
    let created = server.send("POST", "/api/v1/webhooks", Some(&body)).await;
    let uuid = created.json()["uuid"].as_str().unwrap().to_owned();

    let mut client = TcpStream::connect(server.addr).await.unwrap();
    let request = format!(
        "POST /api/v1/webhooks/{uuid}/test HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {}\r\n\r\n",
        server.admin
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let (mut ping, _) = receiver.accept().await.unwrap();
    assert!(ping.read(&mut [0; 1024]).await.unwrap() > 0);

    server.shutdown();
    ping.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
    let reply = read_reply(&mut client).await;
    assert_eq!(reply.json()["delivered"], true);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_outlives_a_client_that_hangs_up() {
    let server = Server::start().await;
    let body = r#"{"name":"hung up","url":"https://siem.example","topic_patterns":["a"]}"#;
    let mut client = TcpStream::connect(server.addr).await.unwrap();
    let request = format!(
        "POST /api/v1/webhooks HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {}\r\nAuthorization: Bearer {}\r\n\r\n{body}",
        body.len(),
        server.admin,
    );
    client.write_all(request.as_bytes()).await.unwrap();
    drop(client);
    // Either nothing of it happened or all of it, the signal included.
    let store = server.store.clone();
    let bus = server.bus.clone();
    let _dir = server.stop_keeping_files().await;
    let created = store.list().await.unwrap().len() as u64;
    assert_eq!(bus.position().await.unwrap().next_seq, 1 + created);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_are_cut_off_and_idle_connections_do_not_hold_the_end() {
    let server = Server::start().await;
    let mut slow = TcpStream::connect(server.addr).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let cut = tokio::time::timeout(Duration::from_secs(15), slow.read_to_end(&mut answer)).await;
    cut.expect("cut off").unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{answer:?}");
    let _idle = TcpStream::connect(server.addr).await.unwrap();
    server.stop().await;
}
