//! Publishers that would have all of the server's memory or time for themselves.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use webhook_api::tokens::Role;

use crate::{
    client::read_reply,
    server::{Server, token},
};

const EVENTS: &str = "/api/v1/events";
/// What others wait at most while somebody misbehaves; a loaded machine takes its time.
const PROMPT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn announced_bodies_that_never_come_cost_nobody_anything() {
    let server = Server::start().await;
    let webhook = format!("/api/v1/webhooks/{}", server.create("siem").await);
    let publisher = token(Role::Publisher);
    let mut silent = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        let head = format!(
            "POST {EVENTS} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {publisher}\r\nContent-Type: application/json\r\nContent-Length: 16777216\r\n\r\n["
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    let begun = Instant::now();
    let patched = server
        .send("PATCH", &webhook, Some(&json!({"name": "new"})))
        .await;
    assert_eq!(patched.status, 200);
    let event = json!({"topic": "attacker.x"});
    for token in [&publisher, &server.admin] {
        let reply = server.send_as(token, "POST", EVENTS, Some(&event)).await;
        assert_eq!(reply.status, 202);
    }
    assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
    // They are not waited for as long as a body of that size might take.
    for mut stream in silent {
        let reply = read_reply(&mut stream).await;
        reply.problem(408, "The body did not arrive in time");
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_and_deep_bodies_hold_nobody_up() {
    let server = Server::start().await;
    let headers = format!(
        "Authorization: Bearer {}\r\nContent-Type: application/json\r\n",
        token(Role::Publisher)
    );
    let ones = format!("[{}1]", "1,".repeat((16 << 20) / 2 - 2));
    let deep = format!(
        "{}{}{}",
        "[".repeat(120),
        "1,".repeat(400_000) + "1",
        "]".repeat(120)
    );
    let deep = format!(r#"{{"topic":"attacker.x","payload":{{"a":{deep}}}}}"#);
    let many_deep = format!("[{}]", vec![deep; 15].join(","));
    let bodies = async {
        let reply = server.raw("POST", EVENTS, &headers, ones.as_bytes()).await;
        reply.wrong_fields(&[("body", "has more than 1000 events; send 1 to 1000 at once")]);
        let reply = server
            .raw("POST", EVENTS, &headers, many_deep.as_bytes())
            .await;
        assert_eq!(reply.status, 202, "{:?}", reply.body);
    };
    let probes = async {
        loop {
            let begun = Instant::now();
            assert_eq!(server.raw("GET", "/healthz", "", b"").await.status, 200);
            assert!(
                begun.elapsed() < Duration::from_secs(2),
                "{:?}",
                begun.elapsed()
            );
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = bodies => {}
        () = probes => {}
    }
    server.stop().await;
}
