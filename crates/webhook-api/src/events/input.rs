//! Checks events without taking them apart: what goes to the bus are the members as they came,
//! so that numbers keep their digits and every reader applies the one set of envelope rules.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserializer,
    de::{Error, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use webhook_bus::Publication;
use webhook_model::{
    Event, EventId, FieldError, MAX_EVENT_BYTES, Place, Timestamp, Topic, UtcTime, topics,
};

use super::permission::Permission;
use crate::{fields::malformed, problem::Problem};

/// Most events of one request (contract §2).
pub(crate) const MAX_EVENTS: usize = 1_000;
/// What an event may have beside what counts towards its limit (its topic, spaces) before it is not
/// even taken apart.
const MAX_SURROUNDINGS: usize = 64 << 10;

/// The members that an event may have; others are kept, but mean nothing here.
const MEMBERS: [&str; 6] = ["id", "payload", "topic", "ts", "type", "v"];

/// One event or a list of them.
#[derive(ToSchema)]
#[schema(as = Events)]
#[serde(untagged)]
#[expect(dead_code, reason = "documents what `read` takes")]
pub(crate) enum PublishBody {
    One(EventBody),
    List(EventList),
}

/// Of these, all are taken or none.
#[derive(ToSchema)]
#[schema(min_items = 1, max_items = 1000)]
#[expect(dead_code, reason = "documents what `read` takes")]
pub(crate) struct EventList(Vec<EventBody>);

/// An event to publish.
#[derive(ToSchema)]
#[schema(as = Event)]
#[expect(dead_code, reason = "documents what `read` takes")]
pub(crate) struct EventBody {
    /// Dot-separated tokens; not under `system.webhook.`.
    #[schema(example = "attacker.observed", max_length = 255)]
    topic: String,
    /// 1 to 128 characters 0x21..0x7E without a dot. Made up when absent.
    #[schema(
        example = "b0b260086f544541bb1086329ccbeb99",
        min_length = 1,
        max_length = 128
    )]
    id: Option<String>,
    /// What kind of event it is; may be empty.
    #[schema(example = "observed")]
    r#type: Option<String>,
    /// Epoch seconds or an ISO-8601 text. The bus's own time when absent.
    #[schema(value_type = Option<EventTime>)]
    ts: Option<()>,
    /// Anything; `{}` when absent.
    #[schema(value_type = Option<Object>, example = json!({"ip": "192.0.2.7"}))]
    payload: Option<()>,
    /// The version of this format.
    #[schema(example = 1, default = 1)]
    v: Option<u8>,
}

/// Epoch seconds or an ISO-8601 text.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(
    dead_code,
    reason = "documents webhook_model::Timestamp, which knows no OpenAPI"
)]
pub(crate) enum EventTime {
    Epoch(f64),
    Iso(String),
}

/// Events that are fit to be published.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) ids: Vec<String>,
    pub(super) publications: Vec<Publication>,
}

type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Reads one event or a list, whose topics the caller may publish to.
pub(super) fn read(body: &[u8], permission: &Permission) -> Result<Events, Problem> {
    let list = match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => listed(body)?,
        _ => {
            let event = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
            vec![(String::new(), event)]
        }
    };
    let mut events = Events {
        ids: Vec::with_capacity(list.len()),
        publications: Vec::with_capacity(list.len()),
    };
    let mut errors = Vec::new();
    for (place, raw) in &list {
        let mut check = Check {
            place,
            permission,
            errors: Vec::new(),
        };
        match check.event(raw)? {
            Some((id, publication)) if check.errors.is_empty() => {
                events.ids.push(id.as_str().to_owned());
                events.publications.push(publication);
            }
            _ => errors.append(&mut check.errors),
        }
    }
    if errors.is_empty() {
        Ok(events)
    } else {
        Err(Problem::Invalid(errors))
    }
}

/// The events of a list and where they stand in it. It is read no further than the limit.
fn listed(body: &[u8]) -> Result<Vec<(String, &RawValue)>, Problem> {
    struct UpToLimit<'a, 'de>(&'a mut Vec<(String, &'de RawValue)>);

    impl<'de> Visitor<'de> for UpToLimit<'_, 'de> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of events")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
            while let Some(event) = list.next_element()? {
                if self.0.len() == MAX_EVENTS {
                    return Err(A::Error::custom("too many"));
                }
                self.0.push((format!("[{}]", self.0.len()), event));
            }
            Ok(())
        }
    }

    let wrong = |what: &str| {
        let detail = format!("has {what}; send 1 to {MAX_EVENTS} at once");
        Problem::Invalid(vec![FieldError::new("body", detail)])
    };
    let mut events = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = reader
        .deserialize_seq(UpToLimit(&mut events))
        .and_then(|()| reader.end());
    match read {
        Err(error) if events.len() < MAX_EVENTS || !error.is_data() => Err(malformed(&error)),
        Err(_) => Err(wrong(&format!("more than {MAX_EVENTS} events"))),
        Ok(()) if events.is_empty() => Err(wrong("0 events")),
        Ok(()) => Ok(events),
    }
}

/// One event, and what is wrong with it.
struct Check<'a> {
    place: &'a str,
    permission: &'a Permission,
    errors: Vec<FieldError>,
}

impl Check<'_> {
    /// The event as the bus gets it. The errors say whether it is fit; what refuses the whole
    /// request is returned.
    fn event(&mut self, raw: &RawValue) -> Result<Option<(EventId, Publication)>, Problem> {
        if raw.get().len() > MAX_EVENT_BYTES + MAX_SURROUNDINGS {
            return Err(self.too_large());
        }
        let Ok(mut members) = serde_json::from_str::<Members<'_>>(raw.get()) else {
            self.wrong("", "must be a JSON object");
            return Ok(None);
        };
        // Clients write absent members as null. Unknown ones are kept, whatever they are.
        members.retain(|name, value| value.get() != "null" || !MEMBERS.contains(&name.as_str()));

        let topic = self.topic(&mut members)?;
        let given_id = self.id(&mut members);
        if let Some(ts) = members.get("ts")
            && let Err(error) = Timestamp::parse_json(ts)
        {
            self.wrong("ts", error);
        }
        if members.get("type").is_some_and(|kind| text(kind).is_none()) {
            self.wrong("type", "must be a string");
        }
        if members.remove("v").is_some_and(|v| v.get() != "1") {
            self.wrong("v", "must be 1, the only version there is");
        }
        if (members.get("payload")).is_some_and(|payload| !payload.get().starts_with('{')) {
            self.wrong("payload", "must be a JSON object");
        }
        let Some(topic) = topic else {
            return Ok(None);
        };
        if !self.errors.is_empty() {
            return Ok(None);
        }
        let id = given_id.clone().unwrap_or_else(EventId::fresh);
        let bytes = envelope(&id, &members);
        if bytes.len() > MAX_EVENT_BYTES {
            return Err(self.too_large());
        }
        self.decodes(&topic, &bytes);
        let dedup = webhook_bus::dedup_key(&id, &topic, &bytes);
        let publication = Publication {
            topic,
            // Without what the buffer has to spare.
            bytes: bytes.into_boxed_slice().into(),
            // An id of our own is new by construction.
            dedup: given_id.map(|_| dedup),
        };
        Ok(Some((id, publication)))
    }

    fn topic(&mut self, members: &mut Members<'_>) -> Result<Option<Topic>, Problem> {
        let Some(raw) = members.remove("topic") else {
            self.wrong("topic", "is required");
            return Ok(None);
        };
        let Some(text) = text(raw) else {
            self.wrong("topic", "must be a string");
            return Ok(None);
        };
        if text.starts_with(topics::RESERVED_PREFIX) {
            return Err(Problem::ReservedTopic);
        }
        match Topic::parse(&text) {
            Ok(topic) => {
                self.permission.check(&topic)?;
                Ok(Some(topic))
            }
            Err(error) => {
                self.wrong("topic", error);
                Ok(None)
            }
        }
    }

    fn id(&mut self, members: &mut Members<'_>) -> Option<EventId> {
        let raw = members.remove("id")?;
        let Some(text) = text(raw) else {
            self.wrong("id", "must be a string");
            return None;
        };
        EventId::parse(&text)
            .map_err(|error| self.wrong("id", error))
            .ok()
    }

    /// Readers meet the same bytes; what they cannot read (nesting, half a surrogate pair) is
    /// better refused than a dead letter.
    fn decodes(&mut self, topic: &Topic, bytes: &[u8]) {
        let place = Place {
            incarnation: "",
            seq: 0,
            at: UtcTime::EPOCH,
        };
        if let Err(error) = Event::decode(topic, bytes, &place) {
            self.wrong("payload", error);
        }
    }

    fn wrong(&mut self, member: &str, detail: impl ToString) {
        let field = match (self.place, member) {
            ("", "") => "body".to_owned(),
            (place, "") => place.to_owned(),
            ("", member) => member.to_owned(),
            (place, member) => format!("{place}.{member}"),
        };
        self.errors.push(FieldError::new(field, detail));
    }

    fn too_large(&self) -> Problem {
        let prefix = match self.place {
            "" => "The ".to_owned(),
            place => format!("{place}: the "),
        };
        Problem::TooLarge(format!("{prefix}event has more than {MAX_EVENT_BYTES} bytes").into())
    }
}

/// The members as they came, with an id and the version.
fn envelope(id: &EventId, members: &Members<'_>) -> Vec<u8> {
    let mut out = format!(r#"{{"v":1,"id":{}"#, quoted(id.as_str()));
    for (key, value) in members {
        out.push(',');
        out.push_str(&quoted(key));
        out.push(':');
        out.push_str(value.get());
    }
    out.push('}');
    out.into_bytes()
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string serialises to memory")
}

fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

#[cfg(test)]
mod tests;
