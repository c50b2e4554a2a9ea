//! Both signature schemes again, from the contract and not from the code under test.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Which signatures of a delivery are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signatures {
    /// `X-DECNET-Signature` over the body.
    pub decnet: bool,
    /// `webhook-signature` over id, timestamp and body.
    pub standard: bool,
    /// Both schemes' ids and timestamps say the same.
    pub consistent: bool,
}

impl Signatures {
    /// Whether everything is right.
    pub fn all(self) -> bool {
        self.decnet && self.standard && self.consistent
    }

    pub(crate) fn check<'a>(
        secret: &str,
        header: impl Fn(&str) -> Option<&'a str>,
        body: &[u8],
    ) -> Self {
        let id = header("webhook-id");
        let timestamp = header("webhook-timestamp");
        let decnet = format!("sha256={}", hex::encode(mac(secret.as_bytes(), &[body])));
        let standard = |id: &str, timestamp: &str| {
            let key = standard_key(secret);
            let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
            format!("v1,{}", STANDARD.encode(mac(&key, &parts)))
        };
        let expected = id.zip(timestamp).map(|(id, at)| standard(id, at));
        Self {
            decnet: header("x-decnet-signature") == Some(decnet.as_str()),
            standard: expected.is_some() && header("webhook-signature") == expected.as_deref(),
            consistent: id.is_some()
                && id == header("x-decnet-event-id")
                && timestamp == header("x-decnet-timestamp"),
        }
    }
}

fn standard_key(secret: &str) -> Vec<u8> {
    let decoded = secret
        .strip_prefix("whsec_")
        .and_then(|encoded| STANDARD.decode(encoded).ok());
    decoded.unwrap_or_else(|| secret.as_bytes().to_vec())
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contract vector "whole-second ts has no fraction".
    #[test]
    fn agrees_with_the_contract() {
        let body = br#"{"id":"00000000000000000000000000000001","payload":{},"topic":"system.log","ts":"2026-01-01T00:00:00+00:00","type":"batch_committed","v":1}"#;
        let headers = [
            (
                "x-decnet-signature",
                "sha256=b890c4f69fe1921c0a6598f4e204fc7ece434432137248109c1041b462b20490",
            ),
            ("x-decnet-event-id", "00000000000000000000000000000001"),
            ("x-decnet-timestamp", "1767225601"),
            ("webhook-id", "00000000000000000000000000000001"),
            ("webhook-timestamp", "1767225601"),
            (
                "webhook-signature",
                "v1,LKwKLE188me3YJqBvGX3ljBQYVOhvkYteXpB4Vac6lc=",
            ),
        ];
        let header = |name: &str| headers.iter().find(|h| h.0 == name).map(|h| h.1);
        assert!(Signatures::check("0123456789abcdef", header, body).all());
        assert!(!Signatures::check("0123456789abcdeF", header, body).decnet);
        assert!(!Signatures::check("0123456789abcdef", |_| None, body).consistent);
    }
}
