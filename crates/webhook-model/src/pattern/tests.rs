use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> TopicPattern {
    TopicPattern::parse(text).unwrap()
}

#[track_caller]
fn check_matches(pat: &str, topic: &str, expected: bool) {
    assert_eq!(
        pattern(pat).matches(&Topic::parse(topic).unwrap()),
        expected,
        "{pat} against {topic}"
    );
}

#[test]
fn wildcards_stand_for_whole_tokens() {
    check_matches("a.b", "a.b", true);
    check_matches("a.b", "a.b.c", false);
    check_matches("a.*", "a.b", true);
    check_matches("a.*", "a.b.c", false);
    check_matches("a.*", "a", false);
    check_matches("a.>", "a.b.c", true);
    check_matches("a.>", "a", false);
    check_matches(">", "a", true);
    check_matches("*.b", "a.b", true);
    check_matches("decky.*.state", "decky.decky-07.state", true);
    check_matches("decky.*.state", "decky.decky-07.traffic", false);
}

#[test]
fn names_what_is_wrong() {
    assert!(matches!(
        TopicPattern::parse(""),
        Err(PatternError::EmptyToken(_))
    ));
    assert!(matches!(
        TopicPattern::parse("a.>.b"),
        Err(PatternError::TailNotLast(_))
    ));
    assert!(matches!(
        TopicPattern::parse("a*.b"),
        Err(PatternError::Character(_, '*'))
    ));
    assert!(matches!(
        TopicPattern::parse("a.b>"),
        Err(PatternError::Character(_, '>'))
    ));
    assert!(matches!(
        TopicPattern::parse("a b"),
        Err(PatternError::Character(_, ' '))
    ));
    assert!(matches!(
        TopicPattern::parse(&"a".repeat(256)),
        Err(PatternError::TooLong(_))
    ));
    assert!(matches!(
        TopicPattern::parse(&["*"; 17].join(".")),
        Err(PatternError::TooManyTokens(_))
    ));
}

#[test]
fn cover_is_the_narrowest() {
    for (a, b, cover) in [
        ("a.b", "a.c", "a.*"),
        ("a.*.x", "a.b.*", "a.*.*"),
        ("a.>", "a.b", "a.>"),
        ("a", "a.b", ">"),
        ("a.b", "a.b.c", "a.>"),
        ("a.*", "a.b.c", "a.>"),
        ("a.b.>", "a.c", "a.>"),
        (">", "a", ">"),
    ] {
        assert_eq!(
            pattern(a).common_cover(&pattern(b)).as_str(),
            cover,
            "{a} {b}"
        );
        assert_eq!(
            pattern(b).common_cover(&pattern(a)).as_str(),
            cover,
            "{b} {a}"
        );
    }
}

/// Every topic of at most three tokens over {a, b}: small enough to decide set questions by looking.
pub(crate) fn universe() -> Vec<Topic> {
    let mut all = Vec::new();
    for length in 1..=4 {
        for bits in 0..1_u32 << length {
            let tokens: Vec<&str> = (0..length)
                .map(|i| if bits >> i & 1 == 0 { "a" } else { "b" })
                .collect();
            all.push(Topic::parse(&tokens.join(".")).unwrap());
        }
    }
    all
}

pub(crate) fn any_pattern() -> impl Strategy<Value = TopicPattern> {
    (proptest::collection::vec(0..3_u8, 0..3), 0..4_u8).prop_map(|(front, last)| {
        let mut tokens: Vec<&str> = front.iter().map(|t| ["a", "b", "*"][*t as usize]).collect();
        tokens.push(["a", "b", "*", ">"][last as usize]);
        pattern(&tokens.join("."))
    })
}

proptest! {
    #[test]
    fn set_questions_agree_with_looking_at_every_topic(a in any_pattern(), b in any_pattern()) {
        let topics = universe();
        let both = topics.iter().any(|t| a.matches(t) && b.matches(t));
        let all = topics.iter().all(|t| !b.matches(t) || a.matches(t));
        prop_assert_eq!(a.overlaps(&b), both);
        prop_assert_eq!(a.covers(&b), all);
        let cover = a.common_cover(&b);
        prop_assert!(cover.covers(&a) && cover.covers(&b));
    }
}
