//! Both signature schemes over the same bytes.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue};
use sha2::Sha256;
use webhook_model::{Secret, UtcTime};

use crate::{
    EVENT_ID, EVENT_TOPIC, PreparedEvent, SIGNATURE, TIMESTAMP, WEBHOOK_ID, WEBHOOK_SIGNATURE,
    WEBHOOK_TIMESTAMP,
};

/// DECNET's signature: `sha256=` + hex HMAC-SHA256(secret as UTF-8, body).
pub fn signature(secret: &Secret, body: &[u8]) -> String {
    let digest = hmac(secret.expose().as_bytes(), [body]);
    format!("sha256={}", hex::encode(digest))
}

/// One signature of Standard Webhooks 1.0 ("Signature scheme"): `v1,` + base64
/// HMAC-SHA256(key, `id.timestamp.body`).
pub fn standard_signature(secret: &Secret, id: &str, timestamp: &str, body: &[u8]) -> String {
    let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    let digest = hmac(&secret.standard_key(), parts);
    format!("v1,{}", STANDARD.encode(digest))
}

/// The headers that identify and sign an event in an attempt at `at`.
pub fn sign(secret: &Secret, event: &PreparedEvent, at: UtcTime) -> HeaderMap {
    let seconds = at.unix_seconds().to_string();
    let id = event.id().as_str();
    let standard = standard_signature(secret, id, &seconds, event.body());
    let mut headers = HeaderMap::with_capacity(HEADERS);
    for (name, text) in [
        (SIGNATURE, signature(secret, event.body()).as_str()),
        (EVENT_ID, id),
        (EVENT_TOPIC, event.topic().as_str()),
        (TIMESTAMP, &seconds),
        (WEBHOOK_ID, id),
        (WEBHOOK_TIMESTAMP, &seconds),
        (WEBHOOK_SIGNATURE, &standard),
    ] {
        let value = HeaderValue::from_str(text).expect("ids, topics and digests are visible ASCII");
        headers.insert(name, value);
    }
    headers
}

/// Room for the signed headers and those that every request has.
const HEADERS: usize = 12;

fn hmac<'a>(key: &[u8], parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
