//! Topics and patterns: what is one, and what a pattern matches, covers and overlaps.

use arbitrary::{Result, Unstructured};
use webhook_model::{Topic, TopicPattern};

/// Longest text, and most tokens.
const MAX_BYTES: usize = 255;
const MAX_TOKENS: usize = 16;
/// Most tokens of a pattern whose set is decided by looking at every topic.
const SMALL: usize = 4;

/// What parses is what the contract allows, and sets are what looking at every topic says.
///
/// The first byte says whether the rest is two texts, or the choices that small patterns are made of.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    if input.arbitrary().unwrap_or(true) {
        let text = String::from_utf8_lossy(input.take_rest());
        let (one, other) = text.split_once('\n').unwrap_or((&text, ""));
        texts(one, other);
    } else if let (Ok(one), Ok(other)) = (small(&mut input), small(&mut input)) {
        sets(&one, &other);
    }
}

fn texts(one: &str, other: &str) {
    assert_eq!(Topic::parse(one).is_ok(), is_topic(one), "{one:?}");
    let pattern = TopicPattern::parse(one);
    assert_eq!(pattern.is_ok(), is_pattern(one), "{one:?}");
    if let Err(error) = &pattern {
        assert!(error.to_string().chars().count() < 1_000);
    }
    let (Ok(pattern), Ok(topic)) = (pattern, Topic::parse(other)) else {
        return;
    };
    assert_eq!(pattern.as_str(), one);
    assert_eq!(
        pattern.matches(&topic),
        matches(&pattern, &topic),
        "{one:?} {other:?}"
    );
    let exact = TopicPattern::from(&topic);
    assert_eq!(pattern.overlaps(&exact), pattern.matches(&topic));
    assert_eq!(pattern.covers(&exact), pattern.matches(&topic));
    let cover = pattern.common_cover(&exact);
    assert!(is_pattern(cover.as_str()), "{cover}");
    assert!(cover.covers(&pattern) && cover.matches(&topic));
}

fn sets(one: &TopicPattern, other: &TopicPattern) {
    let cover = one.common_cover(other);
    let (mut both, mut all) = (false, true);
    for topic in universe(&["a", "b", "another"], SMALL + 1) {
        let (first, second) = (matches(one, &topic), matches(other, &topic));
        assert_eq!(one.matches(&topic), first, "{one} {topic}");
        assert!(
            !(first || second) || matches(&cover, &topic),
            "{cover} {topic}"
        );
        both |= first && second;
        all &= first || !second;
    }
    assert_eq!(one.overlaps(other), both, "{one} {other}");
    assert_eq!(one.covers(other), all, "{one} {other}");
    assert_eq!(cover, other.common_cover(one));
}

/// A pattern of few tokens and fewer names.
pub(crate) fn small(input: &mut Unstructured<'_>) -> Result<TopicPattern> {
    let mut tokens = Vec::new();
    for _ in 0..input.int_in_range(0..=SMALL - 1)? {
        tokens.push(*input.choose(&["a", "b", "*"])?);
    }
    tokens.push(*input.choose(&["a", "b", "*", ">"])?);
    Ok(TopicPattern::parse(&tokens.join(".")).expect("it is put together as one"))
}

/// Every topic of at most that many of these tokens.
pub(crate) fn universe(tokens: &[&str], most: usize) -> Vec<Topic> {
    let mut all = Vec::new();
    let mut longest = vec![String::new()];
    for _ in 0..most {
        let next = longest.iter().flat_map(|start| {
            tokens.iter().map(move |token| match start.as_str() {
                "" => (*token).to_owned(),
                start => format!("{start}.{token}"),
            })
        });
        longest = next.collect();
        all.extend(
            longest
                .iter()
                .map(|text| Topic::parse(text).expect("it is one")),
        );
    }
    all
}

/// Whether a pattern matches a topic, token by token.
pub(crate) fn matches(pattern: &TopicPattern, topic: &Topic) -> bool {
    fn rest(pattern: &[&str], topic: &[&str]) -> bool {
        match (pattern, topic) {
            ([], []) => true,
            ([">"], [_, ..]) => true,
            (["*", pattern @ ..], [_, topic @ ..]) => rest(pattern, topic),
            ([one, pattern @ ..], [other, topic @ ..]) => one == other && rest(pattern, topic),
            _ => false,
        }
    }
    let pattern: Vec<&str> = pattern.tokens().collect();
    let topic: Vec<&str> = topic.tokens().collect();
    rest(&pattern, &topic)
}

/// Whether the contract calls a text a topic.
pub(crate) fn is_topic(text: &str) -> bool {
    let tokens: Vec<&str> = text.split('.').collect();
    text.len() <= MAX_BYTES && tokens.len() <= MAX_TOKENS && tokens.into_iter().all(is_token)
}

/// Whether it calls it a pattern.
pub(crate) fn is_pattern(text: &str) -> bool {
    let tokens: Vec<&str> = text.split('.').collect();
    let (last, others) = tokens.split_last().expect("a text has a token");
    let is_any = |token: &str| token == "*" || is_token(token);
    text.len() <= MAX_BYTES
        && tokens.len() <= MAX_TOKENS
        && others.iter().all(|token| is_any(token))
        && (*last == ">" || is_any(last))
}

fn is_token(token: &str) -> bool {
    let is_allowed = |byte: u8| (0x21..=0x7e).contains(&byte) && !b".*>".contains(&byte);
    !token.is_empty() && token.bytes().all(is_allowed)
}
