//! A secret is shown once, to whoever creates it, and nowhere else: not in answers, not in logs.

use serde_json::json;

use crate::{logs, server::Server};

const ROUTE: &str = "/api/v1/webhooks";

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_in_the_answer_to_create_alone() {
    let server = Server::start().await;
    let (given, changed) = ("given-secret-7c1e5f", "changed-secret-9b2d4a");
    let create = |name: &str, secret| json!({"name": name, "url": "http://127.0.0.1:9/", "secret": secret, "topic_patterns": ["a"], "headers": {"x-key": "value-of-x-key-4f1d"}});
    let created = server
        .send("POST", ROUTE, Some(&create("a", json!(given))))
        .await
        .json();
    assert_eq!(created["secret"], given);
    let generated = server
        .send("POST", ROUTE, Some(&create("b", json!(null))))
        .await
        .json();
    let generated = generated["secret"].as_str().unwrap().to_owned();

    let path = format!("{ROUTE}/{}", created["uuid"].as_str().unwrap());
    let wrong = create("c", json!([given]));
    let taken = create("a", json!(given));
    let test = format!("{path}/test");
    let mut answers = String::new();
    for (method, path, body) in [
        (
            "PATCH",
            path.as_str(),
            Some(&json!({"secret": changed, "name": "renamed"})),
        ),
        ("POST", ROUTE, Some(&wrong)),
        ("POST", ROUTE, Some(&taken)),
        (
            "PATCH",
            path.as_str(),
            Some(&json!({"secret": changed, "colour": changed})),
        ),
        ("POST", test.as_str(), None),
        ("GET", path.as_str(), None),
        ("GET", ROUTE, None),
        ("DELETE", path.as_str(), None),
        ("GET", "/openapi.json", None),
    ] {
        let reply = server.send(method, path, body).await;
        answers.push_str(&String::from_utf8(reply.body).unwrap());
    }
    let log = logs::text();
    assert!(log.contains("subscription created"), "the log is captured");
    let jwt = server.admin.rsplit('.').next().unwrap();
    assert!(!answers.contains("value-of-x-key") && !log.contains("value-of-x-key"));
    for secret in [given, changed, &generated, jwt, crate::server::JWT_KEY] {
        // `a` was taken by nobody after it was renamed, so its create shows the secret again.
        let shown = answers.matches(secret).count();
        assert_eq!(shown, usize::from(secret == given), "{secret} in an answer");
        assert!(!log.contains(secret), "{secret} in the log");
    }
    server.stop().await;
}
