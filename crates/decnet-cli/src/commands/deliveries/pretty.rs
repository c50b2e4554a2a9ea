//! JSON for people, without a change to any number's digits.

use crate::output::{harmless_json, printable};

/// Valid JSON with a member a line. What steers a terminal is escaped.
pub(super) fn pretty(json: &str) -> String {
    let json = harmless_json(json);
    let mut out = String::with_capacity(json.len() * 2);
    let mut chars = json.chars().filter(|c| !c.is_control()).peekable();
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    while let Some(c) = chars.next() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|c| c.is_whitespace()).is_some() {}
                if let Some(end) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            '"' => {
                in_string = true;
                out.push(c);
            }
            c if c.is_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

/// Lines of somebody else's making, harmless, each after an indentation.
pub(super) fn indented(text: &str, indent: &str) -> String {
    text.lines()
        .map(|line| format!("{indent}{}", printable(line)))
        .collect::<Vec<_>>()
        .join("\n")
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stay_and_strings_are_left_alone() {
        let json = r#"{"a":[1e-05,1180591620717411303424,{}],"b\"{":"x,\\","c": [ ]}"#;
        let expected = "{\n  \"a\": [\n    1e-05,\n    1180591620717411303424,\n    {}\n  ],\n  \
                        \"b\\\"{\": \"x,\\\\\",\n  \"c\": []\n}";
        assert_eq!(pretty(json), expected);
    }

    #[test]
    fn nothing_steers_the_terminal() {
        let strange = "{\"a\":\"\u{9b}31m\u{202e}\"}";
        assert_eq!(pretty(strange), "{\n  \"a\": \"\\u009b31m\\u202e\"\n}");
        assert_eq!(indented("a\x1b[2J\nb\r\n", "  "), "  a\u{fffd}[2J\n  b");
    }
}
