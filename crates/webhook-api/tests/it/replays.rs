//! Replay jobs over HTTP; the worker is what moves them.

use serde_json::{Value, json};
use webhook_api::tokens::Role;

use crate::{
    deliveries,
    server::{Server, token},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_made_and_shown() {
    let server = Server::start().await;
    let uuid = deliveries::fill(&server).await;
    let path = format!("/api/v1/webhooks/{uuid}/replay");
    let dry = json!({"status": "dead", "topic": "attacker.>", "dry_run": true});
    let dry = server.send("POST", &path, Some(&dry)).await;
    assert_eq!(dry.status, 202, "{dry:?}");
    let dry = dry.json();
    assert_eq!(
        (&dry["id"], &dry["state"]),
        (&Value::Null, &json!("dry_run"))
    );
    assert_eq!(dry["matched"], 1);

    let waiting = json!({"status": "retrying", "error": "503", "dry_run": true});
    let waiting = server.send("POST", &path, Some(&waiting)).await.json();
    assert_eq!(waiting["matched"], 2);

    let made = server.send("POST", &path, Some(&json!({}))).await;
    assert_eq!(made.status, 202, "{made:?}");
    let made = made.json();
    let expected = json!({
        "id": made["id"], "subscription": uuid, "state": "running", "reason": null,
        "matched": 2, "replayed": 0, "unavailable": 0,
    });
    assert_eq!(made, expected);
    let job = format!("/api/v1/replays/{}", made["id"].as_str().unwrap());
    let shown = server
        .send_as(&token(Role::Viewer), "GET", &job, None)
        .await;
    assert_eq!((shown.status, shown.json()), (200, made));
    for (role, method, path) in [
        (Role::Viewer, "POST", &path),
        (Role::Publisher, "POST", &path),
        (Role::Publisher, "GET", &job),
    ] {
        let reply = server.send_as(&token(role), method, path, None).await;
        reply.problem(403, "Insufficient permissions");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_or_missing_is_told() {
    let server = Server::start().await;
    for body in [json!({}), json!({"dry_run": true})] {
        let reply = server
            .send("POST", "/api/v1/webhooks/x/replay", Some(&body))
            .await;
        reply.problem(404, "Webhook not found");
    }
    let reply = server.send("GET", "/api/v1/replays/x", None).await;
    reply.problem(404, "Replay not found");
    let body = json!({"status": "gone", "dry_run": "yes", "error": "a\0"});
    let reply = server
        .send("POST", "/api/v1/webhooks/x/replay", Some(&body))
        .await;
    reply.wrong_fields(&[
        ("status", "must be dead, retrying or delivered"),
        ("error", "contains a NUL character"),
        ("dry_run", "must be true or false, not a string"),
    ]);
    server.stop().await;
}
