//! Canonical JSON text: keys sorted at every depth, compact, UTF-8 unescaped, and numbers with the
//! digits they came with.
//!
//! serde_json's `arbitrary_precision` would keep the digits too, but features are unified over a
//! whole build, and that one breaks the untagged enums of other crates. So values stay text, which
//! serde_json has found valid. [`Outline`] notes once where each object and array ends, so that
//! whoever looks for the members of one steps over what is nested in it: the work is linear in the
//! bytes, however deep they are nested.

mod outline;

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::value::RawValue;

use self::outline::{Outline, skip_space, string_end};
use crate::payload::{MAX_JSON_DEPTH, PayloadError};

/// An object's members as raw text. Of duplicate keys the last wins, as in Python and serde_json.
pub(crate) type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Cuts an object into its members.
pub(crate) fn members(object: &RawValue) -> Result<Members<'_>, PayloadError> {
    Ok(serde_json::from_str(object.get())?)
}

/// Whether the value is an object; raw text starts with its first character.
pub(crate) fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

/// Appends the canonical form of a value.
pub(crate) fn write_canonical(value: &RawValue, out: &mut Vec<u8>) -> Result<(), PayloadError> {
    write_nested(value, out, 0)
}

/// Appends the canonical form of an object given by its members.
pub(crate) fn write_members(members: &Members<'_>, out: &mut Vec<u8>) -> Result<(), PayloadError> {
    let depth = deeper(0)?;
    out.push(b'{');
    for (index, (key, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(key, out);
        out.push(b':');
        write_nested(value, out, depth)?;
    }
    out.push(b'}');
    Ok(())
}

/// Appends a string in canonical form.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string serialises to memory");
}

fn write_nested(value: &RawValue, out: &mut Vec<u8>, depth: usize) -> Result<(), PayloadError> {
    let text = value.get();
    let outline = Outline::of(text);
    Writer { text, outline, out }.value(Place::default(), depth)?;
    Ok(())
}

/// Where a value begins: the byte, and how many objects and arrays begin before it.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    at: usize,
    containers: usize,
}

struct Member<'a> {
    key: Cow<'a, str>,
    value: Place,
}

struct Writer<'a, 'out> {
    text: &'a str,
    outline: Outline,
    out: &'out mut Vec<u8>,
}

impl<'a> Writer<'a, '_> {
    /// Writes the value at a place, and returns where it ends.
    fn value(&mut self, place: Place, depth: usize) -> Result<Place, PayloadError> {
        match self.byte(place.at) {
            b'{' => self.object(place, depth)?,
            b'[' => self.array(place, depth)?,
            b'"' => {
                let end = string_end(self.text, place.at);
                let raw = &self.text[place.at..end];
                // What is not escaped is as it should be: JSON wants escapes for nothing else.
                if raw.contains('\\') {
                    let string: String = serde_json::from_str(raw)?;
                    write_string(&string, self.out);
                } else {
                    self.out.extend_from_slice(raw.as_bytes());
                }
            }
            _ => {
                let end = self.outline.end(self.text, place.at, place.containers).at;
                self.out
                    .extend_from_slice(&self.text.as_bytes()[place.at..end]);
            }
        }
        Ok(self.outline.end(self.text, place.at, place.containers))
    }

    fn object(&mut self, place: Place, depth: usize) -> Result<(), PayloadError> {
        let members = self.members(place)?;
        let depth = deeper(depth)?;
        self.out.push(b'{');
        for (index, member) in members.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            write_string(&member.key, self.out);
            self.out.push(b':');
            self.value(member.value, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn array(&mut self, place: Place, depth: usize) -> Result<(), PayloadError> {
        let depth = deeper(depth)?;
        self.out.push(b'[');
        let mut next = self.inside(place);
        while self.byte(next.at) != b']' {
            if self.byte(next.at) == b',' {
                self.out.push(b',');
                next.at = skip_space(self.text, next.at + 1);
            }
            next = self.value(next, depth)?;
            next.at = skip_space(self.text, next.at);
        }
        self.out.push(b']');
        Ok(())
    }

    /// An object's members, sorted; of duplicate keys the last.
    fn members(&self, object: Place) -> Result<Vec<Member<'a>>, PayloadError> {
        let text = self.text;
        let mut members = Vec::new();
        let mut next = self.inside(object);
        while self.byte(next.at) != b'}' {
            if self.byte(next.at) == b',' {
                next.at = skip_space(text, next.at + 1);
            }
            let key_end = string_end(text, next.at);
            let key = key(&text[next.at..key_end])?;
            let colon = skip_space(text, key_end);
            next.at = skip_space(text, colon + 1);
            members.push(Member { key, value: next });
            next = self.outline.end(text, next.at, next.containers);
            next.at = skip_space(text, next.at);
        }
        // Stable, so that the last of equal keys is the last still.
        members.sort_by(|one, other| one.key.cmp(&other.key));
        members.dedup_by(|later, kept| {
            let same = later.key == kept.key;
            if same {
                kept.value = later.value;
            }
            same
        });
        Ok(members)
    }

    /// The first place within an object or array.
    fn inside(&self, container: Place) -> Place {
        Place {
            at: skip_space(self.text, container.at + 1),
            containers: container.containers + 1,
        }
    }

    fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes()[at]
    }
}

/// A key without its quotes and escapes.
fn key(raw: &str) -> Result<Cow<'_, str>, PayloadError> {
    if raw.contains('\\') {
        Ok(Cow::Owned(serde_json::from_str(raw)?))
    } else {
        Ok(Cow::Borrowed(&raw[1..raw.len() - 1]))
    }
}

fn deeper(depth: usize) -> Result<usize, PayloadError> {
    if depth < MAX_JSON_DEPTH {
        Ok(depth + 1)
    } else {
        Err(PayloadError::TooDeep)
    }
}

#[cfg(test)]
mod tests;
