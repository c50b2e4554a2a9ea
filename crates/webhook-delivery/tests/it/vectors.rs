//! The contract's vectors, to the byte.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use webhook_delivery::{
    PreparedEvent, sign, standard_signature,
    verify::{Scheme, Verifier},
};
use webhook_model::{Event, Place, Secret, Topic, UtcTime};

fn cases(text: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(text).unwrap();
    file["cases"].as_array().unwrap().clone()
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().expect(key)
}

/// The event of a case as its own text: parsing and writing it again would change numbers.
fn raw_event<'a>(file: &'a str, case: &Value) -> &'a str {
    let name = serde_json::to_string(&case["name"]).unwrap();
    let name = name.trim_matches('"');
    let from = file.find(name).expect(name);
    let from = from + file[from..].find("\"event\":").unwrap() + "\"event\":".len();
    let mut values = serde_json::Deserializer::from_str(&file[from..])
        .into_iter::<&serde_json::value::RawValue>();
    values.next().unwrap().unwrap().get()
}

#[test]
fn delivery() {
    let file = include_str!("../vectors/delivery.json");
    let cases = cases(file);
    assert_eq!(cases.len(), 5);
    for case in cases {
        let place = Place {
            incarnation: "i",
            seq: 1,
            at: UtcTime::EPOCH,
        };
        let topic = Topic::parse(text(&case["event"], "topic")).unwrap();
        let event = Event::decode(&topic, raw_event(file, &case).as_bytes(), &place).unwrap();
        let event = PreparedEvent::new(&event);
        assert_eq!(event.body(), text(&case, "body"), "{}", case["name"]);

        let secret = Secret::parse(text(&case, "secret")).unwrap();
        let seconds = case["attempt_unix_seconds"].as_i64().unwrap();
        let at = UtcTime::from_micros(seconds * 1_000_000 + 999_999);
        let headers = sign(&secret, &event, at);
        let expected = case["headers"].as_object().unwrap();
        assert_eq!(headers.len(), expected.len());
        for (name, value) in expected {
            assert_eq!(
                headers[name.to_ascii_lowercase().as_str()],
                value.as_str().unwrap()
            );
        }
        let verified = Verifier::new(&secret)
            .verify(&headers, event.body(), at)
            .unwrap();
        assert_eq!(verified.scheme, Scheme::Both);
    }
}

#[test]
fn standard_webhooks() {
    let cases = cases(include_str!("../vectors/standard-webhooks.json"));
    assert_eq!(cases.len(), 2);
    for case in cases {
        let secret = Secret::parse(text(&case, "secret")).unwrap();
        let (id, body) = (text(&case, "id"), text(&case, "body").as_bytes());
        let seconds = case["timestamp"].as_i64().unwrap();
        let signature = standard_signature(&secret, id, &seconds.to_string(), body);
        assert_eq!(signature, text(&case, "signature"));

        let headers = HeaderMap::from_iter(
            [
                ("webhook-id", id.to_owned()),
                ("webhook-timestamp", seconds.to_string()),
                ("webhook-signature", signature),
            ]
            .map(|(name, value)| {
                let value = HeaderValue::from_str(&value).unwrap();
                (HeaderName::from_static(name), value)
            }),
        );
        let now = UtcTime::from_micros(seconds * 1_000_000) + Duration::from_secs(60);
        let verified = Verifier::new(&secret).verify(&headers, body, now).unwrap();
        assert_eq!(
            (verified.scheme, verified.id.as_deref()),
            (Scheme::Standard, Some(id))
        );
    }
}
