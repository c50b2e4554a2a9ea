use std::fmt;

use crate::{EndpointUrl, FieldError, Secret, Settings, TopicPattern, UtcTime};

/// Longest subscription name, in characters.
pub const MAX_NAME_CHARS: usize = 64;

/// A name outside 1..64 characters, or one with control characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty or too long.
    #[error("name has {0} characters; use 1 to {MAX_NAME_CHARS}")]
    Length(usize),
    /// It would break the lines of logs and tables.
    #[error("name contains the control character {0:?}")]
    Control(char),
}

/// A subscription's name: 1..64 characters, unique, case-sensitive.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SubscriptionName(String);

impl SubscriptionName {
    /// Checks the rule.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let chars = text.chars().count();
        if !(1..=MAX_NAME_CHARS).contains(&chars) {
            return Err(NameError::Length(chars));
        }
        match text.chars().find(|c| c.is_control()) {
            Some(control) => Err(NameError::Control(control)),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SubscriptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a subscription gets its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It does.
    Active,
    /// An operator switched it off; what is published meanwhile is not for it.
    Paused,
    /// The circuit breaker switched it off; its backlog waits.
    Tripped {
        /// When.
        at: UtcTime,
    },
}

impl State {
    /// From DECNET's two columns.
    pub fn from_columns(enabled: bool, auto_disabled_at: Option<UtcTime>) -> Self {
        match (enabled, auto_disabled_at) {
            (true, _) => Self::Active,
            (false, None) => Self::Paused,
            (false, Some(at)) => Self::Tripped { at },
        }
    }

    /// The column `enabled`.
    pub fn enabled(self) -> bool {
        self == Self::Active
    }

    /// The column `auto_disabled_at`.
    pub fn auto_disabled_at(self) -> Option<UtcTime> {
        match self {
            Self::Tripped { at } => Some(at),
            Self::Active | Self::Paused => None,
        }
    }

    /// `active`, `paused` or `tripped`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Tripped { .. } => "tripped",
        }
    }
}

/// One endpoint that asked for events, and how its deliveries fare.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Its id, as text.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Where events are posted.
    pub url: EndpointUrl,
    /// What they are signed with.
    pub secret: Secret,
    /// What it asked for.
    pub topic_patterns: Vec<TopicPattern>,
    /// What is wrong with each member of the stored list that is no pattern and matches nothing. DECNET
    /// stores any text.
    pub skipped_patterns: Vec<String>,
    /// How its deliveries are made.
    pub settings: Settings,
    /// Active, paused or tripped.
    pub state: State,
    /// Failed deliveries since the last success.
    pub consecutive_failures: u32,
    /// When a delivery last succeeded.
    pub last_success_at: Option<UtcTime>,
    /// When one last failed.
    pub last_failure_at: Option<UtcTime>,
    /// Why, at most 512 characters.
    pub last_error: Option<String>,
    /// When it was created.
    pub created_at: UtcTime,
    /// When an operator last changed it.
    pub updated_at: UtcTime,
}

impl Subscription {
    /// What an operator should know about the settings, each beginning with its kind. `carries`
    /// says whether the bus carries any topic of a pattern, `carried` what it carries, in words that
    /// follow "topics".
    pub fn warnings(&self, carries: impl Fn(&TopicPattern) -> bool, carried: &str) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Err(error) = SubscriptionName::parse(&self.name) {
            warnings.push(format!("bad_name: {error}; give it another name"));
        }
        if self.url.is_insecure() {
            warnings.push(
                "insecure_url: deliveries travel unencrypted; use https unless the network between is yours"
                    .to_owned(),
            );
        }
        if !self.secret.is_verifiable() {
            warnings.push(
                "unverifiable_secret: libraries for Standard Webhooks take no other secret than whsec_ and base64; verify X-DECNET-Signature, or rotate to a generated one"
                    .to_owned(),
            );
        }
        for pattern in &self.topic_patterns {
            if !carries(pattern) {
                warnings.push(format!(
                    "uncovered_pattern: {pattern} matches nothing that the bus carries; topics {carried}"
                ));
            }
        }
        for skipped in &self.skipped_patterns {
            warnings.push(format!("bad_pattern: {skipped}; it matches nothing"));
        }
        warnings
    }
}

/// Parses a list of patterns, naming every wrong one as `field[index]`.
pub fn validate_patterns<S: AsRef<str>>(
    field: &str,
    texts: &[S],
) -> Result<Vec<TopicPattern>, Vec<FieldError>> {
    let mut patterns = Vec::with_capacity(texts.len());
    let mut errors = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match TopicPattern::parse(text.as_ref()) {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => errors.push(FieldError::new(format!("{field}[{index}]"), error)),
        }
    }
    if errors.is_empty() {
        Ok(patterns)
    } else {
        Err(errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_in_characters() {
        assert!(SubscriptionName::parse(&"ä".repeat(64)).is_ok());
        assert_eq!(SubscriptionName::parse(""), Err(NameError::Length(0)));
        assert_eq!(
            SubscriptionName::parse(&"x".repeat(65)),
            Err(NameError::Length(65))
        );
        assert_eq!(
            SubscriptionName::parse("a\nb"),
            Err(NameError::Control('\n'))
        );
    }

    #[test]
    fn states_follow_the_columns() {
        let at = UtcTime::EPOCH;
        assert_eq!(State::from_columns(true, Some(at)), State::Active);
        assert_eq!(State::from_columns(false, None), State::Paused);
        assert_eq!(State::from_columns(false, Some(at)), State::Tripped { at });
    }

    #[test]
    fn wrong_patterns_are_all_named() {
        let errors = validate_patterns("topic_patterns", &["a.>", "a..b", "b", ">.a"]).unwrap_err();
        let fields: Vec<_> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, ["topic_patterns[1]", "topic_patterns[3]"]);
    }

    #[test]
    fn warns_of_what_would_surprise() {
        let subscription = Subscription {
            uuid: "u".into(),
            name: "n".into(),
            url: EndpointUrl::parse("http://siem.example/").unwrap(),
            secret: Secret::generate(),
            topic_patterns: ["attacker.>", "atacker.>", ">", "*.x"]
                .map(|p| TopicPattern::parse(p).unwrap())
                .into(),
            skipped_patterns: vec!["pattern \"a..b\" has an empty token".into()],
            settings: Settings::default(),
            state: State::Active,
            consecutive_failures: 0,
            last_success_at: None,
            last_failure_at: None,
            last_error: None,
            created_at: UtcTime::EPOCH,
            updated_at: UtcTime::EPOCH,
        };
        let carries = |it: &TopicPattern| it.as_str() != "atacker.>";
        let unverifiable = Subscription {
            secret: Secret::parse("0123456789abcdef").unwrap(),
            ..subscription.clone()
        };
        let told = unverifiable.warnings(carries, "begin with attacker");
        assert!(told.iter().any(|it| it.starts_with("unverifiable_secret:")));
        let warnings = subscription.warnings(carries, "begin with attacker");
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings[0].starts_with("insecure_url:"));
        assert!(warnings[1].starts_with("uncovered_pattern: atacker.>"));
        assert!(warnings[2].starts_with("bad_pattern: pattern \"a..b\""));
    }
}
