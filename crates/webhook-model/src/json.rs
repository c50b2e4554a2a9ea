//! Canonical JSON text: keys sorted at every depth, compact, UTF-8 unescaped, and numbers with the
//! digits they came with.
//!
//! serde_json's `arbitrary_precision` would keep the digits too, but features are unified over a
//! whole build, and that one breaks the untagged enums of other crates. So values stay text: each
//! level is cut into raw slices, sorted and written out again.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

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
    write_object(members, out, 0)
}

/// Appends a string in canonical form.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string serialises to memory");
}

fn write_nested(value: &RawValue, out: &mut Vec<u8>, depth: usize) -> Result<(), PayloadError> {
    let text = value.get();
    match text.as_bytes()[0] {
        b'{' => write_object(&members(value)?, out, depth),
        b'[' => {
            let depth = deeper(depth)?;
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            out.push(b'[');
            for (index, item) in items.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_nested(item, out, depth)?;
            }
            out.push(b']');
            Ok(())
        }
        b'"' => {
            let string: String = serde_json::from_str(text)?;
            write_string(&string, out);
            Ok(())
        }
        _ => {
            out.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
}

fn write_object(
    members: &Members<'_>,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), PayloadError> {
    let depth = deeper(depth)?;
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

fn deeper(depth: usize) -> Result<usize, PayloadError> {
    if depth < MAX_JSON_DEPTH {
        Ok(depth + 1)
    } else {
        Err(PayloadError::TooDeep)
    }
}
