//! Every wrong field, with the field and the sentence that the caller gets.

use serde_json::{Value, json};

use crate::server::Server;

const ROUTE: &str = "/api/v1/webhooks";
const LOOSE: &str = "; to allow it, add 10.0.0.5/32 to DECNET_WEBHOOK_ALLOW_CIDRS or set DECNET_WEBHOOK_ALLOW_PRIVATE=true";

/// A create that is fine but for one field.
fn with(field: &str, value: Value) -> Value {
    let mut body = json!({"name": "n", "url": "https://siem.example", "topic_patterns": ["a.>"]});
    body[field] = value;
    body
}

/// Each wrong value, with its place and sentence; both in a create and in a PATCH.
fn wrong_values() -> Vec<(&'static str, Value, String, String)> {
    let case = |field: &'static str, value: Value, detail: &str| {
        (field, value, field.to_owned(), detail.to_owned())
    };
    let entry = |field: &'static str, value: Value, index: usize, detail: &str| {
        (field, value, format!("{field}[{index}]"), detail.to_owned())
    };
    let refused = |host: &str, detail: String| {
        let url = json!(format!("http://{host}/"));
        case("url", url, &format!("forbidden: {detail}"))
    };
    vec![
        case("name", json!(""), "name has 0 characters; use 1 to 64"),
        case(
            "name",
            json!("x".repeat(65)),
            "name has 65 characters; use 1 to 64",
        ),
        case(
            "name",
            json!("a\nb"),
            r"name contains the control character '\n'",
        ),
        case("name", json!(7), "must be a string, not a number"),
        case("url", json!(["x"]), "must be a string, not a list"),
        case(
            "url",
            json!("nonsense"),
            "\"nonsense\" is no URL: relative URL without a base",
        ),
        case(
            "url",
            json!("ftp://siem.example/"),
            "URL scheme \"ftp\" is not http or https",
        ),
        case(
            "url",
            json!(format!("https://siem.example/{}", "x".repeat(2083))),
            "URL has 2104 characters; at most 2083 are taken",
        ),
        case(
            "url",
            json!("https://***@siem.example/"),
            "has *** for a user name and password that are not known for this address; write them out",
        ),
        refused("10.0.0.5", format!("10.0.0.5 is a private address{LOOSE}")),
        refused(
            "0x0a000005",
            format!("10.0.0.5 is a private address{LOOSE}"),
        ),
        refused(
            "169.254.169.254",
            "169.254.169.254 is a cloud metadata address; no setting allows it".to_owned(),
        ),
        refused(
            "metadata.google.internal",
            "metadata.google.internal names a cloud metadata service; no setting allows it"
                .to_owned(),
        ),
        case(
            "secret",
            json!("fifteen chars.."),
            "secret has 15 characters; use 16 to 256, or leave it out to have one generated",
        ),
        case(
            "secret",
            json!("x".repeat(257)),
            "secret has 257 characters; use 16 to 256, or leave it out to have one generated",
        ),
        case(
            "secret",
            json!("nul in the middle \0 of it"),
            "secret contains a NUL character",
        ),
        case("secret", json!(false), "must be a string, not a boolean"),
        case(
            "enabled",
            json!("yes"),
            "must be true or false, not a string",
        ),
        case("enabled", json!(1), "must be true or false, not a number"),
        case(
            "simple_events",
            json!("AttackerDetail"),
            "must be a list of strings, not a string",
        ),
        entry(
            "simple_events",
            json!(["AttackerDetail", "Nope"]),
            1,
            "\"Nope\" is no simple event; use AttackerDetail, DeckyStatus or SystemStatus",
        ),
        case(
            "topic_patterns",
            json!({}),
            "must be a list of strings, not an object",
        ),
        case(
            "topic_patterns",
            json!(vec!["a"; 257]),
            "has 257 entries; at most 256 are taken",
        ),
        entry(
            "topic_patterns",
            json!(["a", null]),
            1,
            "must be a string, not null",
        ),
        entry(
            "topic_patterns",
            json!([""]),
            0,
            "pattern \"\" has an empty token",
        ),
        entry(
            "topic_patterns",
            json!(["a..b"]),
            0,
            "pattern \"a..b\" has an empty token",
        ),
        entry(
            "topic_patterns",
            json!(["a.>", ">.a"]),
            1,
            "pattern \">.a\" has `>` before its last token",
        ),
        entry(
            "topic_patterns",
            json!(["a*"]),
            0,
            "pattern \"a*\" contains '*' inside a token; `*` and `>` must be whole tokens, others 0x21..0x7E",
        ),
        entry(
            "topic_patterns",
            json!([(["t"; 17].join("."))]),
            0,
            "pattern \"t.t.t.t.t.t.t.t.t.t.t.t.t.t.t.t.t\" has more than 16 tokens",
        ),
        entry(
            "topic_patterns",
            json!(["x".repeat(256)]),
            0,
            &format!("pattern \"{}\" is longer than 255 bytes", "x".repeat(80)),
        ),
        case(
            "uuid",
            json!("x"),
            "is no field of this request; known are name, url, secret, simple_events, topic_patterns, enabled, max_in_flight, rate_per_second, burst, ordered, timeout_seconds, redelivery_schedule, headers",
        ),
    ]
}

/// The same of the settings.
fn wrong_settings() -> Vec<(&'static str, Value, String, String)> {
    let case = |field: &'static str, value: Value, place: &str, detail: &str| {
        (field, value, place.to_owned(), detail.to_owned())
    };
    let field = |field: &'static str, value: Value, detail: &str| case(field, value, field, detail);
    let unsettable = |name: &str| {
        let detail = format!(
            "header {name:?} may not be set; it is not a valid name, or delivery itself sets it"
        );
        case(
            "headers",
            json!({name: "v"}),
            &format!("headers.{name}"),
            &detail,
        )
    };
    vec![
        field(
            "max_in_flight",
            json!(0),
            "max_in_flight 0 is not within 1..1024",
        ),
        field(
            "max_in_flight",
            json!(1025),
            "max_in_flight 1025 is not within 1..1024",
        ),
        field(
            "max_in_flight",
            json!("7"),
            "must be a whole number, not a string",
        ),
        field(
            "max_in_flight",
            json!(1.5),
            "must be a whole number from 0 to 4294967295, not 1.5",
        ),
        field(
            "rate_per_second",
            json!(-1),
            "must be a whole number from 0 to 4294967295, not -1",
        ),
        field(
            "rate_per_second",
            json!(10_001),
            "rate_per_second 10001 is above 10000; 0 means unlimited",
        ),
        field("burst", json!(10_001), "burst 10001 is not within 1..10000"),
        field(
            "ordered",
            json!("yes"),
            "must be true or false, not a string",
        ),
        field(
            "timeout_seconds",
            json!(61),
            "timeout_seconds 61 is not within 1..60",
        ),
        field(
            "redelivery_schedule",
            json!(30),
            "must be a list of whole numbers, not a number",
        ),
        field(
            "redelivery_schedule",
            json!([30, 0]),
            "redelivery_schedule[1] is 0; delays are whole seconds, at least 1",
        ),
        case(
            "redelivery_schedule",
            json!([30, "2m"]),
            "redelivery_schedule[1]",
            "must be a whole number, not a string",
        ),
        field(
            "redelivery_schedule",
            json!(vec![1; 65]),
            "redelivery_schedule has 65 delays; at most 64 are taken",
        ),
        field(
            "redelivery_schedule",
            json!([2_592_000, 1]),
            "redelivery_schedule lasts 2592001 s in all; at most 30 days (2592000 s) are taken",
        ),
        field(
            "headers",
            json!(["a: b"]),
            "must be an object of strings, not a list",
        ),
        case(
            "headers",
            json!({"x-key": 7}),
            "headers.x-key",
            "must be a string, not a number",
        ),
        case(
            "headers",
            json!({"x-key": null}),
            "headers.x-key",
            "must be a string, not null",
        ),
        case(
            "headers",
            json!({"x-key": "a\r\nb: c"}),
            "headers.x-key",
            "the value of header \"x-key\" is empty, longer than 4096 bytes, or not visible ASCII",
        ),
        unsettable("Host"),
        unsettable("connection"),
        unsettable("X-DECNET-Signature"),
        unsettable("webhook-id"),
        unsettable("a b"),
        unsettable(""),
        case(
            "headers",
            json!({"x-new": "***"}),
            "headers.x-new",
            "*** keeps a value, and there is none yet",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_value_has_its_sentence() {
    let server = Server::start().await;
    let path = format!("{ROUTE}/{}", server.create("siem").await);
    for (field, value, place, detail) in wrong_values().into_iter().chain(wrong_settings()) {
        let reply = server
            .send("POST", ROUTE, Some(&with(field, value.clone())))
            .await;
        reply.wrong_fields(&[(&place, &detail)]);
        let mut patch = json!({});
        patch[field] = value;
        let reply = server.send("PATCH", &path, Some(&patch)).await;
        reply.wrong_fields(&[(&place, &detail)]);
    }
    assert_eq!(
        server
            .send("GET", ROUTE, None)
            .await
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_wrong_fields_are_in_one_answer() {
    let server = Server::start().await;
    let reply = server.send("POST", ROUTE, Some(&json!({}))).await;
    reply.wrong_fields(&[("name", "is required"), ("url", "is required")]);
    let body = json!({
        "name": "", "url": "http://10.0.0.5/", "secret": "short", "enabled": "no",
        "simple_events": ["Nope"], "topic_patterns": ["ok", "a..b"], "colour": "red", "uuid": "x",
        "max_in_flight": 0, "burst": "x", "headers": {"host": "a", "x-key": ""},
    });
    let reply = server.send("POST", ROUTE, Some(&body)).await;
    let problem = reply.problem(
        422,
        "12 fields are wrong: name, url, secret, simple_events[0], topic_patterns[1], enabled, max_in_flight, burst, headers.host, headers.x-key, …",
    );
    assert_eq!(problem["errors"].as_array().unwrap().len(), 12);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_object() {
    let server = Server::start().await;
    for body in [json!([]), json!("x"), json!(7), json!(null)] {
        let reply = server.send("POST", ROUTE, Some(&body)).await;
        reply.wrong_fields(&[("body", "must be a JSON object")]);
    }
    server.stop().await;
}
