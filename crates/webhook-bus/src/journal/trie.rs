//! Finds who asked for a topic in time that depends on the topic's tokens, not on how many asked.

use std::collections::HashMap;

use webhook_model::{MAX_TOPIC_TOKENS, Topic, TopicPattern};

/// Patterns, each with a value.
#[derive(Debug)]
pub(crate) struct Trie<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    /// Patterns that end here.
    exact: Vec<T>,
    /// Patterns whose `>` stands for what follows.
    tail: Vec<T>,
    star: Option<Box<Node<T>>>,
    literal: HashMap<Box<str>, Node<T>>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            exact: Vec::new(),
            tail: Vec::new(),
            star: None,
            literal: HashMap::new(),
        }
    }
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self {
            root: Node::default(),
        }
    }
}

impl<T: Copy + PartialEq> Trie<T> {
    pub(crate) fn insert(&mut self, pattern: &TopicPattern, value: T) {
        let mut node = &mut self.root;
        for token in pattern.tokens() {
            node = match token {
                ">" => {
                    node.tail.push(value);
                    return;
                }
                "*" => node.star.get_or_insert_default(),
                literal => node.literal.entry(literal.into()).or_default(),
            };
        }
        node.exact.push(value);
    }

    /// Removes one value that was inserted with this very pattern.
    pub(crate) fn remove(&mut self, pattern: &TopicPattern, value: T) {
        let tokens: Vec<&str> = pattern.tokens().collect();
        self.root.remove(&tokens, value);
    }

    /// Calls `found` for each value whose pattern matches; twice for a value with two of them.
    pub(crate) fn visit(&self, topic: &Topic, mut found: impl FnMut(T)) {
        let mut tokens = [""; MAX_TOPIC_TOKENS];
        let mut count = 0;
        for (slot, token) in tokens.iter_mut().zip(topic.tokens()) {
            *slot = token;
            count += 1;
        }
        self.root.visit(&tokens[..count], &mut found);
    }
}

impl<T: Copy + PartialEq> Node<T> {
    fn visit(&self, tokens: &[&str], found: &mut impl FnMut(T)) {
        let Some((first, rest)) = tokens.split_first() else {
            self.exact.iter().copied().for_each(found);
            return;
        };
        for &value in &self.tail {
            found(value);
        }
        if let Some(star) = &self.star {
            star.visit(rest, found);
        }
        if let Some(child) = self.literal.get(*first) {
            child.visit(rest, found);
        }
    }

    fn remove(&mut self, tokens: &[&str], value: T) {
        match tokens.split_first() {
            None => remove_one(&mut self.exact, value),
            Some((&">", _)) => remove_one(&mut self.tail, value),
            Some((&"*", rest)) => {
                if let Some(star) = &mut self.star {
                    star.remove(rest, value);
                    if star.is_empty() {
                        self.star = None;
                    }
                }
            }
            Some((literal, rest)) => {
                if let Some(child) = self.literal.get_mut(*literal) {
                    child.remove(rest, value);
                    if child.is_empty() {
                        self.literal.remove(*literal);
                    }
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty()
            && self.tail.is_empty()
            && self.star.is_none()
            && self.literal.is_empty()
    }
}

fn remove_one<T: PartialEq>(values: &mut Vec<T>, value: T) {
    if let Some(index) = values.iter().position(|it| *it == value) {
        values.swap_remove(index);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern() -> impl Strategy<Value = TopicPattern> {
        let token = prop_oneof![Just("a"), Just("b"), Just("*")];
        let tokens = proptest::collection::vec(token, 1..4);
        (tokens, any::<bool>()).prop_map(|(mut tokens, tail)| {
            if tail {
                *tokens.last_mut().unwrap() = ">";
            }
            TopicPattern::parse(&tokens.join(".")).unwrap()
        })
    }

    fn topic() -> impl Strategy<Value = Topic> {
        proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c")], 1..5)
            .prop_map(|tokens| Topic::parse(&tokens.join(".")).unwrap())
    }

    fn found(trie: &Trie<usize>, topic: &Topic) -> Vec<usize> {
        let mut found = Vec::new();
        trie.visit(topic, |value| found.push(value));
        found.sort_unstable();
        found
    }

    proptest! {
        #[test]
        fn finds_what_matches(
            patterns in proptest::collection::vec(pattern(), 0..12),
            topics in proptest::collection::vec(topic(), 1..12),
        ) {
            let mut trie = Trie::default();
            for (value, pattern) in patterns.iter().enumerate() {
                trie.insert(pattern, value);
            }
            for gone in 0..=patterns.len() {
                for topic in &topics {
                    let expected: Vec<usize> = (gone..patterns.len())
                        .filter(|&value| patterns[value].matches(topic))
                        .collect();
                    prop_assert_eq!(found(&trie, topic), expected);
                }
                if let Some(pattern) = patterns.get(gone) {
                    trie.remove(pattern, gone);
                }
            }
            prop_assert!(trie.root.is_empty());
        }
    }
}
