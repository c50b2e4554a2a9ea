//! Rows that DECNET or an operator with SQL wrote and that cannot be read.

use serde_json::json;

use crate::server::Server;

const ROUTE: &str = "/api/v1/webhooks";

/// Rows that cannot be read are shown with what is wrong, and mended by what is right.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_is_shown_and_mended() {
    let server = Server::start().await;
    let right = json!({"name": "siem", "url": "https://siem.example/", "topic_patterns": ["a.b"], "enabled": true});
    for (column, value, field) in [
        ("topic_patterns", "'no list'", "topic_patterns"),
        ("topic_patterns", "'{\"a\": 1}'", "topic_patterns"),
        ("url", "''", "url"),
        ("url", "'ftp://u:hunter2@siem.example/'", "url"),
        ("url", "'no url'", "url"),
        ("name", "x'ff00'", "name"),
        ("enabled", "'maybe'", "enabled"),
    ] {
        let uuid = server.create("siem").await;
        let path = format!("{ROUTE}/{uuid}");
        let broken = format!("UPDATE webhook_subscriptions SET {column} = {value}");
        assert_eq!(server.sqlite().execute(&broken, []).unwrap(), 1);

        let shown = server.send("GET", &path, None).await;
        let listed = server.send("GET", ROUTE, None).await;
        assert_eq!((shown.status, listed.status), (200, 200), "{broken}");
        let shown = shown.json();
        assert_eq!(listed.json(), json!([shown]));
        let warnings = shown["warnings"].to_string();
        assert!(
            warnings.contains(&format!("broken_field: {field}: ")),
            "{warnings}"
        );
        assert!(warnings.contains("supply it with PATCH"), "{warnings}");
        assert!(!warnings.contains("hunter2"), "{warnings}");

        let other = json!({"secret": "another secret of 16"});
        let refused = server.send("PATCH", &path, Some(&other)).await;
        assert_eq!(refused.status, 422, "{broken}");
        let errors = &refused.json()["errors"];
        assert_eq!(errors[0]["field"], field);
        assert!(
            errors[0]["detail"].as_str().unwrap().contains("PATCH"),
            "{errors}"
        );
        let pinged = server.send("POST", &format!("{path}/test"), None).await;
        assert_eq!(pinged.status, 422, "{broken}");

        let patch = json!({ field: right[field] });
        let mended = server.send("PATCH", &path, Some(&patch)).await;
        assert_eq!(mended.status, 200, "{broken}: {mended:?}");
        assert_eq!(mended.json()[field], right[field]);
        let shown = server.send("GET", &path, None).await.json();
        assert!(!shown["warnings"].to_string().contains("broken_field"));
        assert_eq!(server.sqlite().execute(&broken, []).unwrap(), 1);
        assert_eq!(server.send("DELETE", &path, None).await.status, 200);
    }
    server.stop().await;
}

/// Nobody knows whose the headers and the credentials were that a URL no longer names.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_do_not_go_along_from_a_url_that_cannot_be_read() {
    let server = Server::start().await;
    let path = format!("{ROUTE}/{}", server.create("siem").await);
    let headers = json!({"headers": {"authorization": "Bearer of-the-receiver"}});
    assert_eq!(
        server.send("PATCH", &path, Some(&headers)).await.status,
        200
    );
    let broken = "UPDATE webhook_subscriptions SET url = 'ftp://u:p@siem.example/'";
    assert_eq!(server.sqlite().execute(broken, []).unwrap(), 1);
    for (url, field) in [
        ("https://siem.example/", "headers"),
        ("https://***@siem.example/", "url"),
    ] {
        let refused = server
            .send("PATCH", &path, Some(&json!({"url": url})))
            .await;
        assert_eq!(refused.status, 422);
        assert_eq!(refused.json()["errors"][0]["field"], field);
    }
    let given = json!({"url": "https://siem.example/", "headers": {}});
    assert_eq!(server.send("PATCH", &path, Some(&given)).await.status, 200);
    server.stop().await;
}

/// An empty name, which DECNET may have stored, breaks nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_without_a_name_is_shown_and_named() {
    let server = Server::start().await;
    let path = format!("{ROUTE}/{}", server.create("siem").await);
    let empty = "UPDATE webhook_subscriptions SET name = ''";
    assert_eq!(server.sqlite().execute(empty, []).unwrap(), 1);
    assert_eq!(server.send("GET", ROUTE, None).await.json()[0]["name"], "");
    let shown = server.send("GET", &path, None).await.json();
    assert!(
        shown["warnings"].to_string().contains("bad_name: "),
        "{shown}"
    );
    let named = json!({"name": "siem"});
    let named = server.send("PATCH", &path, Some(&named)).await.json();
    assert_eq!(named["name"], "siem");
    assert!(
        !named["warnings"].to_string().contains("bad_name: "),
        "{named}"
    );
    server.stop().await;
}
