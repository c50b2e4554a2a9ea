//! Tokens: listed, revoked, bound to topics and quotas; and the server's proof that it has their key.

use std::{num::NonZeroU32, time::Duration};

use serde_json::json;
use tokio_util::sync::CancellationToken;
use webhook_api::{
    FirstToken, PublishQuota,
    tokens::{self, JwtSecret, Role},
};
use webhook_model::TopicPattern;

use crate::server::{JWT_KEY, Server, publisher, token};

const EVENTS: &str = "/api/v1/events";
const TOKENS: &str = "/api/v1/tokens";

#[tokio::test(flavor = "multi_thread")]
async fn a_used_token_is_listed_until_it_is_revoked_for_good() {
    let server = Server::start().await;
    let topics = [TopicPattern::parse("attacker.>").unwrap()];
    let sensor = publisher(|grant| grant.topics = &topics);
    let event = json!({"topic": "attacker.x"});
    for _ in 0..2 {
        let reply = server
            .send_as(&sensor.token, "POST", EVENTS, Some(&event))
            .await;
        assert_eq!(reply.status, 202);
    }
    let listed = || async {
        let list = server.send("GET", TOKENS, None).await.json();
        let items = list["items"].as_array().unwrap().clone();
        items.into_iter().find(|it| it["jti"] == sensor.jti)
    };
    let found = listed().await.expect("it was used");
    assert_eq!(
        (&found["username"], &found["role"], &found["topics"]),
        (
            &json!("sensor-7"),
            &json!("publisher"),
            &json!(["attacker.>"])
        )
    );
    assert!(found["revoked_at"].is_null());

    let path = format!("{TOKENS}/{}", sensor.jti);
    assert_eq!(server.send("DELETE", &path, None).await.status, 200);
    let reply = server
        .send_as(&sensor.token, "POST", EVENTS, Some(&event))
        .await;
    reply.problem(401, "Could not validate credentials");
    let found = listed().await.expect("it stays until it ends");
    assert!(found["revoked_at"].is_string() && found["username"] == "sensor-7");

    // One that nobody has used yet can be revoked as well, however its id is written.
    let unused = publisher(|_| {});
    let path = format!("{TOKENS}/{}", unused.jti.to_uppercase());
    assert_eq!(server.send("DELETE", &path, None).await.status, 200);
    let reply = server
        .send_as(&unused.token, "POST", EVENTS, Some(&event))
        .await;
    assert_eq!(reply.status, 401);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_publishes_to_its_topics_alone() {
    let server = Server::start().await;
    let topics = ["attacker.>", "canary.*"].map(|text| TopicPattern::parse(text).unwrap());
    let bound = publisher(|grant| grant.topics = &topics).token;
    let list = json!([{"topic": "attacker.a.b"}, {"topic": "canary.x"}]);
    let reply = server.send_as(&bound, "POST", EVENTS, Some(&list)).await;
    assert_eq!(reply.status, 202);
    let list = json!([{"topic": "attacker.a.b"}, {"topic": "decky.x.state"}]);
    let reply = server.send_as(&bound, "POST", EVENTS, Some(&list)).await;
    reply.problem(
        403,
        "This token may publish to attacker.>, canary.*, not to decky.x.state",
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_decnet_obeys_is_an_admins_to_publish() {
    let server = Server::start().await;
    for topic in [
        "system.mutator.control",
        "system.mutator.health",
        "decky.web-1.mutate_request",
    ] {
        let event = json!({"topic": topic, "payload": {"action": "stop"}});
        let publisher = token(Role::Publisher);
        let reply = server
            .send_as(&publisher, "POST", EVENTS, Some(&event))
            .await;
        let detail = format!("DECNET's own workers obey {topic}; only an admin may publish there");
        reply.problem(403, &detail);
        assert_eq!(server.send("POST", EVENTS, Some(&event)).await.status, 202);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_over_the_quota_is_told_when_to_come_back() {
    let one = NonZeroU32::MIN;
    let server = Server::configured(|config| {
        config.publish_quota = PublishQuota {
            events_per_second: one,
            bytes_per_second: NonZeroU32::MAX,
            ..PublishQuota::default()
        };
    })
    .await;
    // A burst is one request of the largest kind.
    let list = json!(vec![json!({"topic": "attacker.x"}); 1_000]);
    let sensor = publisher(|_| {}).token;
    let other = publisher(|grant| grant.events_per_second = NonZeroU32::new(1_000_000)).token;
    for token in [&sensor, &other] {
        let reply = server.send_as(token, "POST", EVENTS, Some(&list)).await;
        assert_eq!(reply.status, 202);
        let reply = server.send_as(token, "POST", EVENTS, Some(&list)).await;
        reply.problem(
            429,
            "This token may publish 1 events a second; try again later",
        );
        let after: u64 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!((900..=1_000).contains(&after), "{after}");
    }
    for _ in 0..2 {
        assert_eq!(server.send("POST", EVENTS, Some(&list)).await.status, 202);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_proves_to_have_the_key_at_its_own_port() {
    let server = Server::start().await;
    let challenge = "0123456789abcdef0123456789abcdef";
    let path = format!("/api/v1/proof?challenge={challenge}");
    let reply = server.raw("GET", &path, "", b"").await;
    assert_eq!(reply.status, 200);
    let proof = reply.json()["proof"].as_str().unwrap().to_owned();
    let secret = JwtSecret::parse(JWT_KEY).unwrap();
    let port = server.addr.port();
    assert!(tokens::is_proof(&secret, challenge, port, &proof));
    assert!(!tokens::is_proof(&secret, challenge, port ^ 1, &proof));
    assert!(!tokens::is_proof(&secret, "0123456789abcdef", port, &proof));
    let other = JwtSecret::parse("another-key-another-key-another-key").unwrap();
    assert!(!tokens::is_proof(&other, challenge, port, &proof));
    assert!(!tokens::is_proof(&secret, challenge, port, "no hex"));
    for wrong in ["", "?challenge=short", "?challenge=0123456789.abcdef0"] {
        let reply = server
            .raw("GET", &format!("/api/v1/proof{wrong}"), "", b"")
            .await;
        assert_eq!(reply.status, 422, "{wrong}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_use_of_the_first_token_is_told() {
    let first = publisher(|grant| grant.role = Role::Admin);
    let used = CancellationToken::new();
    let watched = FirstToken {
        jti: first.jti.clone(),
        used: used.clone(),
    };
    let server = Server::configured(|config| config.first_token = Some(watched)).await;
    assert_eq!(server.send("GET", TOKENS, None).await.status, 200);
    assert!(!used.is_cancelled());
    let reply = server.send_as(&first.token, "GET", TOKENS, None).await;
    assert_eq!(reply.status, 200);
    tokio::time::timeout(Duration::from_secs(10), used.cancelled())
        .await
        .expect("told");
    server.stop().await;
}
