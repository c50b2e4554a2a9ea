//! The life of a subscription over HTTP.

use serde_json::{Value, json};
use webhook_bus::{ConsumerSpec, Publication};
use webhook_model::{Event, Payload, Topic, topics};

use crate::server::Server;

const ROUTE: &str = "/api/v1/webhooks";

/// Contract §2's fields in its order, then this project's own.
const FIELDS: [&str; 23] = [
    "uuid",
    "name",
    "url",
    "topic_patterns",
    "enabled",
    "consecutive_failures",
    "last_success_at",
    "last_failure_at",
    "last_error",
    "auto_disabled_at",
    "created_at",
    "updated_at",
    "warnings",
    "state",
    "paused_until",
    "next_probe_at",
    "max_in_flight",
    "rate_per_second",
    "burst",
    "ordered",
    "timeout_seconds",
    "redelivery_schedule",
    "headers",
];

#[track_caller]
fn has_exactly(body: &Value, additions: &[&str]) {
    let mut found: Vec<&str> = body
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut expected: Vec<&str> = FIELDS.iter().chain(additions).copied().collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

async fn publish(server: &Server, topic: &str) {
    let topic = Topic::parse(topic).unwrap();
    let event = Event::new(topic.clone(), "", Payload::empty());
    let publication = Publication {
        topic,
        bytes: event.envelope(),
        dedup: None,
    };
    server.bus.publish(vec![publication]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn create_show_list_change_delete() {
    let server = Server::start().await;
    let body = json!({
        "name": "Ops & SIEM ☃", "url": "HTTP://Siem.Example:80/a/../hook",
        "simple_events": ["DeckyStatus", "SystemStatus"],
        "topic_patterns": ["decky.*.state", "atacker.>"],
    });
    let created = server.send("POST", ROUTE, Some(&body)).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.header("cache-control"), Some("no-store"));
    let created = created.json();
    has_exactly(&created, &["secret"]);
    assert_eq!(created["url"], "http://siem.example/hook");
    assert_eq!(
        created["topic_patterns"],
        json!(["decky.*.state", "decky.*.traffic", "system.>", "atacker.>"])
    );
    assert_eq!(
        (&created["enabled"], &created["state"]),
        (&json!(true), &json!("active"))
    );
    assert!(created["secret"].as_str().unwrap().starts_with("whsec_"));
    let warnings: Vec<&str> = (created["warnings"].as_array().unwrap().iter())
        .map(|w| w.as_str().unwrap())
        .collect();
    assert_eq!(warnings.len(), 3);
    assert!(warnings[0].starts_with("insecure_url:"));
    assert!(warnings[1].starts_with("uncovered_pattern:"));
    // Names under .example have no address anywhere.
    assert!(warnings[2].starts_with("unresolved_host:"));
    let created_at = created["created_at"].as_str().unwrap();
    assert!(created_at.ends_with('Z') && created_at.contains('T'));
    assert_eq!(created["last_success_at"], Value::Null);

    let path = format!("{ROUTE}/{}", created["uuid"].as_str().unwrap());
    let shown = server.send("GET", &path, None).await;
    assert_eq!(shown.status, 200);
    has_exactly(&shown.json(), &[]);
    let second = server.create("second").await;
    for route in [ROUTE.to_owned(), format!("{ROUTE}/")] {
        let list = server.send("GET", &route, None).await;
        assert_eq!(list.status, 200);
        let list = list.json();
        assert_eq!(list[0], shown.json());
        assert_eq!(list[1]["uuid"], second.as_str());
        assert_eq!(list.as_array().unwrap().len(), 2);
    }

    let patched = server
        .send("PATCH", &path, Some(&json!({"name": "renamed"})))
        .await;
    assert_eq!(patched.status, 200);
    has_exactly(&patched.json(), &["dropped_events"]);
    assert_eq!(patched.json()["name"], "renamed");
    assert_ne!(patched.json()["updated_at"], created["updated_at"]);

    let deleted = server.send("DELETE", &path, None).await;
    assert_eq!(
        (deleted.status, deleted.json()),
        (200, json!({"message": "Webhook deleted"}))
    );
    for (method, body) in [("GET", None), ("DELETE", None), ("PATCH", Some(&json!({})))] {
        let gone = server.send(method, &path, body).await;
        gone.problem(404, "Webhook not found");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_unique_and_case_sensitive() {
    let server = Server::start().await;
    server.create("siem").await;
    let other = server.create("SIEM").await;
    let body = json!({"name": "siem", "url": "https://b.example", "topic_patterns": ["a"]});
    let taken = server.send("POST", ROUTE, Some(&body)).await;
    taken.problem(409, "Webhook name already exists");
    let path = format!("{ROUTE}/{other}");
    let taken = server
        .send("PATCH", &path, Some(&json!({"name": "siem"})))
        .await;
    taken.problem(409, "Webhook name already exists");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_changes_nothing_leaves_updated_at_alone() {
    let server = Server::start().await;
    let path = format!("{ROUTE}/{}", server.create("siem").await);
    let before = server.send("GET", &path, None).await.json();
    for patch in [
        json!({}),
        json!({"name": null, "url": null, "secret": null, "simple_events": null, "topic_patterns": null, "enabled": null}),
        json!({"name": "siem", "simple_events": ["AttackerDetail"], "enabled": true}),
    ] {
        let reply = server.send("PATCH", &path, Some(&patch)).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.json()["updated_at"], before["updated_at"], "{patch}");
        assert_eq!(reply.json()["dropped_events"], 0);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_never_asks_for_nothing() {
    let server = Server::start().await;
    let body = json!({"name": "n", "url": "https://siem.example"});
    let refused = server.send("POST", ROUTE, Some(&body)).await;
    refused.problem(
        400,
        "Provide at least one simple_events entry or topic_patterns pattern.",
    );
    let path = format!("{ROUTE}/{}", server.create("siem").await);
    let refused = server
        .send("PATCH", &path, Some(&json!({"topic_patterns": []})))
        .await;
    refused.problem(
        400,
        "Cannot clear all patterns; disable the webhook instead.",
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_says_what_it_drops() {
    let server = Server::start().await;
    // Two overlap: they share a consumer whose cover matches more than they do.
    let body = json!({
        "name": "siem", "url": "https://siem.example",
        "topic_patterns": ["attacker.*.b", "attacker.b.*", "email.>"],
    });
    let created = server.send("POST", ROUTE, Some(&body)).await.json();
    let path = format!("{ROUTE}/{}", created["uuid"].as_str().unwrap());
    for pair in &server.store.snapshot().await.unwrap().subscriptions[0].pairs {
        let spec = ConsumerSpec {
            name: format!("{}-{}", server.store.deployment_id(), pair.id),
            filter: pair.filter.cover.clone(),
            incarnation: pair.incarnation.clone(),
            start_seq: pair.start_seq,
            window: 64,
        };
        server.bus.consume(spec).await.unwrap();
    }
    for topic in ["attacker.b.c", "attacker.x.y", "email.x", "smtp.x"] {
        publish(&server, topic).await;
    }
    let paused = server
        .send("PATCH", &path, Some(&json!({"enabled": false})))
        .await;
    let body = paused.json();
    assert_eq!(body["dropped_events"], 2, "{body}");
    assert_eq!(
        (&body["enabled"], &body["state"]),
        (&json!(false), &json!("paused"))
    );

    let resumed = server
        .send("PATCH", &path, Some(&json!({"enabled": true})))
        .await;
    assert_eq!(
        (&resumed.json()["dropped_events"], &resumed.json()["state"]),
        (&json!(0), &json!("active"))
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tripped_rows_are_reset_or_paused() {
    let server = Server::start().await;
    for (enabled, state, failures) in [(true, "active", 0), (false, "paused", 5)] {
        let uuid = server.create(state).await;
        server
            .sqlite()
            .execute(
                "UPDATE webhook_subscriptions SET enabled = 0, consecutive_failures = 5, last_error = 'http 503',
                 auto_disabled_at = '2026-04-24 12:00:00.000000' WHERE uuid = ?1",
                [&uuid],
            )
            .unwrap();
        let path = format!("{ROUTE}/{uuid}");
        let shown = server.send("GET", &path, None).await.json();
        assert_eq!(shown["state"], "tripped");
        assert_eq!(shown["auto_disabled_at"], "2026-04-24T12:00:00.000000Z");

        let patched = server
            .send("PATCH", &path, Some(&json!({"enabled": enabled})))
            .await;
        let patched = patched.json();
        assert_eq!(patched["state"], state);
        assert_eq!(patched["auto_disabled_at"], Value::Null);
        assert_eq!(patched["consecutive_failures"], failures);
        assert_eq!(patched["last_error"].is_null(), enabled);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_read_stop_no_other() {
    let server = Server::start().await;
    let (good, bad) = (server.create("good").await, server.create("bad").await);
    server
        .sqlite()
        .execute(
            "UPDATE webhook_subscriptions SET url = 'nonsense' WHERE uuid = ?1",
            [&bad],
        )
        .unwrap();
    let list = server.send("GET", ROUTE, None).await.json();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(list[0]["uuid"], good.as_str());
    assert_eq!(list[0]["url"], "https://siem.example/");
    let shown = server.send("GET", &format!("{ROUTE}/{bad}"), None).await;
    assert_eq!((shown.status, shown.json()), (200, list[1].clone()));
    assert!(
        list[1]["warnings"][0]
            .as_str()
            .unwrap()
            .starts_with("broken_field: url: ")
    );
    assert!(crate::logs::text().contains(&bad));
    let deleted = server.send("DELETE", &format!("{ROUTE}/{bad}"), None).await;
    assert_eq!(deleted.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_told_of_every_change() {
    let server = Server::start().await;
    let head = async || server.bus.position().await.unwrap().next_seq;
    let start = head().await;
    let path = format!("{ROUTE}/{}", server.create("siem").await);
    assert_eq!(head().await, start + 1);
    server
        .send("PATCH", &path, Some(&json!({"enabled": false})))
        .await;
    assert_eq!(head().await, start + 2);
    server
        .send("PATCH", &path, Some(&json!({"enabled": false})))
        .await;
    assert_eq!(head().await, start + 2, "nothing changed");
    server.send("DELETE", &path, None).await;
    assert_eq!(head().await, start + 3);
    assert_eq!(
        topics::SUBSCRIPTIONS_CHANGED,
        "system.webhook.subscriptions_changed"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_cannot_be_sent_fails_no_request() {
    let server = Server::start_refusing().await;
    let path = format!("{ROUTE}/{}", server.create("siem").await);
    let patched = server
        .send("PATCH", &path, Some(&json!({"enabled": false})))
        .await;
    assert_eq!(patched.status, 200);
    assert_eq!(server.send("DELETE", &path, None).await.status, 200);
    assert!(crate::logs::text().contains("workers not told of a change"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_are_limited_per_client() {
    let server = Server::start().await;
    // What is refused for what it says does not count.
    for _ in 0..25 {
        let refused = server.send("POST", ROUTE, Some(&json!({}))).await;
        assert_eq!(refused.status, 422);
    }
    for n in 0..20 {
        server.create(&n.to_string()).await;
    }
    let body = json!({"name": "one more", "url": "https://siem.example", "topic_patterns": ["a"]});
    let refused = server.send("POST", ROUTE, Some(&body)).await;
    refused.problem(429, "Too many webhooks created; try again later");
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&after));

    let other = crate::server::token(webhook_api::tokens::Role::Admin);
    let created = server.send_as(&other, "POST", ROUTE, Some(&body)).await;
    assert_eq!(created.status, 201, "another client is not concerned");
    server.stop().await;
}

/// Rows that DECNET wrote and delivers are shown, with what in them is not used.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_decnets_are_shown_with_warnings() {
    let server = Server::start().await;
    let uuid = server.create("siem").await;
    let wrote = server.sqlite().execute(
        "UPDATE webhook_subscriptions SET url = 'http://u:hunter2@siem.example/',
            topic_patterns = '[\"a..b\", 7, \"attacker.>\"]'",
        [],
    );
    assert_eq!(wrote.unwrap(), 1);
    let path = format!("{ROUTE}/{uuid}");
    let shown = server.send("GET", &path, None).await;
    let listed = server.send("GET", ROUTE, None).await.json();
    let patch = json!({"enabled": false});
    let patched = server.send("PATCH", &path, Some(&patch)).await;
    for body in [&shown.json(), &listed[0], &patched.json()] {
        assert_eq!(body["url"], "http://***@siem.example/");
        assert_eq!(body["topic_patterns"], json!(["attacker.>"]));
        let warnings = body["warnings"].to_string();
        let bad = warnings.matches("bad_pattern: ").count();
        assert_eq!(bad, 2, "{warnings}");
        assert!(warnings.contains("insecure_url:"), "{warnings}");
    }
    server
        .sqlite()
        .execute_batch(
            "INSERT INTO webhook_subscriptions SELECT 'broken', 'broken', 'no url', secret, topic_patterns,
                enabled, consecutive_failures, last_success_at, last_failure_at, last_error,
                auto_disabled_at, created_at, updated_at FROM webhook_subscriptions",
        )
        .unwrap();
    let status = server.send("GET", "/api/v1/status", None).await.json();
    assert_eq!(status["rows"], json!({"partly_used": 1, "unreadable": 1}));
    let list = json!({"topic_patterns": ["attacker.>"]});
    let mended = server.send("PATCH", &path, Some(&list)).await.json();
    assert!(!mended["warnings"].to_string().contains("bad_pattern"));
    server.stop().await;
}
