//! Paths and methods.

use serde_json::json;

use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_are_problems() {
    let server = Server::start().await;
    for path in [
        "/",
        "/api/v1",
        "/api/v1/webhooks/a/b",
        "/api/v1/webhook",
        "/api/v2/webhooks",
        "/metricsx",
    ] {
        let reply = server.send("GET", path, None).await;
        reply.problem(404, "No such route; /openapi.json lists those there are");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_method_gets_every_right_one() {
    let server = Server::start().await;
    for (method, path, allow) in [
        ("PUT", "/api/v1/webhooks", "GET, HEAD, POST"),
        ("DELETE", "/api/v1/webhooks/", "GET, HEAD, POST"),
        ("POST", "/api/v1/webhooks/x", "DELETE, GET, HEAD, PATCH"),
        ("GET", "/api/v1/webhooks/x/test", "POST"),
        ("GET", "/api/v1/events", "POST"),
        ("OPTIONS", "/healthz", "GET, HEAD"),
        ("POST", "/readyz", "GET, HEAD"),
        ("BREW", "/openapi.json", "GET, HEAD"),
    ] {
        let reply = server.send(method, path, None).await;
        reply.problem(405, &format!("This route takes {allow}"));
        assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slash_at_the_end_makes_no_difference() {
    let server = Server::start().await;
    let body = json!({"name": "n", "url": "https://siem.example", "topic_patterns": ["a"]});
    let created = server.send("POST", "/api/v1/webhooks/", Some(&body)).await;
    assert_eq!(created.status, 201);
    for path in ["/api/v1/webhooks", "/api/v1/webhooks/", "/healthz/"] {
        assert_eq!(server.send("GET", path, None).await.status, 200, "{path}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_text_may_be_asked_for() {
    let server = Server::start().await;
    let long = "x".repeat(2_000);
    for id in [
        "nope",
        "%00",
        "a%2Fb",
        "%FF",
        "%25",
        "..%2f",
        "'%20OR%201=1",
        "%C3%A4",
        "-",
        &long,
    ] {
        for method in ["GET", "DELETE"] {
            let reply = server
                .send(method, &format!("/api/v1/webhooks/{id}"), None)
                .await;
            reply.problem(404, "Webhook not found");
        }
        let reply = server
            .send("POST", &format!("/api/v1/webhooks/{id}/test"), None)
            .await;
        reply.problem(404, "Webhook not found");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_a_body() {
    let server = Server::start().await;
    let get = server.send("GET", "/healthz", None).await;
    let head = server.send("HEAD", "/healthz", None).await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), get.header("content-length"));
    assert!(head.body.is_empty());
    server.stop().await;
}
