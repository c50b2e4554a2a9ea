use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use webhook_model::{Event, EventId, MAX_EVENT_BYTES, Payload, PayloadError, Topic};

use super::lines::{Line, LineError};
use super::template::{FieldsOf, RenderError, TopicTemplate};

/// Most events of one request, by contract §2.
const MAX_BATCH: usize = 1_000;
/// A batch is full at this size; one event alone may be larger.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// How long the first event of a batch waits for others. With the 50 ms between two looks at a
/// followed file, an event leaves within 100 ms.
const WINDOW: Duration = Duration::from_millis(25);

/// Why a line makes no event.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    #[error(transparent)]
    Line(#[from] LineError),
    #[error("is no JSON object: {0}")]
    NoObject(serde_json::Error),
    #[error(transparent)]
    Field(#[from] RenderError),
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error("makes an event of {0} bytes; the most is {MAX_EVENT_BYTES}")]
    TooLarge(usize),
}

/// An event with its id for life, as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// The line it came from, or 0.
    pub(crate) line: u64,
    /// Where in the file that line ends.
    pub(crate) end: u64,
    /// Its id, the same in every attempt.
    pub(crate) id: EventId,
    /// Its envelope.
    pub(crate) json: Bytes,
}

impl Item {
    /// Makes an event of a line that holds a JSON object.
    pub(crate) fn from_line(
        line: &Line,
        template: &TopicTemplate,
        kind: &str,
    ) -> Result<Self, Unfit> {
        let text = line.text.as_ref().map_err(|&error| error)?;
        let fields: FieldsOf<'_> = serde_json::from_str(text).map_err(Unfit::NoObject)?;
        let topic = template.render(&fields)?;
        let item = Self::new(topic, kind, Payload::parse(text)?)?;
        Ok(Self {
            line: line.number,
            end: line.end,
            ..item
        })
    }

    /// Makes an event of now.
    pub(crate) fn new(topic: Topic, kind: &str, payload: Payload) -> Result<Self, Unfit> {
        let event = Event::new(topic, kind, payload);
        let json = event.envelope();
        if json.len() > MAX_EVENT_BYTES {
            return Err(Unfit::TooLarge(json.len()));
        }
        Ok(Self {
            line: 0,
            end: 0,
            id: event.id,
            json,
        })
    }
}

/// Gathers events into requests, by count, size and time.
#[derive(Debug, Default)]
pub(crate) struct Batcher {
    items: Vec<Item>,
    bytes: usize,
    due: Option<Instant>,
}

impl Batcher {
    /// Adds an event; returns a batch that has become full. `now` starts its window.
    pub(crate) fn push(&mut self, item: Item, now: Instant) -> Option<Vec<Item>> {
        let full = (self.bytes + item.json.len() > MAX_BATCH_BYTES).then(|| self.take());
        self.bytes += item.json.len();
        self.items.push(item);
        self.due.get_or_insert(now + WINDOW);
        full.filter(|items| !items.is_empty())
            .or_else(|| (self.items.len() == MAX_BATCH).then(|| self.take()))
    }

    /// When what is gathered has waited long enough.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What is gathered, be it nothing.
    pub(crate) fn take(&mut self) -> Vec<Item> {
        (self.bytes, self.due) = (0, None);
        std::mem::take(&mut self.items)
    }
}

/// The body of a request: the list of envelopes.
pub(crate) fn body(items: &[Item]) -> Bytes {
    let size = items.iter().map(|item| item.json.len() + 1).sum::<usize>() + 1;
    let mut body = Vec::with_capacity(size);
    for (index, item) in items.iter().enumerate() {
        body.push(if index == 0 { b'[' } else { b',' });
        body.extend_from_slice(&item.json);
    }
    body.push(b']');
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(line: u64, bytes: usize) -> Item {
        Item {
            line,
            end: 0,
            id: EventId::fresh(),
            json: vec![b'x'; bytes].into(),
        }
    }

    fn line(text: &str) -> Line {
        Line {
            number: 7,
            end: 0,
            text: Ok(text.into()),
        }
    }

    #[test]
    fn batches_are_bounded_by_count_and_size() {
        let now = Instant::now();
        let mut batcher = Batcher::default();
        for line in 1..MAX_BATCH as u64 {
            assert!(batcher.push(item(line, 1), now).is_none());
        }
        assert_eq!(batcher.push(item(1_000, 1), now).unwrap().len(), MAX_BATCH);
        assert!(batcher.due().is_none());

        assert!(batcher.push(item(1, MAX_BATCH_BYTES - 10), now).is_none());
        let full = batcher.push(item(2, 20), now).unwrap();
        assert_eq!(full.iter().map(|item| item.line).collect::<Vec<_>>(), [1]);
        assert_eq!(
            batcher.due(),
            Some(now + WINDOW),
            "the next window starts with its first"
        );
        assert_eq!(batcher.take()[0].line, 2);

        assert!(batcher.push(item(3, MAX_BATCH_BYTES + 1), now).is_none());
        assert_eq!(batcher.push(item(4, 1), now).unwrap().len(), 1);
    }

    #[test]
    fn payloads_keep_their_digits() {
        let template = "attacker.{n}".parse().unwrap();
        let text = r#"{"n":1180591620717411303424,"f":1e-05}"#;
        let item = Item::from_line(&line(text), &template, "").unwrap();
        let body = String::from_utf8(body(&[item.clone(), item]).to_vec()).unwrap();
        assert!(
            body.starts_with("[{") && body.ends_with("}]") && body.contains("},{"),
            "{body}"
        );
        assert!(body.contains(r#""n":1180591620717411303424"#), "{body}");
        assert!(body.contains(r#""f":1e-05"#), "{body}");
        assert!(
            body.contains(r#""topic":"attacker.1180591620717411303424""#),
            "{body}"
        );
    }

    #[test]
    fn lines_that_make_no_event_say_why() {
        let template = "a.{f}".parse().unwrap();
        let why = |text: &str| {
            Item::from_line(&line(text), &template, "")
                .unwrap_err()
                .to_string()
        };
        assert!(
            why("[1]").starts_with("is no JSON object: "),
            "{}",
            why("[1]")
        );
        assert!(why("{\"f\":").starts_with("is no JSON object: "));
        assert_eq!(why("{}"), "field \"f\" is missing");
        let large = format!(r#"{{"f":"x","g":"{}"}}"#, "y".repeat(MAX_EVENT_BYTES - 20));
        assert!(why(&large).contains("the most is"), "{}", why(&large));
    }
}
