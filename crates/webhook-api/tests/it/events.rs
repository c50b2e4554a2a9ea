//! Publishing over HTTP.

use serde_json::{Value, json};
use webhook_model::topics;

use crate::server::Server;

const ROUTE: &str = "/api/v1/events";

async fn head(server: &Server) -> u64 {
    server.bus.position().await.unwrap().next_seq
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_or_a_list() {
    let server = Server::start().await;
    let start = head(&server).await;
    let one = server
        .send(
            "POST",
            ROUTE,
            Some(&json!({"topic": "attacker.x", "payload": {"a": 1}})),
        )
        .await;
    assert_eq!(one.status, 202, "{one:?}");
    assert_eq!(one.json()["ids"].as_array().unwrap().len(), 1);
    let list = json!([{"topic": "attacker.x", "id": "first"}, {"topic": "decky.d.state"}]);
    let two = server.send("POST", ROUTE, Some(&list)).await;
    assert_eq!(two.status, 202);
    assert_eq!(two.json()["ids"][0], "first");
    assert_eq!(head(&server).await, start + 3);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_ids_may_be_sent_again() {
    let server = Server::start().await;
    let start = head(&server).await;
    let list = json!([
        {"topic": "attacker.x", "id": "a", "ts": 1777032000, "payload": {"n": 1}},
        {"topic": "attacker.x", "id": "b"},
    ]);
    for _ in 0..3 {
        let reply = server.send("POST", ROUTE, Some(&list)).await;
        assert_eq!(
            (reply.status, reply.json()),
            (202, json!({"ids": ["a", "b"]}))
        );
    }
    assert_eq!(head(&server).await, start + 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_or_none() {
    let server = Server::start().await;
    let start = head(&server).await;
    let mut list = vec![json!({"topic": "attacker.x"}); 999];
    list.push(json!({"topic": "attacker..x"}));
    let reply = server
        .send("POST", ROUTE, Some(&Value::Array(list.clone())))
        .await;
    reply.wrong_fields(&[("[999].topic", "topic \"attacker..x\" has an empty token")]);
    assert_eq!(head(&server).await, start);

    list[999] = json!({"topic": "attacker.x"});
    let reply = server
        .send("POST", ROUTE, Some(&Value::Array(list.clone())))
        .await;
    assert_eq!(reply.status, 202);
    assert_eq!(head(&server).await, start + 1_000);

    list.push(json!({"topic": "attacker.x"}));
    let reply = server.send("POST", ROUTE, Some(&Value::Array(list))).await;
    reply.wrong_fields(&[("body", "has more than 1000 events; send 1 to 1000 at once")]);
    let reply = server.send("POST", ROUTE, Some(&json!([]))).await;
    reply.wrong_fields(&[("body", "has 0 events; send 1 to 1000 at once")]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_member_has_its_sentence() {
    let server = Server::start().await;
    let long = "x".repeat(256);
    for (event, field, detail) in [
        (json!(7), "body", "must be a JSON object"),
        (json!({}), "topic", "is required"),
        (json!({"topic": 1}), "topic", "must be a string"),
        (
            json!({"topic": ""}),
            "topic",
            "topic \"\" has an empty token",
        ),
        (
            json!({"topic": "a.*"}),
            "topic",
            "topic \"a.*\" contains '*', which may not stand in a topic",
        ),
        (
            json!({"topic": long}),
            "topic",
            &*format!("topic \"{}\" is longer than 255 bytes", "x".repeat(80)),
        ),
        (
            json!({"topic": (["t"; 17].join("."))}),
            "topic",
            "topic \"t.t.t.t.t.t.t.t.t.t.t.t.t.t.t.t.t\" has more than 16 tokens",
        ),
        (
            json!({"topic": "a", "id": "x.y"}),
            "id",
            "event id \"x.y\" is not 1..128 characters 0x21..0x7E without `.`",
        ),
        (json!({"topic": "a", "id": 7}), "id", "must be a string"),
        (
            json!({"topic": "a", "ts": "soon"}),
            "ts",
            "ts \"soon\" is neither epoch seconds nor an ISO-8601 date-time",
        ),
        (
            json!({"topic": "a", "ts": {}}),
            "ts",
            "ts {} is neither epoch seconds nor an ISO-8601 date-time",
        ),
        (json!({"topic": "a", "type": 7}), "type", "must be a string"),
        (
            json!({"topic": "a", "payload": [1]}),
            "payload",
            "must be a JSON object",
        ),
        (
            json!({"topic": "a", "v": 2}),
            "v",
            "must be 1, the only version there is",
        ),
    ] {
        let reply = server.send("POST", ROUTE, Some(&event)).await;
        reply.wrong_fields(&[(field, detail)]);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_topics_are_nobodys() {
    let server = Server::start().await;
    for topic in [
        topics::CONTROL,
        topics::HEALTH,
        topics::SUBSCRIPTIONS_CHANGED,
        "system.webhook.x",
    ] {
        let events = json!([{"topic": "attacker.x"}, {"topic": topic}]);
        let reply = server.send("POST", ROUTE, Some(&events)).await;
        reply.problem(
            403,
            "Topics under system.webhook. are published by DECNET itself alone",
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_has_at_most_a_mebibyte() {
    let server = Server::start().await;
    let event = |size: usize| json!({"topic": "attacker.x", "payload": {"k": "x".repeat(size)}});
    let reply = server
        .send("POST", ROUTE, Some(&event((1 << 20) - 200)))
        .await;
    assert_eq!(reply.status, 202, "{reply:?}");
    let reply = server.send("POST", ROUTE, Some(&event(1 << 20))).await;
    reply.problem(413, "The event has more than 1048576 bytes");
    let reply = server
        .send(
            "POST",
            ROUTE,
            Some(&json!([{"topic": "a"}, event(1 << 20)])),
        )
        .await;
    reply.problem(413, "[1]: the event has more than 1048576 bytes");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_takes_nothing_is_503() {
    let server = Server::start_refusing().await;
    let reply = server
        .send("POST", ROUTE, Some(&json!({"topic": "attacker.x"})))
        .await;
    reply.problem(
        503,
        "The bus cannot take events now; send the same ids again later",
    );
    assert_eq!(reply.header("retry-after"), Some("5"));
    server.stop().await;
}
