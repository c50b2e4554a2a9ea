//! Deliveries as a receiver believes them, or not.

use arbitrary::{Result, Unstructured};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use webhook_delivery::{
    PreparedEvent, SIGNATURE, TIMESTAMP, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, sign,
    verify::{Scheme, Verifier},
};
use webhook_model::{EventId, Secret, Topic, UtcTime};

use crate::hmac::hmac;

/// Seconds that a timestamp may be off.
const TOLERANCE: u64 = 300;
/// Signatures looked at in one header.
const MAX_SIGNATURES: usize = 16;

/// What was signed is believed; what was touched is believed only where a receiver that is written
/// anew from the contract believes it, too.
///
/// A secret, a clock, what happens to the delivery on its way, and the body.
pub fn run(data: &[u8]) {
    let _ = check(&mut Unstructured::new(data));
}

fn check(input: &mut Unstructured<'_>) -> Result<()> {
    let secrets = [
        "0123456789abcdef",
        "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        "whsec_*",
        "\u{e4}",
    ];
    let secret = Secret::stored((*input.choose(&secrets)?).to_owned()).expect("none is empty");
    let at: u32 = input.arbitrary()?;
    let at = UtcTime::from_micros(i64::from(at) * 1_000_000);
    let mut now = at;
    let (alone, touches) = (input.arbitrary()?, input.int_in_range(0..=3_u8)?);
    let mut moves = Vec::new();
    for _ in 0..touches {
        moves.push(Touch::of(input)?);
    }
    let mut body = input.bytes(input.len())?.to_vec();
    let id = EventId::parse("e1").expect("it is an id");
    let topic = Topic::parse("attacker.observed").expect("it is a topic");
    let event = PreparedEvent::with_body(id, topic, Bytes::copy_from_slice(&body));
    let signed = sign(&secret, &event, at);
    let mut headers = signed.clone();
    for touch in moves {
        touch.apply(&mut headers, &mut body, &mut now);
    }
    let mut verifier = Verifier::new(&secret);
    if alone {
        verifier = verifier.accept_decnet_alone();
    }
    let verified = verifier.verify(&headers, &body, now);
    let believed = is_believed(&secret, &headers, &body, now, alone);
    assert_eq!(
        verified.is_ok(),
        believed,
        "{verified:?} {headers:?} {body:?}"
    );
    if body != *event.body() {
        assert!(!believed, "another body: {headers:?}");
    } else if headers == signed && now == at {
        assert_eq!(verified.map(|it| it.scheme), Ok(Scheme::Both));
    }
    Ok(())
}

/// What may happen to a delivery.
enum Touch {
    Replace(HeaderName, Vec<u8>),
    Append(HeaderName, Vec<u8>),
    Remove(HeaderName),
    Cut(HeaderName, usize),
    Body(usize, u8),
    Longer(Vec<u8>),
    Clock(i16),
}

impl Touch {
    fn of(input: &mut Unstructured<'_>) -> Result<Self> {
        let names = [
            SIGNATURE,
            TIMESTAMP,
            WEBHOOK_ID,
            WEBHOOK_SIGNATURE,
            WEBHOOK_TIMESTAMP,
        ];
        let name = input.choose(&names)?.clone();
        let bytes = |input: &mut Unstructured<'_>| {
            let count = input.int_in_range(0..=40)?.min(input.len());
            input.bytes(count).map(<[u8]>::to_vec)
        };
        Ok(match input.int_in_range(0..=6)? {
            0 => Self::Replace(name, bytes(input)?),
            1 => Self::Append(name, bytes(input)?),
            2 => Self::Remove(name),
            3 => Self::Cut(name, input.int_in_range(0..=90)?),
            4 => Self::Body(input.arbitrary::<u16>()?.into(), input.arbitrary()?),
            5 => Self::Longer(bytes(input)?),
            _ => Self::Clock(input.arbitrary()?),
        })
    }

    fn apply(self, headers: &mut HeaderMap, body: &mut Vec<u8>, now: &mut UtcTime) {
        match self {
            Self::Replace(name, bytes) => {
                if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                    headers.insert(name, value);
                }
            }
            Self::Append(name, bytes) => {
                if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                    headers.append(name, value);
                }
            }
            Self::Remove(name) => drop(headers.remove(name)),
            // A list of signatures with others before it, or one that ends early.
            Self::Cut(name, at) => {
                let old = headers
                    .get(&name)
                    .map(|it| it.as_bytes().to_vec())
                    .unwrap_or_default();
                let new = [&b"v1, "[..], &old[..at.min(old.len())]].concat();
                let new = HeaderValue::from_bytes(&new);
                headers.insert(name, new.expect("a value's beginning is one"));
            }
            Self::Body(at, bits) => {
                let length = body.len().max(1);
                if let Some(byte) = body.get_mut(at % length) {
                    *byte ^= bits;
                }
            }
            Self::Longer(bytes) => body.extend(bytes),
            Self::Clock(seconds) => {
                *now = UtcTime::from_micros(now.micros() + i64::from(seconds) * 1_000_000);
            }
        }
    }
}

fn is_believed(
    secret: &Secret,
    headers: &HeaderMap,
    body: &[u8],
    now: UtcTime,
    alone: bool,
) -> bool {
    let (standard, decnet) = (
        headers.contains_key(WEBHOOK_SIGNATURE),
        headers.contains_key(SIGNATURE),
    );
    if !(standard || decnet && alone) {
        return false;
    }
    let decnets = || {
        let expected = format!(
            "sha256={}",
            hex::encode(hmac(secret.expose().as_bytes(), body))
        );
        only(headers, SIGNATURE) == Some(expected)
    };
    let standards = || {
        let id = only(headers, WEBHOOK_ID)?;
        let message = [
            id.as_bytes(),
            b".",
            only(headers, WEBHOOK_TIMESTAMP)?.as_bytes(),
            b".",
            body,
        ]
        .concat();
        let encoded = secret.expose().strip_prefix("whsec_");
        let key = encoded.and_then(|it| STANDARD.decode(it).ok());
        let key = key.unwrap_or_else(|| secret.expose().as_bytes().to_vec());
        let expected = format!("v1,{}", STANDARD.encode(hmac(&key, &message)));
        let sent = only(headers, WEBHOOK_SIGNATURE)?;
        Some(
            sent.split(' ')
                .take(MAX_SIGNATURES)
                .any(|it| it == expected),
        )
    };
    let stamp = only(
        headers,
        if standard {
            WEBHOOK_TIMESTAMP
        } else {
            TIMESTAMP
        },
    );
    let in_time = stamp
        .filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()))
        .is_some_and(|it| {
            it.parse::<i64>()
                .is_ok_and(|it| it.abs_diff(now.unix_seconds()) <= TOLERANCE)
        });
    in_time && (!decnet || decnets()) && (!standard || standards() == Some(true))
}

/// The text of a header that is there once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.as_bytes();
    let is_text = value.iter().all(|byte| matches!(byte, b'\t' | 0x20..0x7f));
    (is_text && values.next().is_none()).then(|| String::from_utf8_lossy(value).into_owned())
}
