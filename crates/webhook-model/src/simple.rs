use std::{fmt, str::FromStr};

use crate::{TopicPattern, topic::shown};

/// A name for a group of patterns. It exists at the API only; storage holds patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SimpleEvent {
    /// Everything about attackers.
    AttackerDetail,
    /// State and traffic of every decoy.
    DeckyStatus,
    /// Everything about the system itself.
    SystemStatus,
}

/// A text that names no [`SimpleEvent`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no simple event; use AttackerDetail, DeckyStatus or SystemStatus")]
pub struct UnknownSimpleEvent(String);

impl SimpleEvent {
    /// All of them, in the order of the contract.
    pub const ALL: [Self; 3] = [Self::AttackerDetail, Self::DeckyStatus, Self::SystemStatus];

    /// The name as the API takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AttackerDetail => "AttackerDetail",
            Self::DeckyStatus => "DeckyStatus",
            Self::SystemStatus => "SystemStatus",
        }
    }

    /// The patterns it stands for.
    pub fn patterns(self) -> Vec<TopicPattern> {
        let texts: &[&str] = match self {
            Self::AttackerDetail => &["attacker.>"],
            Self::DeckyStatus => &["decky.*.state", "decky.*.traffic"],
            Self::SystemStatus => &["system.>"],
        };
        texts
            .iter()
            .map(|text| TopicPattern::parse(text).expect("a constant pattern is valid"))
            .collect()
    }
}

impl FromStr for SimpleEvent {
    type Err = UnknownSimpleEvent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|simple| simple.as_str() == text)
            .ok_or_else(|| UnknownSimpleEvent(shown(text)))
    }
}

impl fmt::Display for SimpleEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Simple expansions first in the order given, then raw patterns; duplicates removed, order kept.
pub fn merge_patterns(simple: &[SimpleEvent], raw: &[TopicPattern]) -> Vec<TopicPattern> {
    let mut merged: Vec<TopicPattern> = Vec::new();
    let expanded = simple.iter().flat_map(|s| s.patterns());
    for pattern in expanded.chain(raw.iter().cloned()) {
        if !merged.contains(&pattern) {
            merged.push(pattern);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_first_duplicates_out_order_kept() {
        let raw: Vec<_> = ["email.>", "attacker.>", "decky.*.state", "email.>"]
            .iter()
            .map(|p| TopicPattern::parse(p).unwrap())
            .collect();
        let merged = merge_patterns(
            &[SimpleEvent::DeckyStatus, SimpleEvent::AttackerDetail],
            &raw,
        );
        let texts: Vec<_> = merged.iter().map(TopicPattern::as_str).collect();
        assert_eq!(
            texts,
            ["decky.*.state", "decky.*.traffic", "attacker.>", "email.>"]
        );
    }

    #[test]
    fn unknown_names_are_told() {
        let error = "AttackerDetails".parse::<SimpleEvent>().unwrap_err();
        assert!(error.to_string().contains("\"AttackerDetails\""));
    }
}
