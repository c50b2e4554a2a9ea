//! The document is the one in the repository, and speaks of the routes that there are.

use serde_json::{Value, json};

use crate::server::Server;

#[test]
fn the_committed_document_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let current = webhook_api::openapi().to_pretty_json().unwrap() + "\n";
    assert!(
        committed == current,
        "docs/openapi.json is out of date; run: cargo run -p webhook-api --example openapi > docs/openapi.json"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_served_and_complete() {
    let server = Server::start().await;
    let reply = server.raw("GET", "/openapi.json", "", b"").await;
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, Some("application/json"))
    );
    let document = reply.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));

    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let name = format!("{method} {path}");
            check_operation(&document, operation, &name);
            // Each is really there: a wrong method would be 405, a wrong path another detail.
            let path = path.replace("{uuid}", "missing").replace("{id}", "missing");
            let reply = server.send(&method.to_uppercase(), &path, None).await;
            assert_ne!(reply.status, 405, "{name}");
            if reply.status == 404 {
                let what = path.split('/').nth(3).unwrap();
                let detail = match what {
                    "webhooks" => "Webhook not found",
                    "deliveries" => "Delivery not found",
                    "replays" => "Replay not found",
                    other => panic!("404 of {other}"),
                };
                reply.problem(404, detail);
            }
        }
    }
    server.stop().await;
}

fn check_operation(document: &Value, operation: &Value, name: &str) {
    assert!(operation["summary"].is_string(), "{name}");
    assert!(operation["operationId"].is_string(), "{name}");
    let responses = operation["responses"].as_object().unwrap();
    if operation["security"].is_array() {
        for status in ["401", "403", "500", "503"] {
            assert!(responses.contains_key(status), "{name} {status}");
        }
    }
    if operation["requestBody"].is_object() {
        for status in ["400", "408", "413", "415", "422"] {
            assert!(responses.contains_key(status), "{name} {status}");
        }
    }
    for (status, response) in responses {
        let Some(reference) = response["$ref"].as_str() else {
            continue;
        };
        let problem = document
            .pointer(&reference[1..])
            .expect("the reference leads somewhere");
        let example = &problem["content"]["application/problem+json"]["example"];
        assert_eq!(example["status"].to_string(), *status, "{name}");
        assert_eq!(example["type"], json!("about:blank"));
    }
}
