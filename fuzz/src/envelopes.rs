//! Events as they arrive on a bus.

use serde_json::{Map, Value};
use webhook_model::{Event, MAX_EVENT_BYTES, Place, Topic, Undecodable, UtcTime};

const PLACE: Place<'static> = Place {
    incarnation: "j1",
    seq: 7,
    at: UtcTime::EPOCH,
};
/// From here on nesting may be too deep, with what is put around a value.
const DEEP: usize = 125;

/// Whatever comes is an event in which all of it is found, or says why it is none; and what is made
/// of it is the same event once more.
///
/// The first byte is what the rest is nested in, the second how deep.
pub fn run(data: &[u8]) {
    let &[kind, depth, ref rest @ ..] = data else {
        return check(data);
    };
    let depth = usize::from(depth);
    let (before, after) = match kind % 4 {
        0 => return check(rest),
        1 => ("[".repeat(depth), "]".repeat(depth)),
        2 => (r#"{"a":"#.repeat(depth), "}".repeat(depth)),
        _ => (
            format!(r#"{{"v":1,"payload":{{"a":{}"#, "[".repeat(depth)),
            format!("{}}}}}", "]".repeat(depth)),
        ),
    };
    check(&[before.as_bytes(), rest, after.as_bytes()].concat());
}

fn check(bytes: &[u8]) {
    let topic = Topic::parse("attacker.observed").expect("it is a topic");
    let value = serde_json::from_slice::<Value>(bytes).ok();
    let event = match Event::decode(&topic, bytes, &PLACE) {
        Ok(event) => event,
        Err(why) => {
            assert!(why.to_string().starts_with("undecodable: "), "{why}");
            let too_deep = matches!(why, Undecodable::TooDeep(_));
            let unlike_json = bytes.len() > MAX_EVENT_BYTES
                || value.is_none_or(|value| too_deep && depth(&value) >= DEEP);
            assert!(unlike_json, "{why}");
            return;
        }
    };
    let body = event.body();
    let again = Event::decode(&topic, &body, &PLACE).expect("a body is an event");
    assert_eq!((again.body(), &again.id), (body, &event.id));
    let envelope = event.envelope();
    let again = Event::decode(&topic, &envelope, &PLACE).expect("an envelope is an event");
    assert_eq!(again, event);
    if let Some(value) = value {
        let doubles: Value = match serde_json::from_slice(&event.double_envelope()) {
            Ok(doubles) => doubles,
            Err(_) if depth(&value) >= DEEP => return,
            Err(why) => panic!("no double can hold {event:?}: {why}"),
        };
        assert_eq!(doubles["id"], event.id.as_str());
        let payload: Value = serde_json::from_str(event.payload.as_str()).unwrap_or_default();
        let is_expected = payload == expected(&value, false)
            || payload == expected(&value, true) && event.ts == PLACE.at.into();
        assert!(is_expected || depth(&value) >= DEEP, "{payload} of {value}");
    }
}

/// The payload of an event by the contract; whether a `ts` is one is for the event to say.
fn expected(value: &Value, bad_ts: bool) -> Value {
    let Value::Object(outer) = value else {
        return Map::from_iter([("value".to_owned(), value.clone())]).into();
    };
    let is_versioned = outer.get("v") == Some(&1.into());
    let mut payload = match outer.get("payload") {
        _ if outer.contains_key("v") && !is_versioned => return value.clone(),
        Some(Value::Object(payload)) => payload.clone(),
        None if is_versioned => Map::new(),
        _ => return value.clone(),
    };
    let mut rest = outer.clone();
    for name in ["v", "payload", "topic"] {
        rest.remove(name);
    }
    if rest.get("type").is_some_and(Value::is_string) {
        rest.remove("type");
    }
    let id = rest
        .remove("id")
        .filter(|it| !it.as_str().is_some_and(is_id));
    let ts = rest.remove("ts").filter(|_| bad_ts);
    let rest = (!rest.is_empty()).then(|| rest.into());
    for (key, value) in [("_id", id), ("_ts", ts), ("_extra", rest)] {
        if let Some(value) = value {
            let mut key = key.to_owned();
            while payload.contains_key(&key) {
                key.push('_');
            }
            payload.insert(key, value);
        }
    }
    payload.into()
}

fn is_id(text: &str) -> bool {
    let is_allowed = |byte: u8| (0x21..=0x7e).contains(&byte) && byte != b'.';
    (1..=128).contains(&text.len()) && text.bytes().all(is_allowed)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
