//! Where the parts of a JSON text end. The text is known to be valid: serde_json has read it.

use super::Place;

/// The end of every object and array of a text, in the order in which they begin.
pub(super) struct Outline(Vec<Place>);

impl Outline {
    /// One pass over the text; eight to sixteen bytes an object or array.
    pub(super) fn of(text: &str) -> Self {
        let mut ends: Vec<Place> = Vec::new();
        let mut open = Vec::new();
        let mut at = 0;
        while let Some(byte) = text.as_bytes().get(at) {
            at = match byte {
                b'"' => string_end(text, at),
                b'{' | b'[' => {
                    open.push(ends.len());
                    ends.push(Place::default());
                    at + 1
                }
                b'}' | b']' => {
                    let begun = open.pop().expect("valid JSON is balanced");
                    ends[begun] = Place {
                        at: at + 1,
                        containers: ends.len(),
                    };
                    at + 1
                }
                _ => at + 1,
            };
        }
        Self(ends)
    }

    /// The end of the value that begins at `at`, before which `containers` objects and arrays begin.
    pub(super) fn end(&self, text: &str, at: usize, containers: usize) -> Place {
        let at = match text.as_bytes()[at] {
            b'{' | b'[' => return self.0[containers],
            b'"' => string_end(text, at),
            _ => {
                let is_over =
                    |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
                let rest = &text.as_bytes()[at..];
                at + rest.iter().position(is_over).unwrap_or(rest.len())
            }
        };
        Place { at, containers }
    }
}

/// Behind the closing quote of the string that begins at `at`.
pub(super) fn string_end(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = at + 1;
    loop {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The first byte from `at` on that is no white space.
pub(super) fn skip_space(text: &str, at: usize) -> usize {
    let rest = &text.as_bytes()[at..];
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    at + rest.iter().position(is_text).unwrap_or(rest.len())
}
