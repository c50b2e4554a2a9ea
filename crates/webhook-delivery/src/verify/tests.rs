use bytes::Bytes;
use http::HeaderValue;
use proptest::prelude::*;
use webhook_model::{EventId, Topic};

use super::*;
use crate::{PreparedEvent, sign};

const NOW: UtcTime = UtcTime::from_micros(1_795_441_262_500_000);

fn secret(text: &str) -> Secret {
    Secret::parse(text).unwrap()
}

fn old() -> Secret {
    secret("0123456789abcdef")
}

fn new() -> Secret {
    secret("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
}

fn event() -> PreparedEvent {
    let topic = Topic::parse("attacker.observed").unwrap();
    PreparedEvent::with_body(
        EventId::parse("e1").unwrap(),
        topic,
        Bytes::from_static(b"{}"),
    )
}

fn signed(secret: &Secret) -> HeaderMap {
    sign(secret, &event(), NOW)
}

#[test]
fn what_was_signed_verifies() {
    let verified = Verifier::new(&new()).verify(&signed(&new()), b"{}", NOW);
    assert_eq!(
        verified,
        Ok(Verified {
            scheme: Scheme::Both,
            id: Some("e1".to_owned()),
            timestamp: 1_795_441_262,
        })
    );
}

#[test]
fn tolerance_is_exact_and_goes_both_ways() {
    let verifier = Verifier::new(&old()).tolerance(Duration::from_secs(10));
    let headers = signed(&old());
    for (seconds, fits) in [
        (-11, false),
        (-10, true),
        (0, true),
        (10, true),
        (11, false),
    ] {
        let now = UtcTime::from_micros(NOW.micros() + seconds * 1_000_000);
        let result = verifier.verify(&headers, b"{}", now);
        assert_eq!(result.is_ok(), fits, "{seconds}");
        if !fits {
            assert_eq!(result, Err(VerifyError::Timestamp(1_795_441_262)));
        }
    }
}

#[test]
fn either_secret_while_one_replaces_the_other() {
    let verifier = Verifier::new(&old()).or_secret(&new());
    assert!(verifier.verify(&signed(&old()), b"{}", NOW).is_ok());
    assert!(verifier.verify(&signed(&new()), b"{}", NOW).is_ok());
    let error = Verifier::new(&old()).verify(&signed(&new()), b"{}", NOW);
    assert_eq!(error, Err(VerifyError::Mismatch(SIGNATURE)));
}

#[test]
fn one_of_several_signatures_is_enough() {
    let mut headers = signed(&new());
    headers.remove(SIGNATURE);
    let good = headers[WEBHOOK_SIGNATURE].to_str().unwrap().to_owned();
    for (value, fits) in [
        (format!("v1,AAAA {good}"), true),
        (format!("{good} v1a,AAAA"), true),
        (format!("v1a,AAAA v2,{good}"), false),
        (
            format!("{} {good}", "v1,AAAA ".repeat(MAX_SIGNATURES)),
            false,
        ),
        (String::new(), false),
    ] {
        headers.insert(WEBHOOK_SIGNATURE, HeaderValue::from_str(&value).unwrap());
        let result = Verifier::new(&new()).verify(&headers, b"{}", NOW);
        assert_eq!(result.is_ok(), fits, "{value}");
    }
}

#[test]
fn an_unsigned_timestamp_is_accepted_on_request_only() {
    let mut headers = signed(&old());
    headers.remove(WEBHOOK_SIGNATURE);
    let strict = Verifier::new(&old());
    let missing = Err(VerifyError::Missing(WEBHOOK_SIGNATURE));
    assert_eq!(strict.verify(&headers, b"{}", NOW), missing);
    let verified = strict.clone().accept_decnet_alone();
    let verified = verified.verify(&headers, b"{}", NOW).unwrap();
    assert_eq!((verified.scheme, verified.id), (Scheme::Decnet, None));
    assert_eq!(
        strict
            .accept_decnet_alone()
            .verify(&HeaderMap::new(), b"{}", NOW),
        missing
    );
}

#[test]
fn half_a_scheme_and_doubled_headers_are_named() {
    let verifier = Verifier::new(&old());
    for name in [WEBHOOK_ID, WEBHOOK_TIMESTAMP] {
        let mut headers = signed(&old());
        headers.append(&name, HeaderValue::from_static("1"));
        let malformed = Err(VerifyError::Malformed(name.clone()));
        assert_eq!(verifier.verify(&headers, b"{}", NOW), malformed);
        headers.remove(&name);
        let missing = Err(VerifyError::Missing(name));
        assert_eq!(verifier.verify(&headers, b"{}", NOW), missing);
    }
    for value in [
        "",
        "soon",
        "-1",
        "+1795441262",
        "1795441262.5",
        "99999999999999999999",
    ] {
        let mut headers = signed(&old());
        headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from_str(value).unwrap());
        let malformed = Err(VerifyError::Malformed(WEBHOOK_TIMESTAMP));
        assert_eq!(verifier.verify(&headers, b"{}", NOW), malformed, "{value}");
    }
}

fn any_event() -> impl Strategy<Value = (Secret, PreparedEvent, UtcTime)> {
    let body = proptest::collection::vec(any::<u8>(), 1..200);
    (
        "[!-~]{16,64}",
        "[a-zA-Z0-9_-]{1,40}",
        "[a-z]{1,8}(\\.[a-z0-9-]{1,8}){0,3}",
        body,
        0..4_000_000_000i64,
    )
        .prop_map(|(secret, id, topic, body, seconds)| {
            let id = EventId::parse(&id).unwrap();
            let topic = Topic::parse(&topic).unwrap();
            let event = PreparedEvent::with_body(id, topic, body.into());
            let at = UtcTime::from_micros(seconds * 1_000_000);
            (Secret::parse(&secret).unwrap(), event, at)
        })
}

proptest! {
    #[test]
    fn every_signed_event_verifies((secret, event, at) in any_event()) {
        let headers = sign(&secret, &event, at);
        prop_assert!(Verifier::new(&secret).verify(&headers, event.body(), at).is_ok());
    }

    #[test]
    fn every_flipped_bit_of_a_body_fails((secret, event, at) in any_event(), bit: prop::sample::Index) {
        let headers = sign(&secret, &event, at);
        let mut body = event.body().to_vec();
        let bit = bit.index(body.len() * 8);
        body[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Verifier::new(&secret).verify(&headers, &body, at).is_err());
    }

    #[test]
    fn every_flipped_bit_of_a_signed_header_fails(
        (secret, event, at) in any_event(),
        which in 0..4usize,
        bit: prop::sample::Index,
    ) {
        let mut headers = sign(&secret, &event, at);
        let name = [SIGNATURE, WEBHOOK_SIGNATURE, WEBHOOK_ID, WEBHOOK_TIMESTAMP][which].clone();
        let mut value = headers[&name].as_bytes().to_vec();
        let bit = bit.index(value.len() * 8);
        value[bit / 8] ^= 1 << (bit % 8);
        // Not every byte may stand in a header; what may not never arrives.
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.insert(name, value);
            let verifier = Verifier::new(&secret).tolerance(Duration::MAX);
            prop_assert!(verifier.verify(&headers, event.body(), at).is_err());
        }
    }
}
