use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq;

/// Shortest and longest secret that a subscription takes, in characters.
const SECRET_CHARS: std::ops::RangeInclusive<usize> = 16..=256;
/// Random bytes behind a generated secret (Standard Webhooks asks for 24..64).
const GENERATED_BYTES: usize = 32;
/// What Standard Webhooks puts before a secret ("Signing secrets").
const PREFIX: &str = "whsec_";
/// Fewest bytes behind that prefix, by the same section.
const LEAST_KEY_BYTES: usize = 24;

/// Why a text is no secret. The text itself is never shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Outside 16..256 characters.
    #[error("secret has {0} characters; use 16 to 256, or leave it out to have one generated")]
    Length(usize),
    /// An empty secret, which signs nothing.
    #[error("secret is empty")]
    Empty,
    /// `whsec_` before what no library of Standard Webhooks can read.
    #[error(
        "secret begins with whsec_, but what follows is not padded standard base64 of 24 bytes or more, so no library for Standard Webhooks could verify it; leave it out to have one generated, or do not begin it with whsec_"
    )]
    NoKey,
}

/// A signing secret: redacted in `Debug`, without `Display` or `Serialize`.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Checks the rules of new secrets: their length, and that `whsec_` stands before a key.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let chars = text.chars().count();
        if !SECRET_CHARS.contains(&chars) {
            return Err(SecretError::Length(chars));
        }
        let secret = Self(text.to_owned());
        if text.starts_with(PREFIX) && !secret.is_verifiable() {
            return Err(SecretError::NoKey);
        }
        Ok(secret)
    }

    /// Whether the common libraries for Standard Webhooks can verify with it: they take nothing but
    /// `whsec_` and base64.
    pub fn is_verifiable(&self) -> bool {
        let key = self.encoded_key().and_then(|it| STANDARD.decode(it).ok());
        key.is_some_and(|key| key.len() >= LEAST_KEY_BYTES)
    }

    fn encoded_key(&self) -> Option<&str> {
        self.0.strip_prefix(PREFIX)
    }

    /// A fresh secret: `whsec_` + base64 of 32 random bytes (Standard Webhooks, "Signing secrets").
    pub fn generate() -> Self {
        let bytes: [u8; GENERATED_BYTES] = rand::random();
        Self(format!("{PREFIX}{}", STANDARD.encode(bytes)))
    }

    /// A secret that a database holds already; older rows may break today's length rule.
    pub fn stored(text: String) -> Result<Self, SecretError> {
        if text.is_empty() {
            Err(SecretError::Empty)
        } else {
            Ok(Self(text))
        }
    }

    /// The secret itself. Callers sign with it or store it, nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The key of the Standard Webhooks scheme: the base64 after `whsec_` decoded, else the
    /// secret as UTF-8 (also when what follows `whsec_` is no base64).
    pub fn standard_key(&self) -> Vec<u8> {
        self.encoded_key()
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .unwrap_or_else(|| self.0.as_bytes().to_vec())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_counted_in_characters() {
        assert!(Secret::parse(&"ä".repeat(16)).is_ok());
        assert_eq!(Secret::parse("short"), Err(SecretError::Length(5)));
        assert_eq!(
            Secret::parse(&"x".repeat(257)),
            Err(SecretError::Length(257))
        );
        assert_eq!(Secret::stored(String::new()), Err(SecretError::Empty));
    }

    #[test]
    fn what_begins_like_a_standard_secret_is_one() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        assert!(Secret::parse(&of(24)).unwrap().is_verifiable());
        let unpadded = of(25).trim_end_matches('=').to_owned();
        let url_safe = "whsec_".to_owned() + &"-_8=".repeat(8);
        for wrong in [of(23), unpadded, url_safe, "whsec_0123456789abcdef!".into()] {
            assert_eq!(Secret::parse(&wrong), Err(SecretError::NoKey), "{wrong}");
            // One that a table holds already goes on signing as it did.
            assert!(!Secret::stored(wrong).unwrap().is_verifiable());
        }
        assert!(!Secret::parse("0123456789abcdef").unwrap().is_verifiable());
    }

    #[test]
    fn generated_secrets_differ_and_decode() {
        let (a, b) = (Secret::generate(), Secret::generate());
        assert_ne!(a, b);
        assert!(a.expose().starts_with("whsec_"));
        assert_eq!(a.standard_key().len(), GENERATED_BYTES);
        assert!(Secret::parse(a.expose()).is_ok());
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(
            format!("{:?}", Secret::parse("0123456789abcdef").unwrap()),
            "Secret(…)"
        );
    }
}
