//! Who may scrape, and what the API counts.

use serde_json::json;
use webhook_api::{Answered, tokens::Role};

use crate::server::{SCRAPED, Server, token};

#[tokio::test(flavor = "multi_thread")]
async fn metrics_want_a_token_that_may_read() {
    let server = Server::start().await;
    let reply = server.raw("GET", "/metrics", "", b"").await;
    reply.problem(401, "Could not validate credentials");
    for (role, status) in [
        (Role::Publisher, 403),
        (Role::Viewer, 200),
        (Role::Admin, 200),
    ] {
        let reply = server.send_as(&token(role), "GET", "/metrics", None).await;
        assert_eq!(reply.status, status, "{role:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_open_where_that_is_configured() {
    let server = Server::configured(|config| config.open_metrics = true).await;
    let reply = server.raw("GET", "/metrics", "", b"").await;
    assert_eq!((reply.status, &reply.body[..]), (200, SCRAPED.as_bytes()));
    let kind = reply.header("content-type");
    assert_eq!(kind, Some("text/plain; version=0.0.4; charset=utf-8"));
    server.stop().await;
}

fn answered(route: &'static str, method: &'static str, status: u16) -> Answered {
    Answered {
        route,
        method,
        status,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_counted_by_route_and_nothing_a_client_makes_up() {
    let server = Server::start().await;
    let uuid = server.create("counted").await;
    for path in ["/api/v1/webhooks/one", "/api/v1/webhooks/two/"] {
        assert_eq!(server.send("GET", path, None).await.status, 404);
    }
    let path = format!("/api/v1/webhooks/{uuid}");
    assert_eq!(server.send("GET", &path, None).await.status, 200);
    server.raw("HEAD", "/healthz", "", b"").await;
    server.raw("BREW", "/healthz", "", b"").await;
    server.raw("GET", "/wp-login.php", "", b"").await;
    server.raw("BREW", "/pot-1", "", b"").await;
    let expected = [
        (answered("/api/v1/webhooks", "POST", 201), 1),
        (answered("/api/v1/webhooks/{uuid}", "GET", 200), 1),
        (answered("/api/v1/webhooks/{uuid}", "GET", 404), 2),
        (answered("/healthz", "GET", 200), 1),
        (answered("/healthz", "other", 405), 1),
        (answered("other", "other", 404), 2),
    ];
    assert_eq!(server.stats.answers(), expected.into());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_counted_as_taken_or_refused() {
    let event = json!({"topic": "attacker.observed"});
    let events = json!([event, event, event]);
    let server = Server::start().await;
    for (body, status) in [(&event, 202), (&events, 202), (&json!({"topic": "*"}), 422)] {
        let reply = server.send("POST", "/api/v1/events", Some(body)).await;
        assert_eq!(reply.status, status);
    }
    let stats = server.stats.clone();
    assert_eq!((stats.events_taken(), stats.events_refused()), (4, 0));
    server.stop().await;

    let server = Server::start_refusing().await;
    let reply = server.send("POST", "/api/v1/events", Some(&events)).await;
    assert_eq!(reply.status, 503);
    let stats = server.stats.clone();
    assert_eq!((stats.events_taken(), stats.events_refused()), (0, 3));
    server.stop().await;
}
