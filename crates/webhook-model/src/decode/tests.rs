use proptest::prelude::*;

use super::*;

const PLACE: Place<'static> = Place {
    incarnation: "j1",
    seq: 7,
    at: UtcTime::EPOCH,
};

fn decode(text: &str) -> Event {
    Event::decode(
        &Topic::parse("attacker.observed").unwrap(),
        text.as_bytes(),
        &PLACE,
    )
    .unwrap()
}

fn body(text: &str) -> String {
    String::from_utf8(decode(text).body().to_vec()).unwrap()
}

#[test]
fn an_envelope_keeps_its_id_ts_and_type() {
    assert_eq!(
        body(
            r#"{"v":1,"id":"e1","topic":"ignored.here","type":"t","ts":1767225600,"payload":{"b":1,"a":2}}"#
        ),
        r#"{"id":"e1","payload":{"a":2,"b":1},"topic":"attacker.observed","ts":"2026-01-01T00:00:00+00:00","type":"t","v":1}"#
    );
}

#[test]
fn v_may_be_absent_and_so_may_all_but_the_payload() {
    let event = decode(r#"{"payload":{}}"#);
    assert_eq!(event.id, EventId::derived("j1", 7));
    assert_eq!(event.ts.iso(), "1970-01-01T00:00:00+00:00");
    assert_eq!(event.kind, "");
    assert_eq!(decode(r#"{"v":1,"id":"e1"}"#).payload, Payload::empty());
}

#[test]
fn other_objects_become_the_payload() {
    for other in [
        r#"{"a":1}"#,
        r#"{"payload":[1],"v":1}"#,
        r#"{"payload":{},"v":2}"#,
        r#"{"id":"x"}"#,
    ] {
        let event = decode(other);
        assert_eq!(event.payload, Payload::parse(other).unwrap());
        assert_eq!(event.id, EventId::derived("j1", 7));
    }
}

#[test]
fn other_json_becomes_the_value() {
    for other in ["1e-05", "[1,2]", "\"text\"", "null", "true", " 2 "] {
        let event = decode(other);
        assert_eq!(
            event.payload.as_str(),
            format!("{{\"value\":{}}}", other.trim())
        );
    }
}

#[test]
fn nothing_is_dropped() {
    let event = decode(
        r#"{"payload":{"a":1},"id":"has.dot","ts":"soon","type":7,"trace":"x","more":{"z":1e-05}}"#,
    );
    assert_eq!(
        event.payload.as_str(),
        r#"{"_extra":{"more":{"z":1e-05},"trace":"x","type":7},"_id":"has.dot","_ts":"soon","a":1}"#
    );
    assert_eq!(event.id, EventId::derived("j1", 7));

    let taken = decode(r#"{"payload":{"_extra":1,"_id":2},"id":3,"x":4}"#);
    assert_eq!(
        taken.payload.as_str(),
        r#"{"_extra":1,"_extra_":{"x":4},"_id":2,"_id_":3}"#
    );
}

#[test]
fn an_envelope_survives_the_bus() {
    for text in [
        r#"{"v":1,"id":"e1","type":"t","ts":1795441262.8983822,"payload":{"n":1180591620717411303424}}"#,
        r#"{"v":1,"id":"e1","type":"","ts":"2026-04-24T00:00:00+00:00","payload":{}}"#,
        r#"{"x":1}"#,
    ] {
        let event = decode(text);
        let again = decode(std::str::from_utf8(&event.envelope()).unwrap());
        assert_eq!(event, again);
    }
}

#[test]
fn what_is_no_event_is_told() {
    let topic = Topic::parse("a").unwrap();
    let decode = |bytes: &[u8]| Event::decode(&topic, bytes, &PLACE).unwrap_err();
    assert!(matches!(decode(b""), Undecodable::NotJson(_)));
    assert!(matches!(decode(b"{"), Undecodable::NotJson(_)));
    assert!(matches!(decode(b"\"\xff\""), Undecodable::NotJson(_)));
    assert!(matches!(decode(b"{} {}"), Undecodable::NotJson(_)));
    assert!(matches!(
        decode(&vec![b' '; MAX_EVENT_BYTES + 1]),
        Undecodable::TooLarge(_)
    ));
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    assert!(matches!(decode(deep.as_bytes()), Undecodable::TooDeep(_)));
    let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    assert!(matches!(
        decode(deep.as_bytes()),
        Undecodable::TooDeep(_) | Undecodable::NotJson(_)
    ));
}

/// JSON of any shape, with the names that envelopes have.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1e400".to_owned()),
        Just("-0.0".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        ".{0,8}".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let key = prop_oneof![
            Just("v"),
            Just("id"),
            Just("topic"),
            Just("type"),
            Just("ts"),
            Just("payload"),
            Just("_extra"),
            Just("_id"),
            Just("other"),
        ];
        let member = (key, inner.clone()).prop_map(|(key, value)| format!("\"{key}\": {value}"));
        prop_oneof![
            proptest::collection::vec(inner, 0..4).prop_map(|all| format!("[{}]", all.join(","))),
            proptest::collection::vec(member, 0..5)
                .prop_map(|all| format!("{{{}}}", all.join(", "))),
        ]
    })
}

proptest! {
    // Few, because making such JSON takes longer than reading it.
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever arrives is an event or says why it is none; an event's body is one again, the same.
    #[test]
    fn any_json_is_an_event_that_reads_back(text in json()) {
        let first = decode(&text);
        let body = first.body();
        let again = Event::decode(&first.topic, &body, &PLACE).unwrap();
        prop_assert_eq!(again.body(), body);
        prop_assert_eq!(again.id, first.id);
    }
}
