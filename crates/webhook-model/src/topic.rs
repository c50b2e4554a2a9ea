use std::{fmt, sync::Arc};

/// Longest topic, in bytes.
pub const MAX_TOPIC_BYTES: usize = 255;
/// Most tokens of a topic or pattern.
pub const MAX_TOPIC_TOKENS: usize = 16;

/// Why a text is no topic. The text is shown cut to 80 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Nothing between two dots, or no text at all.
    #[error("topic {0:?} has an empty token")]
    EmptyToken(String),
    /// A character outside 0x21..0x7E, or a wildcard.
    #[error("topic {0:?} contains {1:?}, which may not stand in a topic")]
    Character(String, char),
    /// More than [`MAX_TOPIC_BYTES`].
    #[error("topic {0:?} is longer than {MAX_TOPIC_BYTES} bytes")]
    TooLong(String),
    /// More than [`MAX_TOPIC_TOKENS`].
    #[error("topic {0:?} has more than {MAX_TOPIC_TOKENS} tokens")]
    TooManyTokens(String),
}

/// Dot-separated tokens of 0x21..0x7E without `*` and `>`, e.g. `attacker.observed`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

impl Topic {
    /// Checks a text against the topic rules.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        if text.len() > MAX_TOPIC_BYTES {
            return Err(TopicError::TooLong(shown(text)));
        }
        if let Some(wrong) = text.chars().find(|&c| !is_token_char(c) && c != '.') {
            return Err(TopicError::Character(shown(text), wrong));
        }
        if text.split('.').any(str::is_empty) {
            return Err(TopicError::EmptyToken(shown(text)));
        }
        if text.split('.').count() > MAX_TOPIC_TOKENS {
            return Err(TopicError::TooManyTokens(shown(text)));
        }
        Ok(Self(text.into()))
    }

    /// The topic as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tokens between the dots.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }
}

/// Whether a character may stand in a token: 0x21..0x7E without `.`, `*`, `>`.
pub(crate) fn is_token_char(c: char) -> bool {
    matches!(c, '\x21'..='\x7e') && !matches!(c, '.' | '*' | '>')
}

/// A value as an error shows it: enough to recognise, never a page.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_the_contract_accepts() {
        for text in ["a", "attacker.observed", "decky.decky-07.state", "a.!~.{}"] {
            assert_eq!(Topic::parse(text).unwrap().as_str(), text);
        }
        assert!(Topic::parse(&"a".repeat(255)).is_ok());
        assert!(Topic::parse(&["t"; 16].join(".")).is_ok());
    }

    #[test]
    fn names_what_is_wrong() {
        assert!(matches!(Topic::parse(""), Err(TopicError::EmptyToken(_))));
        assert!(matches!(
            Topic::parse("a..b"),
            Err(TopicError::EmptyToken(_))
        ));
        assert!(matches!(Topic::parse(".a"), Err(TopicError::EmptyToken(_))));
        assert!(matches!(
            Topic::parse("a.*"),
            Err(TopicError::Character(_, '*'))
        ));
        assert!(matches!(
            Topic::parse("a.>"),
            Err(TopicError::Character(_, '>'))
        ));
        assert!(matches!(
            Topic::parse("a b"),
            Err(TopicError::Character(_, ' '))
        ));
        assert!(matches!(
            Topic::parse("ä"),
            Err(TopicError::Character(_, 'ä'))
        ));
        assert!(matches!(
            Topic::parse(&"a".repeat(256)),
            Err(TopicError::TooLong(_))
        ));
        assert!(matches!(
            Topic::parse(&["t"; 17].join(".")),
            Err(TopicError::TooManyTokens(_))
        ));
    }
}
