//! The delivery log over HTTP.

use std::time::Duration;

use serde_json::{Value, json};
use webhook_api::tokens::Role;
use webhook_model::{DeliveryStatus, UtcTime};
use webhook_store::{AttemptRecord, DeliveryRecord};

use crate::server::{Server, token};

const ROUTE: &str = "/api/v1/deliveries";
const START: i64 = 1_777_032_000_000_000;

/// The `seq`th event of `attacker.x`, or `email.x` for the odd ones, a second after the one before.
fn record(subscription: &str, seq: u32, status: DeliveryStatus) -> DeliveryRecord {
    let at = UtcTime::from_micros(START + i64::from(seq) * 1_000_000);
    let delivered = status == DeliveryStatus::Delivered;
    let failed = AttemptRecord {
        at,
        status_code: Some(503),
        duration: Duration::from_millis(12),
        error: Some("http 503".into()),
        answer: b"try \xff again".to_vec().into(),
    };
    DeliveryRecord {
        pair_id: "pair".into(),
        seq: seq.into(),
        incarnation: "journal-1".into(),
        subscription: subscription.into(),
        event_id: format!("event-{seq}"),
        topic: if seq.is_multiple_of(2) {
            "attacker.x"
        } else {
            "email.x"
        }
        .into(),
        kind: "seen".into(),
        status,
        attempts: 1,
        round: 0,
        failed_attempts: if delivered { vec![] } else { vec![failed] },
        status_code: Some(if delivered { 204 } else { 503 }),
        error: (!delivered).then(|| "http 503".into()),
        duration: Duration::from_millis(12),
        body: (!delivered).then(|| r#"{"n":1.50}"#.into()),
        at,
        next_attempt_at: (status == DeliveryStatus::Retrying).then(|| at + Duration::from_secs(30)),
        in_order: false,
        epoch: 0,
        counts: false,
    }
}

/// Six deliveries: dead, retrying, delivered, and again.
pub(crate) async fn fill(server: &Server) -> String {
    use DeliveryStatus::{Dead, Delivered, Retrying};
    let uuid = server.create("siem").await;
    let statuses = [Dead, Retrying, Delivered, Dead, Retrying, Delivered];
    let records: Vec<_> = (0..)
        .zip(statuses)
        .map(|(seq, status)| record(&uuid, seq, status))
        .collect();
    server.store.record(&records).await.unwrap();
    uuid
}

pub(crate) async fn list(server: &Server, query: &str) -> Value {
    let reply = server.send("GET", &format!("{ROUTE}?{query}"), None).await;
    assert_eq!(reply.status, 200, "{query}: {reply:?}");
    reply.json()
}

pub(crate) fn events(page: &Value) -> Vec<&str> {
    (page["items"].as_array().unwrap().iter())
        .map(|item| item["event_id"].as_str().unwrap())
        .collect()
}

pub(crate) async fn id_of(server: &Server, event: &str) -> i64 {
    let page = list(server, &format!("event_id={event}")).await;
    page["items"][0]["id"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_listed_latest_first() {
    let server = Server::start().await;
    let uuid = fill(&server).await;
    let page = list(&server, "").await;
    let all = [
        "event-5", "event-4", "event-3", "event-2", "event-1", "event-0",
    ];
    assert_eq!(events(&page), all);
    assert_eq!(page["next_cursor"], Value::Null);
    let mut waiting = page["items"][1].clone();
    assert!(
        waiting
            .as_object_mut()
            .unwrap()
            .remove("id")
            .unwrap()
            .is_i64()
    );
    let expected = json!({
        "subscription": uuid, "event_id": "event-4", "topic": "attacker.x", "type": "seen",
        "status": "retrying", "attempts": 1, "status_code": 503, "error": "http 503",
        "duration_ms": 12, "created_at": "2026-04-24T12:00:04.000000Z",
        "updated_at": "2026-04-24T12:00:04.000000Z",
        "next_attempt_at": "2026-04-24T12:00:34.000000Z", "in_order": false,
        "acknowledged_at": null,
    });
    assert_eq!(waiting, expected);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_join() {
    let server = Server::start().await;
    let uuid = fill(&server).await;
    for (query, expected) in [
        ("status=dead", &["event-3", "event-0"][..]),
        ("topic=email.%3E", &["event-5", "event-3", "event-1"]),
        ("topic=*.x&status=delivered", &["event-5", "event-2"]),
        ("event_id=event-2", &["event-2"]),
        ("event_id=event-2&status=dead", &[]),
        (
            "since=2026-04-24T12:00:02Z&until=2026-04-24T12:00:04Z",
            &["event-3", "event-2"],
        ),
        ("subscription=nobody", &[]),
        ("subscription=&status=retrying", &["event-4", "event-1"]),
    ] {
        assert_eq!(events(&list(&server, query).await), expected, "{query}");
    }
    let own = format!("subscription={uuid}&topic=attacker.x&status=dead");
    assert_eq!(events(&list(&server, &own).await), ["event-0"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other() {
    let server = Server::start().await;
    fill(&server).await;
    let (mut query, mut seen) = ("limit=4".to_owned(), Vec::new());
    loop {
        let page = list(&server, &query).await;
        seen.extend(events(&page).into_iter().map(str::to_owned));
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        assert_eq!(seen.len(), 4);
        query = format!("limit=4&cursor={cursor}");
    }
    assert_eq!(seen.len(), 6);
    assert_eq!(seen[5], "event-0");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_parameters_are_all_named() {
    let server = Server::start().await;
    let limits = "must be a whole number from 1 to 500";
    for (query, field, detail) in [
        ("limit=0", "limit", limits),
        ("limit=501", "limit", limits),
        ("limit=x", "limit", limits),
        (
            "status=gone",
            "status",
            "\"gone\" is no delivery status; use retrying, delivered or dead",
        ),
        ("topic=a..b", "topic", "pattern \"a..b\" has an empty token"),
        (
            "since=soon",
            "since",
            "\"soon\" is no date-time; use e.g. 2026-04-24T12:00:00Z",
        ),
        (
            "until=1",
            "until",
            "\"1\" is no date-time; use e.g. 2026-04-24T12:00:00Z",
        ),
        ("event_id=a%00", "event_id", "contains a NUL character"),
        (
            "status=dead&status=dead",
            "status",
            "is given more than once",
        ),
        (
            "cursor=x",
            "cursor",
            "the cursor is not understood; pass the next_cursor of the page before, or none",
        ),
        (
            "colour=red",
            "colour",
            "is no parameter of this request; known are subscription, status, topic, event_id, error, since, until, acknowledged, limit, cursor",
        ),
    ] {
        let reply = server.send("GET", &format!("{ROUTE}?{query}"), None).await;
        reply.wrong_fields(&[(field, detail)]);
    }
    let reply = server
        .send("GET", &format!("{ROUTE}?limit=0&cursor=x&a=b"), None)
        .await;
    reply.problem(422, "3 fields are wrong: limit, cursor, a");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_sees_bodies_and_answers_and_a_viewer_neither() {
    let server = Server::start().await;
    fill(&server).await;
    let path = format!("{ROUTE}/{}", id_of(&server, "event-0").await);
    let reply = server.send("GET", &path, None).await;
    assert_eq!(reply.status, 200);
    let text = String::from_utf8(reply.body.clone()).unwrap();
    assert!(
        text.contains(r#""body":{"n":1.50}"#),
        "digits are kept: {text}"
    );
    let viewed = server
        .send_as(&token(Role::Viewer), "GET", &path, None)
        .await
        .json();
    let mut attempt = json!({
        "at": "2026-04-24T12:00:00.000000Z", "status_code": 503, "duration_ms": 12,
        "error": "http 503",
    });
    assert_eq!(viewed["failed_attempts"], json!([attempt]));
    attempt["answer"] = json!("try \u{fffd} again");
    assert_eq!(reply.json()["failed_attempts"], json!([attempt]));
    assert_eq!(viewed["status"], "dead");
    assert!(viewed.get("body").is_none() && viewed.get("body_base64").is_none());

    server
        .sqlite()
        .execute("UPDATE webhook_deliveries SET body = x'ff00'", [])
        .unwrap();
    let shown = server.send("GET", &path, None).await.json();
    assert_eq!(
        (&shown["body"], &shown["body_base64"]),
        (&Value::Null, &json!("/wA="))
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_and_waiting_ones_are_tried_again() {
    let server = Server::start().await;
    fill(&server).await;
    for event in ["event-0", "event-1"] {
        let id = id_of(&server, event).await;
        let reply = server
            .send("POST", &format!("{ROUTE}/{id}/retry"), None)
            .await;
        assert_eq!(
            (reply.status, reply.json()),
            (202, json!({"id": id, "status": "retrying"}))
        );
        let shown = server
            .send("GET", &format!("{ROUTE}/{id}"), None)
            .await
            .json();
        assert_eq!(shown["status"], "retrying");
        assert!(shown["next_attempt_at"].is_string());
    }
    let retry = async |event: &str| {
        let path = format!("{ROUTE}/{}/retry", id_of(&server, event).await);
        server.send("POST", &path, None).await
    };
    retry("event-2")
        .await
        .problem(409, "The delivery has arrived already");
    let sqlite = server.sqlite();
    sqlite
        .execute(
            "UPDATE webhook_deliveries SET body = NULL WHERE event_id = 'event-3'",
            [],
        )
        .unwrap();
    let bodiless = retry("event-3").await;
    bodiless.problem(409, "No body was kept of the delivery that could be sent");
    sqlite
        .execute("DELETE FROM webhook_subscriptions", [])
        .unwrap();
    let orphan = retry("event-4").await;
    orphan.problem(409, "The webhook of the delivery was deleted");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_given_up() {
    let server = Server::start().await;
    let uuid = fill(&server).await;
    let head = DeliveryRecord {
        in_order: true,
        ..record(&uuid, 10, DeliveryStatus::Retrying)
    };
    server.store.record(&[head]).await.unwrap();
    let skip = async |event: &str| {
        let id = id_of(&server, event).await;
        let path = format!("{ROUTE}/{id}/skip");
        (id, server.send("POST", &path, None).await)
    };
    assert_eq!(
        list(&server, "event_id=event-10").await["items"][0]["in_order"],
        true
    );
    let (id, skipped) = skip("event-10").await;
    assert_eq!(
        (skipped.status, skipped.json()),
        (202, json!({"id": id, "status": "dead"}))
    );
    let path = format!("{ROUTE}/{id}");
    let shown = server.send("GET", &path, None).await.json();
    assert_eq!(
        (&shown["status"], &shown["error"]),
        (&json!("dead"), &json!("skipped by an operator"))
    );
    assert_eq!(
        (&shown["in_order"], &shown["next_attempt_at"]),
        (&json!(false), &Value::Null)
    );
    for event in ["event-10", "event-0", "event-2"] {
        let (_, refused) = skip(event).await;
        refused.problem(
            409,
            "The delivery does not wait: it has arrived or is a dead letter",
        );
    }
    let lease = Duration::from_secs(60);
    let claimed = server.store.claim(&uuid, 9, "worker", lease).await.unwrap();
    assert_eq!(claimed.len(), 2);
    let (_, tried) = skip("event-1").await;
    tried.problem(
        409,
        "The delivery is being tried at this moment; ask again in a few seconds",
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_id_may_be_asked_for() {
    let server = Server::start().await;
    for id in [
        "1",
        "0",
        "-1",
        "x",
        "%00",
        "99999999999999999999",
        "+1",
        "01",
    ] {
        let shown = server.send("GET", &format!("{ROUTE}/{id}"), None).await;
        shown.problem(404, "Delivery not found");
        for action in ["retry", "skip", "acknowledge"] {
            let path = format!("{ROUTE}/{id}/{action}");
            let asked = server.send("POST", &path, None).await;
            asked.problem(404, "Delivery not found");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_read_and_publishers_do_not() {
    let server = Server::start().await;
    fill(&server).await;
    let path = format!("{ROUTE}/{}", id_of(&server, "event-0").await);
    let retry = format!("{path}/retry");
    let skip = format!("{path}/skip");
    for (role, method, path, status) in [
        (Role::Viewer, "GET", ROUTE, 200),
        (Role::Viewer, "GET", &path, 200),
        (Role::Viewer, "POST", &retry, 403),
        (Role::Publisher, "GET", ROUTE, 403),
        (Role::Publisher, "GET", &path, 403),
        (Role::Publisher, "POST", &retry, 403),
        (Role::Viewer, "POST", &skip, 403),
        (Role::Publisher, "POST", &skip, 403),
    ] {
        let reply = server.send_as(&token(role), method, path, None).await;
        assert_eq!(reply.status, status, "{role} {method} {path}");
        if status == 403 {
            reply.problem(403, "Insufficient permissions");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_admin_purges_and_only_dead_letters() {
    let server = Server::start().await;
    fill(&server).await;
    let purge = async |query: &str| {
        let path = format!("{ROUTE}?{query}");
        server.send("DELETE", &path, None).await
    };
    for wrong in ["", "status=delivered", "status=dead&orphans=maybe"] {
        assert_eq!(purge(wrong).await.status, 422, "{wrong}");
    }
    for role in [Role::Viewer, Role::Publisher] {
        let path = format!("{ROUTE}?status=dead");
        let reply = server.send_as(&token(role), "DELETE", &path, None).await;
        assert_eq!(reply.status, 403);
    }
    let purged = purge("status=dead&topic=email.x").await;
    assert_eq!((purged.status, purged.json()), (200, json!({"purged": 1})));
    assert_eq!(purge("status=dead").await.json(), json!({"purged": 1}));
    let left = server.send("GET", ROUTE, None).await.json();
    assert_eq!(left["items"].as_array().unwrap().len(), 4);
}
