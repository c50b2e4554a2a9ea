use std::sync::Arc;

use serde_json::value::RawValue;

use crate::json::{is_object, write_canonical};

/// Deepest nesting of objects and arrays in a payload. Bounds the stack and the work that a
/// hostile event can cause; serde_json's own limit is the same.
pub const MAX_JSON_DEPTH: usize = 128;

/// Why a text is no payload.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// Not JSON: what, and where.
    #[error("not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// JSON, but not an object.
    #[error("payload is not a JSON object")]
    NotAnObject,
    /// Nested deeper than [`MAX_JSON_DEPTH`].
    #[error("JSON is nested deeper than {MAX_JSON_DEPTH} levels")]
    TooDeep,
}

/// A JSON object as canonical text. Numbers keep the digits they came with. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload(Arc<str>);

impl Payload {
    /// `{}`.
    pub fn empty() -> Self {
        Self("{}".into())
    }

    /// Reads a JSON object.
    pub fn parse(text: &str) -> Result<Self, PayloadError> {
        let raw: &RawValue = serde_json::from_str(text)?;
        Self::from_raw(raw)
    }

    /// Takes a raw JSON value that must be an object.
    pub fn from_raw(raw: &RawValue) -> Result<Self, PayloadError> {
        if !is_object(raw) {
            return Err(PayloadError::NotAnObject);
        }
        let mut out = Vec::with_capacity(raw.get().len());
        write_canonical(raw, &mut out)?;
        Ok(Self::from_canonical(out))
    }

    /// Takes an object built in memory.
    pub fn from_value(
        object: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<Self, PayloadError> {
        Self::parse(&serde_json::to_string(object)?)
    }

    pub(crate) fn from_canonical(bytes: Vec<u8>) -> Self {
        let text = String::from_utf8(bytes).expect("canonical JSON is written from strings");
        Self(text.into())
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, canonical: &str) {
        assert_eq!(Payload::parse(given).unwrap().as_str(), canonical);
    }

    #[test]
    fn sorts_and_compacts_at_every_depth() {
        check(
            r#" { "b" : [ {"y":1, "x":2} ] , "a" : null } "#,
            r#"{"a":null,"b":[{"x":2,"y":1}]}"#,
        );
        check(r#"{"a":1,"a":2}"#, r#"{"a":2}"#);
        check("{}", "{}");
    }

    #[test]
    fn numbers_keep_their_digits() {
        let digits = r#"{"a":1180591620717411303424,"b":1e-05,"c":1E+5,"d":-0,"e":1.10,"f":1e999}"#;
        check(digits, digits);
    }

    #[test]
    fn strings_are_unescaped_but_for_what_json_demands() {
        check(
            r#"{"ä":"\u00e4\u2603\/\u0007\t<>&\u007f"}"#,
            "{\"ä\":\"ä☃/\\u0007\\t<>&\u{7f}\"}",
        );
        // Code point order, not UTF-16 order.
        check(
            "{\"\u{1F600}\":1,\"\u{FFFD}\":2}",
            "{\"\u{FFFD}\":2,\"\u{1F600}\":1}",
        );
    }

    #[test]
    fn refuses_what_is_no_object() {
        assert!(matches!(
            Payload::parse("[]"),
            Err(PayloadError::NotAnObject)
        ));
        assert!(matches!(Payload::parse("{"), Err(PayloadError::NotJson(_))));
        assert!(matches!(
            Payload::parse("{\"a\":\"\\ud800\"}"),
            Err(PayloadError::NotJson(_))
        ));
        assert!(matches!(
            Payload::parse("{\"a\":NaN}"),
            Err(PayloadError::NotJson(_))
        ));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        assert!(matches!(Payload::parse(&deep), Err(PayloadError::TooDeep)));
    }
}
