//! How deliveries are made, as fields of a subscription.

use serde_json::{Value, json};

use crate::server::Server;

const ROUTE: &str = "/api/v1/webhooks";
const NAMES: [&str; 7] = [
    "max_in_flight",
    "rate_per_second",
    "burst",
    "ordered",
    "timeout_seconds",
    "redelivery_schedule",
    "headers",
];

fn settings_of(body: &Value) -> Value {
    NAMES
        .iter()
        .map(|name| ((*name).to_owned(), body[name].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn given() -> Value {
    json!({
        "max_in_flight": 7, "rate_per_second": 20, "burst": 40, "ordered": true,
        "timeout_seconds": 5, "redelivery_schedule": [1, 60],
        "headers": {"Authorization": "Bearer hunter2", "x-key": "k"},
    })
}

fn redacted() -> Value {
    let mut shown = given();
    shown["headers"] = json!({"authorization": "***", "x-key": "***"});
    shown
}

async fn create(server: &Server) -> String {
    let mut body = given();
    body["name"] = json!("siem");
    body["url"] = json!("https://siem.example");
    body["topic_patterns"] = json!(["attacker.>"]);
    let created = server.send("POST", ROUTE, Some(&body)).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(settings_of(&created.json()), redacted());
    format!("{ROUTE}/{}", created.json()["uuid"].as_str().unwrap())
}

async fn stored_headers(server: &Server, path: &str) -> Vec<(String, String)> {
    let uuid = path.rsplit('/').next().unwrap();
    let stored = server.store.get(uuid).await.unwrap().unwrap();
    (stored.settings.headers().iter())
        .map(|header| (header.name().into(), header.value().expose().into()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_defaults() {
    let server = Server::start().await;
    let path = format!("{ROUTE}/{}", server.create("siem").await);
    let shown = server.send("GET", &path, None).await.json();
    let defaults = json!({
        "max_in_flight": 64, "rate_per_second": 0, "burst": 0, "ordered": false,
        "timeout_seconds": 10, "headers": {},
        "redelivery_schedule": [30, 120, 600, 1800, 3600, 10800, 21600, 43200],
    });
    assert_eq!(settings_of(&shown), defaults);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_changed_by_itself() {
    let server = Server::start().await;
    let path = create(&server).await;
    let mut expected = redacted();
    for (name, value) in [
        ("max_in_flight", json!(1024)),
        ("rate_per_second", json!(0)),
        ("burst", json!(0)),
        ("ordered", json!(false)),
        ("timeout_seconds", json!(60)),
        ("redelivery_schedule", json!([])),
        ("headers", json!({})),
    ] {
        expected[name] = value.clone();
        let mut patch = json!({});
        patch[name] = value;
        let patched = server.send("PATCH", &path, Some(&patch)).await;
        assert_eq!(patched.status, 200, "{patched:?}");
        assert_eq!(settings_of(&patched.json()), expected);
        let shown = server.send("GET", &path, None).await.json();
        assert_eq!(settings_of(&shown), expected);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_again_changes_nothing() {
    let server = Server::start().await;
    let path = create(&server).await;
    let before = server.send("GET", &path, None).await.json();
    for patch in [
        given(),
        redacted(),
        json!({"headers": null, "burst": null, "redelivery_schedule": null}),
    ] {
        let patched = server.send("PATCH", &path, Some(&patch)).await;
        assert_eq!(patched.status, 200, "{patched:?}");
        assert_eq!(patched.json()["updated_at"], before["updated_at"]);
    }
    let headers = stored_headers(&server, &path).await;
    assert_eq!(
        headers[0],
        ("authorization".into(), "Bearer hunter2".into())
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_replaced_and_values_may_be_kept() {
    let server = Server::start().await;
    let path = create(&server).await;
    let patch = json!({"headers": {"AUTHORIZATION": "***", "x-other": "o"}});
    let patched = server.send("PATCH", &path, Some(&patch)).await;
    let shown = json!({"authorization": "***", "x-other": "***"});
    assert_eq!((patched.status, &patched.json()["headers"]), (200, &shown));
    let expected = [("authorization", "Bearer hunter2"), ("x-other", "o")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(stored_headers(&server, &path).await, expected);

    let patch = json!({"headers": {"x-key": "***"}});
    let refused = server.send("PATCH", &path, Some(&patch)).await;
    refused.problem(
        422,
        "headers.x-key: *** keeps a value, and there is none yet",
    );
    let nowhere = format!("{ROUTE}/x");
    let gone = server.send("PATCH", &nowhere, Some(&patch)).await;
    gone.problem(404, "Webhook not found");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_at_the_same_time_keep_each_others_settings() {
    let server = Server::start().await;
    let path = create(&server).await;
    for round in 1..10 {
        let (first, second) = (json!({"max_in_flight": round}), json!({"burst": round}));
        let (first, second) = tokio::join!(
            server.send("PATCH", &path, Some(&first)),
            server.send("PATCH", &path, Some(&second)),
        );
        assert_eq!((first.status, second.status), (200, 200));
        let shown = server.send("GET", &path, None).await.json();
        assert_eq!(
            (&shown["max_in_flight"], &shown["burst"]),
            (&json!(round), &json!(round))
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_asked_for_again_when_the_url_leads_elsewhere() {
    let server = Server::start().await;
    let body = json!({
        "name": "siem", "url": "https://siem.example/hook", "topic_patterns": ["attacker.>"],
        "headers": {"authorization": "Bearer hunter2"},
    });
    let created = server.send("POST", "/api/v1/webhooks", Some(&body)).await;
    let uuid = created.json()["uuid"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/webhooks/{uuid}");
    let elsewhere = "https://other.example/hook";
    for patch in [
        json!({"url": elsewhere}),
        json!({"url": "https://siem.example:8443/hook"}),
        json!({"url": "http://siem.example/hook"}),
        json!({"url": elsewhere, "headers": {"authorization": "***"}}),
    ] {
        let reply = server.send("PATCH", &path, Some(&patch)).await;
        let detail = "must be given again, with their values, or as {} for none: the URL leads to another origin than the one that they were given for";
        reply.wrong_fields(&[("headers", detail)]);
    }
    for patch in [
        json!({"url": "https://siem.example/another/hook"}),
        json!({"url": elsewhere, "headers": {"authorization": "Bearer new"}}),
        json!({"url": "https://third.example/", "headers": {}}),
        json!({"url": elsewhere}),
    ] {
        let reply = server.send("PATCH", &path, Some(&patch)).await;
        assert_eq!(reply.status, 200, "{patch}: {:?}", reply.json());
    }
    server.stop().await;
}
