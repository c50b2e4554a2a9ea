use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::{Event, Topic, UtcTime, decode::Place as BusPlace};

/// The form as it was written before: each level cut into raw slices by serde_json. Slow where much
/// is nested, and obviously right.
fn level_by_level(value: &RawValue, out: &mut Vec<u8>, depth: usize) -> Result<(), PayloadError> {
    let text = value.get();
    match text.as_bytes()[0] {
        b'{' => {
            let members = members(value)?;
            let depth = deeper(depth)?;
            out.push(b'{');
            for (index, (key, value)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_string(key, out);
                out.push(b':');
                level_by_level(value, out, depth)?;
            }
            out.push(b'}');
        }
        b'[' => {
            let depth = deeper(depth)?;
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            out.push(b'[');
            for (index, item) in items.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                level_by_level(item, out, depth)?;
            }
            out.push(b']');
        }
        b'"' => write_string(&serde_json::from_str::<String>(text)?, out),
        _ => out.extend_from_slice(text.as_bytes()),
    }
    Ok(())
}

/// Both forms of a text, or what kind of error either ends with.
fn both(text: &str) -> [Result<String, &'static str>; 2] {
    let raw: &RawValue = serde_json::from_str(text).unwrap();
    [write_canonical, |raw: &RawValue, out: &mut Vec<u8>| {
        level_by_level(raw, out, 0)
    }]
    .map(|write| {
        let mut out = Vec::new();
        match write(raw, &mut out) {
            Ok(()) => Ok(String::from_utf8(out).unwrap()),
            Err(PayloadError::TooDeep) => Err("too deep"),
            Err(PayloadError::NotJson(_)) => Err("not JSON"),
            Err(PayloadError::NotAnObject) => Err("no object"),
        }
    })
}

#[track_caller]
fn check(text: &str) {
    let [new, old] = both(text);
    assert_eq!(new, old, "{text}");
}

#[test]
fn every_form_is_as_level_by_level() {
    for text in [
        r#" { "b" : [ 1 , {"y" : 1, "x":2} , [] , {} ] , "a" : null } "#,
        r#"{"a":1,"a":{"b":[1]},"a":2}"#,
        r#"{"a":"\ud800","a":2}"#,
        r#"{"\ud800":1}"#,
        r#"{"a\"b\\":"\\","a\u0022b\\":[" ] } ","\\\""]}"#,
        r#"[-0,1E+5,1.10,1e999,true,false,null,"",[[]],[{}],{"":{}}]"#,
        "[]",
        "{}",
        r#""\u00e4\/\b""#,
        "17",
        " [ \n ] ",
        "{\t}",
    ] {
        check(text);
    }
    for depth in [MAX_JSON_DEPTH - 1, MAX_JSON_DEPTH, MAX_JSON_DEPTH + 1] {
        check(&("[".repeat(depth) + &"]".repeat(depth)));
        check(&(r#"{"a":"#.repeat(depth) + "1" + &"}".repeat(depth)));
        // Nobody looks into what a later member replaces.
        let deep = "[".repeat(depth) + &"]".repeat(depth);
        check(&format!(r#"{{"a":{deep},"a":1}}"#));
    }
}

fn space() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[ \t\r\n]{0,2}").unwrap()
}

/// Keys few enough to collide, strings with escapes, and now and then half a surrogate pair.
fn string() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        8 => "[a-c\u{e4}\u{7f}{},:\\[\\]]",
        2 => Just(r#"\""#.to_owned()),
        2 => Just(r"\\".to_owned()),
        2 => Just(r"\u0061".to_owned()),
        1 => Just(r"\ud83d\ude00".to_owned()),
        1 => Just(r"\n".to_owned()),
    ];
    let text = prop::collection::vec(part, 0..4).prop_map(|parts| parts.concat());
    prop_oneof![40 => text, 1 => Just(r"\ud83d".to_owned())].prop_map(|text| format!("\"{text}\""))
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1180591620717411303424".to_owned()),
        Just("-1.50e-05".to_owned()),
        string(),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let item = (space(), inner.clone(), space()).prop_map(|(a, it, b)| a + &it + &b);
        let member = (space(), string(), space(), space(), inner, space())
            .prop_map(|(a, key, b, c, it, d)| format!("{a}{key}{b}:{c}{it}{d}"));
        prop_oneof![
            (space(), prop::collection::vec(item, 0..6)).prop_map(|(space, items)| {
                format!(
                    "[{}{}]",
                    if items.is_empty() { &*space } else { "" },
                    items.join(",")
                )
            }),
            (space(), prop::collection::vec(member, 0..6)).prop_map(|(space, members)| {
                let space = if members.is_empty() { &*space } else { "" };
                format!("{{{space}{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_form_is_as_level_by_level(text in json()) {
        let [new, old] = both(&text);
        prop_assert_eq!(new, old);
    }
}

/// Largest event, in the flattest and the deepest way; linear in bytes means that the two cost
/// about the same, where the deep one took a hundred times as long.
#[test]
fn depth_costs_no_more_than_bytes() {
    const BYTES: usize = 1_000_000;
    let shallow = format!(r#"{{"a":["{}"]}}"#, "x,".repeat(BYTES / 2));
    let depth = MAX_JSON_DEPTH - 2;
    let (open, close) = (r#"{"b":["#, r#"],"a":0}"#);
    let deep =
        open.repeat(depth / 2) + "\"" + &"x,".repeat(BYTES / 2) + "\"" + &close.repeat(depth / 2);
    let best = |text: &str| {
        let topic = Topic::parse("attacker.observed").unwrap();
        let place = BusPlace {
            incarnation: "",
            seq: 0,
            at: UtcTime::EPOCH,
        };
        let once = || {
            let begun = Instant::now();
            Event::decode(&topic, text.as_bytes(), &place).unwrap();
            begun.elapsed()
        };
        (0..5).map(|_| once()).min().unwrap()
    };
    let (shallow, deep) = (best(&shallow), best(&deep));
    assert!(deep < shallow * 8, "flat {shallow:?}, nested {deep:?}");
}
