//! Dead letters that somebody has seen.

use serde_json::json;

use crate::{
    deliveries::{events, fill, id_of, list},
    server::Server,
};

const ROUTE: &str = "/api/v1/deliveries";

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_and_no_others_are_acknowledged() {
    let server = Server::start().await;
    let uuid = fill(&server).await;
    let acknowledge = async |what: &str| {
        let path = format!("{ROUTE}/{what}");
        server.send("POST", &path, None).await
    };
    let id = id_of(&server, "event-0").await;
    for _ in 0..2 {
        let done = acknowledge(&format!("{id}/acknowledge")).await;
        assert_eq!(
            (done.status, done.json()),
            (200, json!({"id": id, "status": "dead"}))
        );
    }
    let shown = server.send("GET", &format!("{ROUTE}/{id}"), None).await;
    assert!(shown.json()["acknowledged_at"].is_string());
    for event in ["event-1", "event-2"] {
        let id = id_of(&server, event).await;
        let refused = acknowledge(&format!("{id}/acknowledge")).await;
        refused.problem(
            409,
            "The delivery is no dead letter; others need no acknowledgement",
        );
    }
    for wrong in ["", "?status=retrying", "?status=dead&limit=1"] {
        let refused = acknowledge(&format!("acknowledge{wrong}")).await;
        assert_eq!(refused.status, 422, "{wrong}");
    }
    // What is said in a body is not said to it.
    let body = Some(json!({"subscription": "another"}));
    for method in [("POST", "/acknowledge"), ("DELETE", "")] {
        let path = format!("{ROUTE}{}?status=dead", method.1);
        let refused = server.send(method.0, &path, body.as_ref()).await;
        refused.wrong_fields(&[(
            "body",
            "is not read by this route: say which ones in the query",
        )]);
    }
    let path = format!("acknowledge?status=dead&subscription={uuid}");
    let done = acknowledge(&path).await;
    assert_eq!(
        (done.status, done.json()),
        (200, json!({"acknowledged": 1}))
    );
    for (query, expected) in [
        ("acknowledged=true", &["event-3", "event-0"][..]),
        ("acknowledged=false&status=dead", &[]),
    ] {
        assert_eq!(events(&list(&server, query).await), expected, "{query}");
    }
    server.stop().await;
}
