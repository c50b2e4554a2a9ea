use std::{fmt, sync::Arc};

use sha2::{Digest, Sha256};

use crate::topic::shown;

/// Longest event id, in characters.
const MAX_ID_CHARS: usize = 128;

/// Why a text is no event id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event id {0:?} is not 1..{MAX_ID_CHARS} characters 0x21..0x7E without `.`")]
pub struct IdError(String);

/// An event's one id, the same in every attempt, header and body. Cheap to clone.
///
/// Standard Webhooks signs `id.timestamp.body`, hence no dots.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Arc<str>);

impl EventId {
    /// Checks 1..128 characters 0x21..0x7E without `.`.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let fits = (1..=MAX_ID_CHARS).contains(&text.len())
            && text.bytes().all(|b| matches!(b, 0x21..=0x7e) && b != b'.');
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(IdError(shown(text)))
        }
    }

    /// A fresh id: a version 7 UUID (RFC 9562), so that an index on ids grows at its end.
    pub fn fresh() -> Self {
        Self(uuid::Uuid::now_v7().hyphenated().to_string().into())
    }

    /// The id of an event that came without a valid one: 32 hex digits that every reader of the
    /// same place on the same bus derives alike.
    pub fn derived(incarnation: &str, seq: u64) -> Self {
        let digest = Sha256::digest(format!("{incarnation}:{seq}"));
        Self(hex::encode(&digest[..16]).into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_ids_ascend() {
        let ids: Vec<_> = (0..1_000)
            .map(|_| EventId::fresh().as_str().to_owned())
            .collect();
        assert!(ids.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn keeps_to_the_contract() {
        assert!(EventId::parse("b0b260086f544541bb1086329ccbeb99").is_ok());
        assert!(EventId::parse(&"x".repeat(128)).is_ok());
        for wrong in ["", "a.b", "a b", "ä", "a\n", &"x".repeat(129)] {
            assert!(EventId::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn derived_ids_depend_on_the_place_alone() {
        assert_eq!(EventId::derived("j1", 7), EventId::derived("j1", 7));
        assert_ne!(EventId::derived("j1", 7), EventId::derived("j1", 8));
        assert_ne!(EventId::derived("j1", 7), EventId::derived("j2", 7));
        assert!(EventId::parse(EventId::derived("j1", 7).as_str()).is_ok());
    }
}
