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
        "from": null, "matched": 2, "replayed": 0, "unavailable": 0, "present": 0,
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

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deleted_webhook_left_can_be_sent_to_another_one() {
    let server = Server::start().await;
    let old = deliveries::fill(&server).await;
    let heir = server.create("heir").await;
    let path = format!("/api/v1/webhooks/{heir}/replay");
    let ask = async |body: Value| server.send("POST", &path, Some(&body)).await;
    let itself = ask(json!({"from": heir})).await;
    itself.wrong_fields(&[(
        "from",
        "is the subscription itself; leave it out to replay its own dead letters",
    )]);
    let there = ask(json!({"from": old, "dry_run": true})).await;
    let detail = format!(
        "{old:?} is a subscription that is there, and its dead letters are its own: replay them to \
         it, or delete it first"
    );
    there.wrong_fields(&[("from", &detail)]);
    let nobody = ask(json!({"from": "nobody"})).await;
    nobody.wrong_fields(&[(
        "from",
        "no dead letters of a subscription \"nobody\" are kept; the list of dead letters shows whose \
         there are",
    )]);
    let delivered = ask(json!({"from": old, "status": "delivered"})).await;
    delivered.wrong_fields(&[(
        "from",
        "needs status dead: of a deleted subscription only dead letters can be sent",
    )]);

    let gone = server
        .send("DELETE", &format!("/api/v1/webhooks/{old}"), None)
        .await;
    assert_eq!(gone.status, 200, "{gone:?}");
    // What it was still to get became dead letters with it.
    let counted = ask(json!({"from": old, "dry_run": true})).await.json();
    assert_eq!(
        (&counted["from"], &counted["matched"]),
        (&json!(old), &json!(4))
    );
    let made = ask(json!({"from": old, "topic": "attacker.>"}))
        .await
        .json();
    assert_eq!(
        (&made["subscription"], &made["from"], &made["matched"]),
        (&json!(heir), &json!(old), &json!(2))
    );
    let missing = server
        .send(
            "POST",
            "/api/v1/webhooks/x/replay",
            Some(&json!({"from": old})),
        )
        .await;
    missing.problem(404, "Webhook not found");
    server.stop().await;
}
