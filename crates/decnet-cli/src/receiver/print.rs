//! Deliveries as a person reads them, and as a program does.

use serde::Serialize;
use serde_json::value::RawValue;

use super::Delivery;
use crate::output::{self, BAD, DIM, GOOD, NOTE, TOPIC};

/// Characters of a payload that are shown; the rest of a line is the rest of a terminal.
const PAYLOAD_CHARS: usize = 100;

/// Topics are padded to this, so that what follows stands in a column.
const TOPIC_CHARS: usize = 22;

/// What has been received so far.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(crate) struct Counts {
    pub(crate) received: u64,
    pub(crate) verified: u64,
    pub(crate) bad: u64,
    pub(crate) duplicates: u64,
}

impl Counts {
    /// Counts one more.
    pub(crate) fn add(&mut self, delivery: &Delivery) {
        self.received += 1;
        self.verified += u64::from(matches!(delivery.verified, Some(Ok(()))));
        self.bad += u64::from(matches!(delivery.verified, Some(Err(_))));
        self.duplicates += u64::from(delivery.duplicate);
    }

    /// The line at the end.
    pub(crate) fn summary(&self) -> String {
        let bad = match self.bad {
            0 => String::new(),
            bad => format!(", {BAD}{} with a bad signature{BAD:#}", output::count(bad)),
        };
        format!(
            "received {}, {GOOD}verified {}{GOOD:#}, {} duplicates{bad}",
            output::count(self.received),
            output::count(self.verified),
            output::count(self.duplicates)
        )
    }
}

/// One coloured line.
pub(crate) fn coloured(delivery: &Delivery) -> String {
    #[derive(serde::Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        payload: Option<&'a RawValue>,
        #[serde(default, rename = "type")]
        kind: String,
    }
    let body: Option<Body<'_>> = serde_json::from_slice(&delivery.body).ok();
    let lossy = String::from_utf8_lossy(&delivery.body);
    let (kind, payload) = match &body {
        Some(body) => (body.kind.as_str(), body.payload.map_or("", RawValue::get)),
        None => ("", &*lossy),
    };
    let verdict = match &delivery.verified {
        Some(Ok(())) => format!("{GOOD}ok {GOOD:#}"),
        Some(Err(reason)) => format!("{BAD}BAD{BAD:#} {}", output::short(reason, 60)),
        None => format!("{NOTE}?  {NOTE:#}"),
    };
    let duplicate = if delivery.duplicate {
        format!(" {NOTE}again{NOTE:#}")
    } else {
        String::new()
    };
    let status = if delivery.status.is_success() {
        String::new()
    } else {
        format!(" {NOTE}→ {}{NOTE:#}", delivery.status.as_u16())
    };
    let kind = match output::short(kind, 30) {
        kind if kind.is_empty() => kind,
        kind => format!(" {kind}"),
    };
    format!(
        "{DIM}{time}{DIM:#} {verdict}{status}{duplicate} {TOPIC}{topic}{TOPIC:#}{kind} {DIM}{id}{DIM:#} {payload}",
        time = time_of_day(&delivery.at.rfc3339()),
        topic = format_args!("{:<TOPIC_CHARS$}", output::short(&delivery.topic, 80)),
        id = output::short(&delivery.event_id, 40),
        payload = output::short(payload, PAYLOAD_CHARS),
    )
}

/// One JSON line, with the body as it came but for what steers a terminal, which is escaped.
pub(crate) fn json(delivery: &Delivery) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Row<'a> {
        time: String,
        event_id: &'a str,
        topic: &'a str,
        verified: bool,
        duplicate: bool,
        status: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
        body: Body<'a>,
    }
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Body<'a> {
        Json(&'a RawValue),
        Text(std::borrow::Cow<'a, str>),
    }
    let error = match &delivery.verified {
        Some(Ok(())) => None,
        Some(Err(reason)) => Some(reason.as_str()),
        None => Some("no secret to verify with"),
    };
    // A body of several lines would make several of one.
    let body = serde_json::from_slice::<&RawValue>(&delivery.body)
        .ok()
        .filter(|raw| !raw.get().contains('\n'))
        .map_or_else(
            || Body::Text(String::from_utf8_lossy(&delivery.body)),
            Body::Json,
        );
    let row = serde_json::to_string(&Row {
        time: delivery.at.rfc3339(),
        event_id: &delivery.event_id,
        topic: &delivery.topic,
        verified: error.is_none(),
        duplicate: delivery.duplicate,
        status: delivery.status.as_u16(),
        error,
        body,
    })?;
    Ok(output::harmless_json(&row))
}

/// `12:34:56.789` of an RFC 3339 time.
fn time_of_day(time: &str) -> String {
    let time = time
        .split_once('T')
        .map_or(time, |(_, time)| time)
        .trim_end_matches('Z');
    time.chars().take("12:34:56.789".len()).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::StatusCode;
    use webhook_model::UtcTime;

    use super::*;

    fn delivery(body: &'static [u8], verified: Option<Result<(), String>>) -> Delivery {
        Delivery {
            at: UtcTime::from_micros(1_700_000_000_123_456),
            event_id: "e1".into(),
            topic: "attacker.observed".into(),
            verified,
            duplicate: false,
            status: StatusCode::NO_CONTENT,
            body: Bytes::from_static(body),
        }
    }

    #[test]
    fn json_keeps_the_body_as_it_came() {
        let row = json(&delivery(br#"{"payload":{"n":1e-05}}"#, Some(Ok(())))).unwrap();
        assert_eq!(
            row,
            r#"{"time":"2023-11-14T22:13:20.123456Z","event_id":"e1","topic":"attacker.observed","verified":true,"duplicate":false,"status":204,"body":{"payload":{"n":1e-05}}}"#
        );
        let row = json(&delivery(b"{\n}", None)).unwrap();
        assert!(
            row.contains(r#""verified":false"#) && row.contains(r#""body":"{\n}""#),
            "{row}"
        );
        assert!(!row.contains('\n'));
        let row = json(&delivery("\"a\u{202e}b\u{9b}\"".as_bytes(), None)).unwrap();
        assert!(row.contains(r#""body":"a\u202eb\u009b""#), "{row}");
    }

    #[test]
    fn lines_show_no_control_characters_of_a_strangers_body() {
        let line = coloured(&delivery(b"\x1b]0;owned\x07", Some(Err("no match".into()))));
        assert!(
            !line.contains('\x07') && !line.contains("\x1b]"),
            "{line:?}"
        );
        assert!(
            line.contains("BAD") && line.contains("22:13:20.123"),
            "{line}"
        );
    }
}
