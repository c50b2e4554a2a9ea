//! What an operator asks first.

use std::time::Duration;

use serde_json::{Value, json};
use webhook_api::tokens::Role;
use webhook_bus::ConsumerSpec;
use webhook_model::UtcTime;
use webhook_store::{Beat, Trip, WORKER_PATIENCE};

use crate::{
    deliveries,
    server::{Server, token},
};

const ROUTE: &str = "/api/v1/status";

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_counted() {
    let server = Server::start().await;
    let body = server.send("GET", ROUTE, None).await.json();
    assert_eq!(
        body["subscriptions"],
        json!({"active": 0, "paused": 0, "tripped": 0})
    );
    let none = json!({"retrying": 0, "dead": 0, "dead_acknowledged": 0, "oldest_retrying": null});
    assert_eq!(body["deliveries"], none);

    deliveries::fill(&server).await;
    let paused = format!("/api/v1/webhooks/{}", server.create("paused").await);
    let patch = json!({"enabled": false});
    server.send("PATCH", &paused, Some(&patch)).await;
    let reply = server
        .send_as(&token(Role::Viewer), "GET", ROUTE, None)
        .await;
    assert_eq!(reply.status, 200);
    let body = reply.json();
    assert_eq!(
        body["subscriptions"],
        json!({"active": 1, "paused": 1, "tripped": 0})
    );
    let waiting = json!({"retrying": 2, "dead": 2, "dead_acknowledged": 0, "oldest_retrying": "2026-04-24T12:00:01.000000Z"});
    assert_eq!(body["deliveries"], waiting);
    assert_eq!(body["database"], json!({"reachable": true}));
    let bus = &body["bus"];
    assert_eq!(
        (&bus["reachable"], &bus["kind"]),
        (&json!(true), &json!("journal"))
    );
    assert_eq!((&bus["head"], &bus["refusing"]), (&json!(3), &Value::Null));
    assert!(bus["bytes"].as_u64().unwrap() > 0);
    server.stop().await;
}

/// DECNET's worker beside ours: everything arrives twice, and it is said where operators look.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_another_installation_is_named() {
    let server = Server::start().await;
    let beat = async |payload: serde_json::Value| {
        let topic = webhook_model::Topic::parse("system.webhook.health").unwrap();
        let envelope = json!({"v": 1, "type": "health", "payload": payload});
        let heartbeat = webhook_bus::Publication {
            topic,
            bytes: envelope.to_string().into(),
            dedup: None,
        };
        server.bus.publish(vec![heartbeat]).await.unwrap();
    };
    let named = async || server.send("GET", ROUTE, None).await.json()["other_worker"].clone();
    assert_eq!(named().await, Value::Null);
    beat(json!({"worker": "webhook", "ts": 1})).await;
    let at = named().await["last_heartbeat"].as_str().unwrap().to_owned();
    assert!(at.ends_with('Z'), "{at}");
    // Alone it delivers nothing twice.
    assert_eq!(server.raw("GET", "/readyz", "", b"").await.status, 200);
    beat(json!({"worker": "webhook", "deployment": server.store.deployment_id()})).await;
    let reply = server.raw("GET", "/readyz", "", b"").await;
    assert_eq!(reply.status, 503);
    let missing = reply.json()["missing"][0].as_str().unwrap().to_owned();
    assert!(missing.contains("another was heard"), "{missing}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_refuses_says_why() {
    let server = Server::start_refusing().await;
    let body = server.send("GET", ROUTE, None).await.json();
    assert_eq!(body["bus"]["reachable"], true);
    assert!(body["bus"]["refusing"].is_string(), "{body}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_only_publish() {
    let server = Server::start().await;
    let reply = server
        .send_as(&token(Role::Publisher), "GET", ROUTE, None)
        .await;
    reply.problem(403, "Insufficient permissions");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_and_what_waits_for_them() {
    let server = Server::start().await;
    let none = server.send("GET", ROUTE, None).await.json();
    assert_eq!(none["workers"], json!([]));
    let empty = json!({"events": 0, "complete": true, "subscriptions": []});
    assert_eq!(none["backlog"], empty);

    let beat = Beat {
        instance: "8d1a".into(),
        name: "master/4711".into(),
        version: "0.1.0".into(),
        settled: 1,
        holding: Vec::new(),
    };
    server.store.beat(&beat, WORKER_PATIENCE).await.unwrap();
    let uuid = server.create("siem").await;
    // Nobody has opened its consumer yet.
    let unopened = server.send("GET", ROUTE, None).await.json();
    assert_eq!(unopened["backlog"]["complete"], false);
    let worker = &unopened["workers"][0];
    assert_eq!(
        (&worker["name"], &worker["alive"]),
        (&json!("master/4711"), &json!(true))
    );

    let snapshot = server.store.snapshot().await.unwrap();
    let pair = &snapshot.subscriptions[0].pairs[0];
    let spec = ConsumerSpec {
        name: pair.consumer_name(server.store.deployment_id()),
        filter: pair.filter.cover.clone(),
        incarnation: pair.incarnation.clone(),
        start_seq: pair.start_seq,
        window: 64,
    };
    let consumer = server.bus.consume(spec).await.unwrap();
    let event = json!({"topic": "attacker.observed", "payload": {}});
    let list = json!([event, event, {"topic": "decky.d1.state", "payload": {}}]);
    server.send("POST", "/api/v1/events", Some(&list)).await;
    let waiting = server.send("GET", ROUTE, None).await.json();
    let expected = json!({
        "events": 2, "complete": true,
        "subscriptions": [{"subscription": uuid, "name": "siem", "events": 2}],
    });
    assert_eq!(waiting["backlog"], expected);
    drop(consumer);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gets_nothing_is_named_with_cause_and_end() {
    let server = Server::start().await;
    let nobody = json!({"asked_for_pause": 0, "subscriptions": [], "more": 0});
    let body = server.send("GET", ROUTE, None).await.json();
    assert_eq!(body["troubles"], nobody);

    let (slow, down) = (server.create("slow").await, server.create("down").await);
    server.create("well").await;
    let epoch = async |uuid: &str| {
        let snapshot = server.store.snapshot().await.unwrap();
        let found = snapshot.subscriptions.into_iter();
        let mut found = found.filter(|view| view.subscription.uuid == uuid);
        found.next().unwrap().epoch
    };
    let until = UtcTime::now() + Duration::from_secs(3_000);
    let paused = server.store.pause_until(&slow, epoch(&slow).await, until);
    assert!(paused.await.unwrap());
    let trip = Trip {
        cause: Some("http 503"),
        probe_at: Some(until),
        answers: false,
    };
    let tripped = server.store.trip(&down, epoch(&down).await, trip);
    assert!(tripped.await.unwrap());

    let body = server
        .send_as(&token(Role::Viewer), "GET", ROUTE, None)
        .await
        .json();
    let until = until.rfc3339().to_string();
    let since = &body["troubles"]["subscriptions"][0]["since"];
    assert!(since.is_string(), "{body}");
    let expected = json!({
        "asked_for_pause": 1, "more": 0, "subscriptions": [
            {"subscription": down, "name": "down", "state": "tripped", "reason": "http 503",
             "since": since, "paused_until": null, "next_probe_at": until},
            {"subscription": slow, "name": "slow", "state": "waiting", "reason": null,
             "since": null, "paused_until": until, "next_probe_at": null},
        ],
    });
    assert_eq!(body["troubles"], expected);

    let listed = server.send("GET", "/api/v1/webhooks", None).await.json();
    for (uuid, state, paused_until, next_probe_at) in [
        (&slow, "active", json!(until), Value::Null),
        (&down, "tripped", Value::Null, json!(until)),
    ] {
        let route = format!("/api/v1/webhooks/{uuid}");
        let shown = server.send("GET", &route, None).await.json();
        let found = (shown["state"].as_str(), &shown["paused_until"]);
        assert_eq!(found, (Some(state), &paused_until));
        assert_eq!(shown["next_probe_at"], next_probe_at);
        assert!(listed.as_array().unwrap().contains(&shown), "{listed}");
        let same = json!({"name": shown["name"]});
        let patched = server.send("PATCH", &route, Some(&same)).await.json();
        assert_eq!(patched["paused_until"], paused_until, "nothing changed");
        assert_eq!(patched["next_probe_at"], next_probe_at);
    }
    let route = format!("/api/v1/webhooks/{down}");
    let enabled = json!({"enabled": true});
    let patched = server.send("PATCH", &route, Some(&enabled)).await.json();
    assert_eq!(patched["next_probe_at"], Value::Null);
    server.stop().await;
}
