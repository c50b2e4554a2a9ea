//! The test ping.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::server::Server;

const ROUTE: &str = "/api/v1/webhooks";
const SECRET: &str = "a secret of this test";

/// Answers one request and hands it over: head and body.
async fn receiver(answer: &'static str) -> (u16, tokio::task::JoinHandle<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        loop {
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).await.unwrap();
            bytes.extend_from_slice(&chunk[..count]);
            let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8(bytes[..end].to_vec())
                .unwrap()
                .to_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if bytes.len() >= end + 4 + length {
                stream.write_all(answer.as_bytes()).await.unwrap();
                return (head, bytes[end + 4..].to_vec());
            }
        }
    });
    (port, task)
}

async fn subscribe(server: &Server, port: u16, enabled: bool) -> String {
    let body = json!({
        "name": "siem", "url": format!("http://127.0.0.1:{port}/hook"), "secret": SECRET,
        "topic_patterns": ["attacker.>"], "enabled": enabled, "headers": {"X-Key": "of the receiver"},
    });
    let created = server.send("POST", ROUTE, Some(&body)).await;
    assert_eq!(created.status, 201, "{created:?}");
    format!("{ROUTE}/{}", created.json()["uuid"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_ping_arrives_also_while_paused() {
    let server = Server::start().await;
    let (port, received) = receiver("HTTP/1.1 204 No Content\r\n\r\n").await;
    let path = subscribe(&server, port, false).await;
    let before = server.send("GET", &path, None).await.json();

    let reply = server.send("POST", &format!("{path}/test"), None).await;
    let expected = json!({"delivered": true, "status_code": 204, "error": null});
    assert_eq!((reply.status, reply.json()), (200, expected));

    let (head, body) = received.await.unwrap();
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    let signature = hex::encode(mac.chain_update(&body).finalize().into_bytes());
    assert!(head.starts_with("post /hook "), "{head}");
    assert!(
        head.contains(&format!("x-decnet-signature: sha256={signature}")),
        "{head}"
    );
    assert!(head.contains("x-decnet-event-topic: test.ping"), "{head}");
    assert!(head.contains("x-key: of the receiver"), "{head}");
    let event: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&event["topic"], &event["type"]),
        (&json!("test.ping"), &json!("test"))
    );
    let payload = json!({"message": "Synthetic test event from DECNET", "triggered_by": "tester"});
    assert_eq!(event["payload"], payload);

    assert_eq!(
        server.send("GET", &path, None).await.json(),
        before,
        "no bookkeeping"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_and_not_retried() {
    let server = Server::start().await;
    for (answer, status, error) in [
        (
            "HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n",
            503,
            "http 503",
        ),
        (
            "HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n",
            404,
            "non-retryable 404",
        ),
    ] {
        let (port, received) = receiver(answer).await;
        let path = subscribe(&server, port, true).await;
        let reply = server.send("POST", &format!("{path}/test"), None).await;
        let expected = json!({"delivered": false, "status_code": status, "error": error});
        assert_eq!((reply.status, reply.json()), (200, expected));
        received.await.unwrap();
        server.send("DELETE", &path, None).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_told_in_words() {
    let server = Server::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let path = subscribe(&server, port, true).await;
    let reply = server
        .send("POST", &format!("{path}/test"), None)
        .await
        .json();
    assert_eq!(
        (&reply["delivered"], &reply["status_code"]),
        (&json!(false), &Value::Null)
    );
    assert!(
        reply["error"].as_str().unwrap().contains("refused"),
        "{reply}"
    );
    server.stop().await;
}

/// A user name and a password in a URL are Basic authentication, as in DECNET, and secrets.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_in_a_url_are_sent_and_never_shown() {
    let server = Server::start().await;
    let (port, received) = receiver("HTTP/1.1 204 No Content\r\n\r\n").await;
    let body = json!({
        "name": "basic", "url": format!("http://ops:pass-77c1%40x@127.0.0.1:{port}/hook"),
        "secret": SECRET, "topic_patterns": ["attacker.>"],
    });
    let created = server.send("POST", ROUTE, Some(&body)).await.json();
    let shown = format!("http://***@127.0.0.1:{port}/hook");
    assert_eq!(created["url"], shown);
    let path = format!("{ROUTE}/{}", created["uuid"].as_str().unwrap());
    // A page that sends back what it was shown keeps them; elsewhere they do not go.
    let again = json!({"url": shown, "name": "renamed"});
    let patched = server.send("PATCH", &path, Some(&again)).await;
    assert_eq!(
        (patched.status, &patched.json()["url"]),
        (200, &json!(shown))
    );
    let elsewhere = json!({"url": "http://***@127.0.0.1:9/hook"});
    let refused = server.send("PATCH", &path, Some(&elsewhere)).await;
    assert_eq!(refused.status, 422);
    let listed = server.send("GET", ROUTE, None).await;

    let reply = server.send("POST", &format!("{path}/test"), None).await;
    assert_eq!(reply.json()["delivered"], true);
    let (head, _) = received.await.unwrap();
    // base64 of ops:pass-77c1@x; the receiver shows heads in lower case.
    let basic = "authorization: basic b3bzonbhc3mtnzdjmub4";
    assert!(head.contains(basic), "{head}");
    assert!(head.starts_with("post /hook http/1.1"), "{head}");
    for text in [patched.body, refused.body, listed.body] {
        assert!(!String::from_utf8(text).unwrap().contains("pass-77c1"));
    }
    assert!(!crate::logs::text().contains("pass-77c1"));
    server.stop().await;
}
