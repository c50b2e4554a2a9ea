use super::*;

/// As an admin, whose topics are not limited.
fn read(body: &[u8]) -> Result<Events, Problem> {
    super::read(body, &Permission::unlimited())
}

fn one(body: &str) -> Publication {
    let mut events = read(body.as_bytes()).unwrap();
    assert_eq!(events.ids.len(), 1);
    events.publications.remove(0)
}

fn decoded(publication: &Publication) -> Event {
    let place = Place {
        incarnation: "j",
        seq: 1,
        at: UtcTime::EPOCH,
    };
    Event::decode(&publication.topic, &publication.bytes, &place).unwrap()
}

#[track_caller]
fn wrong(body: &str, expected: &[&str]) {
    let Err(Problem::Invalid(errors)) = read(body.as_bytes()) else {
        panic!("taken: {body}");
    };
    let fields: Vec<_> = errors.iter().map(|e| e.field.as_str()).collect();
    assert_eq!(fields, expected, "{body}");
}

#[test]
fn members_reach_the_bus_as_they_came() {
    let publication = one(
        r#" {"topic":"a.b","type":"t","id":"x1","ts":1.50,"payload":{"n":1180591620717411303424,"m":1e-05},"extra":[1.0],"none":null} "#,
    );
    assert_eq!(publication.topic.as_str(), "a.b");
    let event = decoded(&publication);
    assert_eq!(event.id.as_str(), "x1");
    assert_eq!(
        event.payload.as_str(),
        r#"{"_extra":{"extra":[1.0],"none":null},"m":1e-05,"n":1180591620717411303424}"#
    );
    assert_eq!(event.kind, "t");
    assert!(publication.dedup.is_some());
}

#[test]
fn what_is_absent_is_filled_in() {
    for body in [
        r#"{"topic":"a"}"#,
        r#"{"topic":"a","id":null,"ts":null,"type":null,"payload":null,"v":null}"#,
    ] {
        let publication = one(body);
        let event = decoded(&publication);
        assert_eq!(event.payload.as_str(), "{}");
        assert_eq!(event.kind, "");
        assert_eq!(
            event.ts.iso(),
            "1970-01-01T00:00:00+00:00",
            "the bus's time"
        );
        assert_eq!(publication.dedup, None);
    }
    assert_ne!(one(r#"{"topic":"a"}"#).bytes, one(r#"{"topic":"a"}"#).bytes);
}

#[test]
fn the_same_event_has_the_same_key() {
    let body = r#"{"topic":"a","id":"x","payload":{"k":1}}"#;
    assert_eq!(one(body).dedup, one(body).dedup);
    let other = r#"{"topic":"a","id":"x","payload":{"k":2}}"#;
    assert_ne!(one(body).dedup, one(other).dedup);
}

#[test]
fn everything_wrong_is_named() {
    wrong("7", &["body"]);
    wrong("[]", &["body"]);
    wrong("{}", &["topic"]);
    wrong(r#"{"topic":null}"#, &["topic"]);
    wrong(r#"{"topic":7}"#, &["topic"]);
    wrong(r#"{"topic":"a..b"}"#, &["topic"]);
    wrong(r#"{"topic":"a.*"}"#, &["topic"]);
    wrong(
        r#"{"topic":"a b","id":"x.y","ts":"soon","type":7,"payload":[],"v":2}"#,
        &["topic", "id", "ts", "type", "v", "payload"],
    );
    wrong(r#"{"topic":"a","id":7}"#, &["id"]);
    wrong(r#"{"topic":"a","payload":{"k":"\ud800"}}"#, &["payload"]);
    let deep = format!(
        r#"{{"topic":"a","payload":{{"k":{}{}}}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    wrong(&deep, &["payload"]);
    wrong(
        r#"[{"topic":"a"},{"topic":""},7,{"topic":"a","id":""}]"#,
        &["[1].topic", "[2]", "[3].id"],
    );
    let many = format!("[{}1]", "1,".repeat(1_000));
    wrong(&many, &["body"]);
}

#[test]
fn reserved_topics_and_large_events_refuse_the_request() {
    for body in [
        r#"{"topic":"system.webhook.control"}"#,
        r#"[{"topic":"a"},{"topic":"system.webhook.x.y"}]"#,
    ] {
        assert!(matches!(read(body.as_bytes()), Err(Problem::ReservedTopic)));
    }
    assert!(read(br#"{"topic":"system.webhookd"}"#).is_ok());
    let large = format!(
        r#"{{"topic":"a","payload":{{"k":"{}"}}}}"#,
        "x".repeat(MAX_EVENT_BYTES)
    );
    assert!(matches!(read(large.as_bytes()), Err(Problem::TooLarge(_))));
    assert!(matches!(read(b"{"), Err(Problem::Malformed(_))));
}
