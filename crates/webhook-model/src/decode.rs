//! Reads what arrives on a bus. Whatever is valid JSON becomes an event; nothing in it is dropped.

use serde_json::value::RawValue;

use crate::{
    Event, EventId, Payload, PayloadError, Timestamp, Topic, UtcTime,
    json::{Members, is_object, members, write_members, write_string},
};

/// Largest event as it arrives, in bytes.
pub const MAX_EVENT_BYTES: usize = 1 << 20;

/// Why a message is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// Not JSON: what, and where.
    #[error("undecodable: {0}")]
    NotJson(String),
    /// More than [`MAX_EVENT_BYTES`].
    #[error("undecodable: event has {0} bytes; at most {MAX_EVENT_BYTES} are taken")]
    TooLarge(usize),
    /// Nested deeper than [`crate::MAX_JSON_DEPTH`].
    #[error("undecodable: {0}")]
    TooDeep(String),
}

impl From<PayloadError> for Undecodable {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::TooDeep => Self::TooDeep(error.to_string()),
            PayloadError::NotJson(_) | PayloadError::NotAnObject => {
                Self::NotJson(error.to_string())
            }
        }
    }
}

/// Where and when the bus took a message: what an event without its own id or time gets them from.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Which stream or journal.
    pub incarnation: &'a str,
    /// The message's sequence number in it.
    pub seq: u64,
    /// The bus's own timestamp.
    pub at: UtcTime,
}

impl Event {
    /// Decodes a message that arrived under `topic`.
    ///
    /// An envelope is an object whose `payload` is an object (or absent beside `"v":1`) and whose
    /// `v` is 1 or absent. Its unknown members go into the payload under `_extra`, an invalid `id`
    /// or `ts` under `_id` or `_ts`; a key that the payload uses itself gets further underscores.
    /// Other JSON becomes the payload, a non-object under `value`.
    pub fn decode(topic: &Topic, bytes: &[u8], place: &Place<'_>) -> Result<Self, Undecodable> {
        if bytes.len() > MAX_EVENT_BYTES {
            return Err(Undecodable::TooLarge(bytes.len()));
        }
        let raw: &RawValue = serde_json::from_slice(bytes)
            .map_err(|e| Undecodable::NotJson(format!("not JSON: {e}")))?;
        if !is_object(raw) {
            let value = Members::from([("value".to_owned(), raw)]);
            return fresh(topic, place, &value);
        }
        let outer = members(raw)?;
        match envelope_payload(&outer)? {
            Some(payload) => opened(topic, place, outer, payload),
            None => fresh(topic, place, &outer),
        }
    }
}

/// The members of an envelope's payload, or none where the object is no envelope.
fn envelope_payload<'a>(outer: &Members<'a>) -> Result<Option<Members<'a>>, Undecodable> {
    let version = outer.get("v").map(|v| v.get());
    if !matches!(version, None | Some("1")) {
        return Ok(None);
    }
    match outer.get("payload") {
        Some(payload) if is_object(payload) => Ok(Some(members(payload)?)),
        None if version.is_some() => Ok(Some(Members::new())),
        _ => Ok(None),
    }
}

fn fresh(topic: &Topic, place: &Place<'_>, payload: &Members<'_>) -> Result<Event, Undecodable> {
    Ok(Event {
        id: EventId::derived(place.incarnation, place.seq),
        topic: topic.clone(),
        kind: String::new(),
        ts: place.at.into(),
        payload: canonical(payload)?,
    })
}

fn opened(
    topic: &Topic,
    place: &Place<'_>,
    mut outer: Members<'_>,
    payload: Members<'_>,
) -> Result<Event, Undecodable> {
    outer.remove("v");
    outer.remove("payload");
    // The subject is the topic, whatever the message says.
    outer.remove("topic");
    let raw_id = outer.remove("id");
    let raw_ts = outer.remove("ts");
    let kind = outer.get("type").and_then(|raw| string(raw));
    if kind.is_some() {
        outer.remove("type");
    }
    let extra = (!outer.is_empty()).then(|| raw_object(&outer));

    let id = raw_id.and_then(|raw| EventId::parse(&string(raw)?).ok());
    let ts = raw_ts.and_then(|raw| Timestamp::parse_json(raw).ok());
    let mut payload = payload;
    if let (Some(raw), None) = (raw_id, &id) {
        keep(&mut payload, "_id", raw);
    }
    if let (Some(raw), None) = (raw_ts, &ts) {
        keep(&mut payload, "_ts", raw);
    }
    if let Some(extra) = &extra {
        keep(&mut payload, "_extra", extra);
    }
    Ok(Event {
        id: id.unwrap_or_else(|| EventId::derived(place.incarnation, place.seq)),
        topic: topic.clone(),
        kind: kind.unwrap_or_default(),
        ts: ts.unwrap_or_else(|| place.at.into()),
        payload: canonical(&payload)?,
    })
}

/// Adds a member under a key that the payload does not use itself.
fn keep<'a>(payload: &mut Members<'a>, key: &str, value: &'a RawValue) {
    let mut key = key.to_owned();
    while payload.contains_key(&key) {
        key.push('_');
    }
    payload.insert(key, value);
}

fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn raw_object(members: &Members<'_>) -> Box<RawValue> {
    let mut text = Vec::new();
    text.push(b'{');
    for (index, (key, value)) in members.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        write_string(key, &mut text);
        text.push(b':');
        text.extend_from_slice(value.get().as_bytes());
    }
    text.push(b'}');
    let text = String::from_utf8(text).expect("raw JSON is text");
    RawValue::from_string(text).expect("members of valid JSON make a valid object")
}

fn canonical(payload: &Members<'_>) -> Result<Payload, Undecodable> {
    let mut out = Vec::new();
    write_members(payload, &mut out)?;
    Ok(Payload::from_canonical(out))
}

#[cfg(test)]
mod tests;
