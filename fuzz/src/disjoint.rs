//! Patterns cut into filters of which no two match the same topic.

use arbitrary::{Result, Unstructured};
use webhook_model::{Filter, Topic, TopicPattern, disjoint, joint};

use crate::patterns::{matches, small, universe};

const MAX_PATTERNS: usize = 8;
const MAX_TOKENS: usize = 16;

/// Of the filters of any patterns exactly one takes a topic that a pattern matches, none another one,
/// and no two are handed the same by the bus.
///
/// The first byte says whether the patterns are small, and every topic is looked at, or of any
/// length, and those topics are that the patterns are made into.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let _ = if input.arbitrary().unwrap_or(true) {
        small_ones(&mut input)
    } else {
        long_ones(&mut input)
    };
}

fn small_ones(input: &mut Unstructured<'_>) -> Result<()> {
    let mut patterns = Vec::new();
    for _ in 0..input.int_in_range(0..=MAX_PATTERNS)? {
        patterns.push(small(input)?);
    }
    check(&patterns, &universe(&["a", "b", "another"], 5));
    Ok(())
}

fn long_ones(input: &mut Unstructured<'_>) -> Result<()> {
    let (mut patterns, mut topics) = (Vec::new(), Vec::new());
    for _ in 0..input.int_in_range(0..=MAX_PATTERNS)? {
        let mut tokens: Vec<&str> = Vec::new();
        for _ in 0..input.int_in_range(1..=MAX_TOKENS)? {
            tokens.push(*input.choose(&["a", "b", "c", "*"])?);
        }
        if input.arbitrary()? {
            tokens.pop();
            tokens.push(">");
        }
        let pattern = TopicPattern::parse(&tokens.join("."));
        patterns.push(pattern.expect("it is put together as one"));
    }
    // What a pattern matches, and what is a token off.
    for pattern in &patterns {
        for _ in 0..3 {
            let mut tokens: Vec<&str> = pattern.tokens().collect();
            for token in &mut tokens {
                if matches!(*token, "*" | ">") {
                    *token = input.choose(&["a", "b", "c", "another"])?;
                }
            }
            topics.push(topic(&tokens));
            if let Some(shorter) = tokens.split_last().map(|(_, rest)| rest)
                && !shorter.is_empty()
            {
                topics.push(topic(shorter));
            }
            tokens.push("a");
            tokens.truncate(MAX_TOKENS);
            topics.push(topic(&tokens));
        }
    }
    check(&patterns, &topics);
    Ok(())
}

fn topic(tokens: &[&str]) -> Topic {
    Topic::parse(&tokens.join(".")).expect("it is put together as one")
}

fn check(patterns: &[TopicPattern], topics: &[Topic]) {
    let filters = disjoint(patterns);
    let together = joint(patterns);
    let mut turned = patterns.to_vec();
    turned.reverse();
    assert_eq!(disjoint(&turned), filters);
    let takes = |filter: &Filter, topic: &Topic| {
        let listed = filter.patterns.iter().any(|it| matches(it, topic));
        matches(&filter.cover, topic) && (filter.patterns.is_empty() || listed)
    };
    for topic in topics {
        let asked = patterns.iter().any(|pattern| matches(pattern, topic));
        let taken = filters.iter().filter(|it| takes(it, topic)).count();
        let handed = filters
            .iter()
            .filter(|it| matches(&it.cover, topic))
            .count();
        assert_eq!(taken, usize::from(asked), "{topic} of {patterns:?}");
        assert!(handed <= 1, "{topic} of {patterns:?}");
        for filter in filters.iter().chain(&together) {
            assert_eq!(filter.matches(topic), takes(filter, topic));
        }
        assert_eq!(
            together.as_ref().is_some_and(|it| takes(it, topic)),
            asked,
            "{topic}"
        );
    }
}
