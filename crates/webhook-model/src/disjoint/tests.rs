use proptest::prelude::*;

use super::*;
use crate::pattern::tests::{any_pattern, universe};

#[track_caller]
fn check(patterns: &[&str], expected: &[(&str, &[&str])]) {
    let patterns: Vec<_> = patterns
        .iter()
        .map(|p| TopicPattern::parse(p).unwrap())
        .collect();
    let found: Vec<(String, Vec<String>)> = disjoint(&patterns)
        .into_iter()
        .map(|f| {
            (
                f.cover.to_string(),
                f.patterns.iter().map(ToString::to_string).collect(),
            )
        })
        .collect();
    let expected: Vec<(String, Vec<String>)> = expected
        .iter()
        .map(|(c, p)| (c.to_string(), p.iter().map(ToString::to_string).collect()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn covered_patterns_get_no_filter_of_their_own() {
    check(&["attacker.>", "attacker.observed"], &[("attacker.>", &[])]);
    check(&["attacker.observed", "attacker.>"], &[("attacker.>", &[])]);
    check(&["a.b", "a.b"], &[("a.b", &[])]);
}

#[test]
fn patterns_that_do_not_meet_stay_apart() {
    check(
        &["decky.*.traffic", "decky.*.state"],
        &[("decky.*.state", &[]), ("decky.*.traffic", &[])],
    );
}

#[test]
fn overlapping_patterns_share_their_cover() {
    check(&["a.*.x", "a.b.*"], &[("a.*.*", &["a.*.x", "a.b.*"])]);
    // The cover of the first two reaches the third, which overlapped neither.
    check(
        &["a.*.x", "a.b.*", "a.c.y"],
        &[("a.*.*", &["a.*.x", "a.b.*", "a.c.y"])],
    );
}

proptest! {
    #[test]
    fn filters_are_disjoint_and_match_what_was_asked(
        patterns in proptest::collection::vec(any_pattern(), 0..6)
    ) {
        let filters = disjoint(&patterns);
        for topic in universe() {
            let asked = patterns.iter().any(|p| p.matches(&topic));
            let delivered = filters.iter().filter(|f| f.matches(&topic)).count();
            let consumers = filters.iter().filter(|f| f.cover.matches(&topic)).count();
            prop_assert_eq!(delivered, usize::from(asked));
            prop_assert!(consumers <= 1);
        }
    }

    #[test]
    fn one_joint_filter_matches_what_was_asked(
        patterns in proptest::collection::vec(any_pattern(), 0..6)
    ) {
        let filter = joint(&patterns);
        prop_assert_eq!(filter.is_none(), patterns.is_empty());
        for topic in universe() {
            let asked = patterns.iter().any(|p| p.matches(&topic));
            prop_assert_eq!(filter.as_ref().is_some_and(|f| f.matches(&topic)), asked);
        }
    }

    #[test]
    fn order_does_not_matter(
        patterns in proptest::collection::vec(any_pattern(), 0..5).prop_shuffle()
    ) {
        let mut reversed = patterns.clone();
        reversed.reverse();
        let (a, b) = (disjoint(&patterns), disjoint(&reversed));
        prop_assert_eq!(a, b);
    }
}
