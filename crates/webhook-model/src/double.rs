//! Numbers of JSON that no IEEE 754 double can hold. JSON allows them (RFC 8259, section 6), and many
//! readers stop at them.

use std::borrow::Cow;

/// Shortest number beyond every double: `1e309`.
const SHORTEST_BEYOND: usize = 5;

/// Puts every number that is beyond the range of doubles into quotes; the rest stays as it is.
/// `text` is valid JSON.
pub(crate) fn quote_beyond(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    // How far `text` is in `out`.
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = string_end(bytes, at),
            b'-' | b'0'..=b'9' => {
                let end = number_end(bytes, at);
                if is_beyond(&text[at..end]) {
                    out.push_str(&text[copied..at]);
                    out.push('"');
                    out.push_str(&text[at..end]);
                    out.push('"');
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Just after the string that begins here.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn number_end(bytes: &[u8], start: usize) -> usize {
    let digits = bytes[start..]
        .iter()
        .take_while(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    start + digits.count()
}

fn is_beyond(number: &str) -> bool {
    number.len() >= SHORTEST_BEYOND && !number.parse().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, expected: &str) {
        assert_eq!(quote_beyond(given), expected);
    }

    #[test]
    fn only_what_is_beyond_doubles_is_quoted() {
        check(r#"{"a":1e400}"#, r#"{"a":"1e400"}"#);
        check(
            r#"{"a":[-1E+309,1e-400,2],"b":{"c":1e309}}"#,
            r#"{"a":["-1E+309",1e-400,2],"b":{"c":"1e309"}}"#,
        );
        let long = "9".repeat(400);
        check(&format!("[{long}]"), &format!("[\"{long}\"]"));
        for same in [
            r#"{"a":1180591620717411303424,"b":1e-05,"c":1.7976931348623157e308}"#,
            r#"{"1e400":"1e400","\"":"\\","x":"\"1e400"}"#,
            "{}",
        ] {
            check(same, same);
            assert!(matches!(quote_beyond(same), Cow::Borrowed(_)));
        }
    }
}
