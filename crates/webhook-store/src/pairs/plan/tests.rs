use webhook_model::TopicPattern;

use super::*;

fn wish(patterns: &[&str], drain: bool) -> Wish {
    let patterns: Vec<_> = patterns
        .iter()
        .map(|p| TopicPattern::parse(p).unwrap())
        .collect();
    Wish {
        filters: disjoint(&patterns),
        drain,
    }
}

fn at(next_seq: u64) -> Position {
    Position {
        incarnation: "a".into(),
        next_seq,
    }
}

/// What a plan leaves behind: each pair as `cover start..end` with `drain` where it says so.
fn applied(existing: &[Pair], plan: &Plan) -> Vec<Pair> {
    let mut pairs = existing.to_vec();
    for ended in &plan.ended {
        *pairs.iter_mut().find(|pair| pair.id == ended.id).unwrap() = ended.clone();
    }
    pairs.extend(plan.started.iter().cloned());
    pairs
}

fn shown(pairs: &[Pair]) -> Vec<String> {
    let mut shown: Vec<_> = pairs
        .iter()
        .map(|pair| {
            let end = pair.end_seq.map_or(String::new(), |seq| seq.to_string());
            let drain = if pair.drain { " drain" } else { "" };
            format!(
                "{}@{} {}..{end}{drain}",
                pair.filter.cover, pair.incarnation, pair.start_seq
            )
        })
        .collect();
    shown.sort();
    shown
}

#[track_caller]
fn check(existing: &[Pair], wish: &Wish, position: &Position, expected: &[&str]) -> Vec<Pair> {
    let plan = plan(existing.to_vec(), "s", wish, position);
    let pairs = applied(existing, &plan);
    assert_eq!(shown(&pairs), expected);
    assert!(wish.fits(&pairs), "a second look would change something");
    pairs
}

#[test]
fn a_new_subscription_begins_at_the_position() {
    check(
        &[],
        &wish(&["a.>", "b.*"], true),
        &at(5),
        &["a.>@a 5..", "b.*@a 5.."],
    );
    check(&[], &Wish::default(), &at(5), &[]);
}

#[test]
fn what_stays_is_not_touched() {
    let pairs = check(
        &[],
        &wish(&["a.>", "b.*"], true),
        &at(1),
        &["a.>@a 1..", "b.*@a 1.."],
    );
    for same in [&["b.*", "a.>"][..], &["a.>", "b.*", "a.x"]] {
        assert!(
            plan(pairs.clone(), "s", &wish(same, true), &at(9)).is_empty(),
            "{same:?}"
        );
    }
}

#[test]
fn a_changed_list_ends_and_starts_at_the_same_place() {
    let pairs = check(
        &[],
        &wish(&["a.>", "b.*"], true),
        &at(1),
        &["a.>@a 1..", "b.*@a 1.."],
    );
    let pairs = check(
        &pairs,
        &wish(&["a.>", "c"], true),
        &at(7),
        &["a.>@a 1..", "b.*@a 1..6 drain", "c@a 7.."],
    );
    // Back again while the old one still drains: another pair, from here on.
    check(
        &pairs,
        &wish(&["a.>", "b.*"], true),
        &at(9),
        &[
            "a.>@a 1..",
            "b.*@a 1..6 drain",
            "b.*@a 9..",
            "c@a 7..8 drain",
        ],
    );
}

#[test]
fn pausing_drops_what_was_not_delivered() {
    let pairs = check(
        &[],
        &wish(&["a.>", "b"], true),
        &at(1),
        &["a.>@a 1..", "b@a 1.."],
    );
    let pairs = check(
        &pairs,
        &wish(&["b"], true),
        &at(4),
        &["a.>@a 1..3 drain", "b@a 1.."],
    );
    let pairs = check(
        &pairs,
        &Wish::default(),
        &at(6),
        &["a.>@a 1..3", "b@a 1..5"],
    );
    check(
        &pairs,
        &wish(&["b"], true),
        &at(9),
        &["a.>@a 1..3", "b@a 1..5", "b@a 9.."],
    );
}

#[test]
fn patterns_that_overlap_share_a_pair() {
    let pairs = check(
        &[],
        &wish(&["a.*.x", "a.b.*"], true),
        &at(1),
        &["a.*.*@a 1.."],
    );
    assert_eq!(pairs[0].filter.patterns.len(), 2);
    // The same cover, asked for as a whole: another filter, so another pair.
    check(
        &pairs,
        &wish(&["a.*.*"], true),
        &at(3),
        &["a.*.*@a 1..2 drain", "a.*.*@a 3.."],
    );
}

#[test]
fn a_recreated_bus_starts_pairs_at_its_beginning() {
    let pairs = check(
        &[],
        &wish(&["a.>", "b"], true),
        &at(50),
        &["a.>@a 50..", "b@a 50.."],
    );
    let anew = Position {
        incarnation: "b".into(),
        next_seq: 4,
    };
    check(
        &pairs,
        &wish(&["a.>", "c"], true),
        &anew,
        &[
            "a.>@a 50..49",
            "a.>@b 1..",
            "b@a 50..49",
            "b@b 1..3 drain",
            "c@b 4..",
        ],
    );
    check(
        &pairs,
        &Wish::default(),
        &anew,
        &["a.>@a 50..49", "b@a 50..49"],
    );
    let rebased = rebase(pairs.clone(), "b");
    assert_eq!(
        shown(&applied(&pairs, &rebased)),
        ["a.>@a 50..49", "a.>@b 1..", "b@a 50..49", "b@b 1..",]
    );
}

#[test]
fn a_second_pair_of_the_same_filter_is_ended() {
    let one = live("s", wish(&["a"], true).filters[0].clone(), "a", 1);
    let two = live("s", one.filter.clone(), "a", 3);
    let wish = wish(&["a"], true);
    assert!(!wish.fits(&[one.clone(), two.clone()]));
    check(&[one, two], &wish, &at(5), &["a@a 1..", "a@a 3..4 drain"]);
}
