//! Bodies that are no JSON, too large, or never come.

use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{client::read_reply, server::Server};

const ROUTE: &str = "/api/v1/webhooks";

impl Server {
    fn headers(&self, more: &str) -> String {
        format!("Authorization: Bearer {}\r\n{more}", self.admin)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_json_says_where() {
    let server = Server::start().await;
    let path = format!("{ROUTE}/{}", server.create("siem").await);
    let headers = server.headers("Content-Type: application/json\r\n");
    for (body, detail) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("{", "EOF while parsing an object at line 1 column 1"),
        ("{\n\"name\": nope}", "expected ident at line 2 column 10"),
        ("{} {}", "trailing characters at line 1 column 4"),
    ] {
        for (method, path) in [
            ("POST", ROUTE),
            ("PATCH", &path),
            ("POST", "/api/v1/events"),
        ] {
            let reply = server.raw(method, path, &headers, body.as_bytes()).await;
            reply.problem(400, &format!("The body is not valid JSON: {detail}"));
        }
    }
    let reply = server
        .raw("POST", ROUTE, &headers, b"{\"name\": \"\xff\"}")
        .await;
    assert_eq!(reply.status, 400);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_json_is_read() {
    let server = Server::start().await;
    let body =
        json!({"name": "n", "url": "https://siem.example", "topic_patterns": ["a"]}).to_string();
    for media in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "",
        "json",
    ] {
        let headers = server.headers(&format!("Content-Type: {media}\r\n"));
        let reply = server.raw("POST", ROUTE, &headers, body.as_bytes()).await;
        reply.problem(415, "Send the body as Content-Type: application/json");
    }
    let reply = server
        .raw("POST", ROUTE, &server.headers(""), body.as_bytes())
        .await;
    reply.problem(415, "Send the body as Content-Type: application/json");
    let headers = server.headers("Content-Type: application/json\r\nContent-Encoding: gzip\r\n");
    let reply = server.raw("POST", ROUTE, &headers, body.as_bytes()).await;
    reply.problem(415, "Send the body without a Content-Encoding");
    let headers = server.headers("Content-Type: Application/JSON; charset=utf-8\r\n");
    let reply = server.raw("POST", ROUTE, &headers, body.as_bytes()).await;
    assert_eq!(reply.status, 201);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_are_refused() {
    let server = Server::start().await;
    let headers = server.headers("Content-Type: application/json\r\n");
    let too_large = "The body is larger than 1048576 bytes";
    let body = vec![b' '; (1 << 20) + 1];
    let path = format!("{ROUTE}/{}", server.create("siem").await);
    for (method, path) in [("POST", ROUTE), ("PATCH", &path)] {
        let reply = server.raw(method, path, &headers, &body).await;
        reply.problem(413, too_large);
    }
    let reply = server.raw("POST", ROUTE, &headers, &body[1..]).await;
    assert_eq!(reply.status, 400, "the limit itself is fine");

    // Nobody said how much would come.
    let mut request = format!(
        "POST {ROUTE} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{headers}\r\n100001\r\n"
    )
    .into_bytes();
    request.extend_from_slice(&body);
    request.extend_from_slice(b"\r\n0\r\n\r\n");
    let reply = crate::client::exchange(server.addr, request).await;
    reply.problem(413, too_large);

    let body = vec![b' '; (16 << 20) + 1];
    let reply = server.raw("POST", "/api/v1/events", &headers, &body).await;
    reply.problem(413, "The body is larger than 16777216 bytes");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_costs_nobody_else() {
    let server = Server::start().await;
    let headers = server.headers("Content-Type: application/json\r\nContent-Length: 100\r\n");
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let head = format!("POST {ROUTE} HTTP/1.1\r\nHost: test\r\n{headers}\r\n{{\"name\"");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let reply = read_reply(&mut stream).await;
    reply.problem(400, "The body ended before it was complete");
    assert_eq!(server.send("GET", ROUTE, None).await.status, 200);
    server.stop().await;
}
