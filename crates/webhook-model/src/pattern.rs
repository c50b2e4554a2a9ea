use std::{fmt, sync::Arc};

use crate::topic::{MAX_TOPIC_BYTES, MAX_TOPIC_TOKENS, Topic, is_token_char, shown};

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing between two dots, or no text at all.
    #[error("pattern {0:?} has an empty token")]
    EmptyToken(String),
    /// A character outside 0x21..0x7E, or a wildcard that is only a part of its token.
    #[error(
        "pattern {0:?} contains {1:?} inside a token; `*` and `>` must be whole tokens, others 0x21..0x7E"
    )]
    Character(String, char),
    /// `>` anywhere but at the end.
    #[error("pattern {0:?} has `>` before its last token")]
    TailNotLast(String),
    /// More than [`MAX_TOPIC_BYTES`].
    #[error("pattern {0:?} is longer than {MAX_TOPIC_BYTES} bytes")]
    TooLong(String),
    /// More than [`MAX_TOPIC_TOKENS`].
    #[error("pattern {0:?} has more than {MAX_TOPIC_TOKENS} tokens")]
    TooManyTokens(String),
}

/// A set of topics, in NATS's subject syntax: `*` is one token, `>` (last only) one or more.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPattern(Arc<str>);

impl TopicPattern {
    /// Checks a text against the pattern rules.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_TOPIC_BYTES {
            return Err(PatternError::TooLong(shown(text)));
        }
        let count = text.split('.').count();
        for (index, token) in text.split('.').enumerate() {
            match token {
                "" => return Err(PatternError::EmptyToken(shown(text))),
                "*" => {}
                ">" if index + 1 == count => {}
                ">" => return Err(PatternError::TailNotLast(shown(text))),
                _ => {
                    if let Some(wrong) = token.chars().find(|&c| !is_token_char(c)) {
                        return Err(PatternError::Character(shown(text), wrong));
                    }
                }
            }
        }
        if count > MAX_TOPIC_TOKENS {
            return Err(PatternError::TooManyTokens(shown(text)));
        }
        Ok(Self(text.into()))
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tokens between the dots, wildcards as they stand.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// Whether the topic is in the set.
    pub fn matches(&self, topic: &Topic) -> bool {
        let mut topic = topic.tokens();
        for token in self.tokens() {
            match (token, topic.next()) {
                (_, None) => return false,
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (literal, Some(found)) if literal == found => {}
                _ => return false,
            }
        }
        topic.next().is_none()
    }

    /// Whether every topic of `other` is also in this set.
    pub fn covers(&self, other: &TopicPattern) -> bool {
        let mut theirs = other.tokens();
        for ours in self.tokens() {
            match (ours, theirs.next()) {
                (_, None) => return false,
                (">", Some(_)) => return true,
                (_, Some(">")) => return false,
                ("*", Some(_)) => {}
                (literal, Some(found)) if literal == found => {}
                _ => return false,
            }
        }
        theirs.next().is_none()
    }

    /// Whether some topic is in both sets.
    pub fn overlaps(&self, other: &TopicPattern) -> bool {
        let (mut ours, mut theirs) = (self.tokens(), other.tokens());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (None, Some(_)) | (Some(_), None) => return false,
                (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
                (Some("*"), Some(_)) | (Some(_), Some("*")) => {}
                (Some(a), Some(b)) if a == b => {}
                _ => return false,
            }
        }
    }

    /// The narrowest pattern that covers both.
    pub fn common_cover(&self, other: &TopicPattern) -> TopicPattern {
        let (mut ours, mut theirs) = (self.tokens(), other.tokens());
        let mut tokens: Vec<&str> = Vec::new();
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => break,
                (Some(a), Some(b)) if a == b => tokens.push(a),
                (Some(a), Some(b)) if a != ">" && b != ">" => tokens.push("*"),
                (Some(_), Some(_)) => {
                    tokens.push(">");
                    break;
                }
                // One is longer: `>` must stand for at least one token of the shorter, too.
                (None, Some(_)) | (Some(_), None) => {
                    tokens.pop();
                    tokens.push(">");
                    break;
                }
            }
        }
        Self(tokens.join(".").into())
    }
}

impl From<&Topic> for TopicPattern {
    /// The pattern that matches this topic alone.
    fn from(topic: &Topic) -> Self {
        Self(topic.as_str().into())
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicPattern({})", self.0)
    }
}

#[cfg(test)]
pub(crate) mod tests;
