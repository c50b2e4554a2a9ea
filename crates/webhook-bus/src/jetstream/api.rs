//! JetStream's requests and answers: JSON, over NATS requests of bounded length.

use async_nats::{HeaderMap, Message as Reply, Request, RequestErrorKind, StatusCode};
use bytes::Bytes;
use serde_json::Value;

use super::link::Link;
use crate::BusError;

/// JetStream's error numbers that mean something to us.
pub(super) mod code {
    pub(crate) const UNAVAILABLE: u64 = 10_008;
    pub(crate) const NO_CONSUMER: u64 = 10_014;
    pub(crate) const NO_MESSAGE: u64 = 10_037;
    pub(crate) const NOT_FOR_ACCOUNT: u64 = 10_039;
    pub(crate) const NO_STREAM: u64 = 10_059;
    pub(crate) const SUBJECTS_TAKEN: u64 = 10_065;
    pub(crate) const NOT_ENABLED: u64 = 10_076;
}

/// What JetStream answered instead of what was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: u64,
    pub(super) says: String,
}

impl Refusal {
    pub(super) fn error(self, link: &Link, doing: &'static str) -> BusError {
        match self.code {
            code::UNAVAILABLE => link.silent(doing),
            code::NOT_ENABLED | code::NOT_FOR_ACCOUNT => link.no_jetstream(),
            _ => BusError::NatsRefused {
                doing,
                says: self.says,
            },
        }
    }
}

/// Asks JetStream's API: `$JS.API.<subject>`.
pub(super) async fn ask(
    link: &Link,
    doing: &'static str,
    subject: &str,
    body: &Value,
) -> Result<Result<Value, Refusal>, BusError> {
    let subject = format!("$JS.API.{subject}");
    let body = Bytes::from(body.to_string());
    let reply = request(link, doing, subject, body, None).await?;
    let reply = reply.ok_or_else(|| link.no_jetstream())?;
    let answer = understood(&reply.payload).map_err(|what| link.garbled(doing, what))?;
    Ok(refused(&answer).map_or(Ok(answer), Err))
}

/// The object that every answer is. What is none is never taken for an answer with nothing in it.
fn understood(payload: &[u8]) -> Result<Value, String> {
    match serde_json::from_slice(payload) {
        Ok(answer @ Value::Object(_)) => Ok(answer),
        Ok(_) => Err("it is no JSON object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A part of an answer that has to be there; the error names it.
pub(super) fn number(answer: &Value, pointer: &str) -> Result<u64, String> {
    let found = answer.pointer(pointer).and_then(Value::as_u64);
    found.ok_or_else(|| format!("it has no number {pointer}"))
}

/// The same of a text, which has to say something.
pub(super) fn text<'a>(answer: &'a Value, pointer: &str) -> Result<&'a str, String> {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    let found = found.filter(|text| !text.is_empty());
    found.ok_or_else(|| format!("it has no text {pointer}"))
}

/// The error in an answer. A cluster without a leader counts as silent.
pub(super) fn refused(answer: &Value) -> Option<Refusal> {
    let error = answer.get("error")?;
    let code = error["err_code"].as_u64().unwrap_or_default();
    let unavailable =
        error["code"] == 503 && code != code::NOT_ENABLED && code != code::NOT_FOR_ACCOUNT;
    Some(Refusal {
        code: if unavailable { code::UNAVAILABLE } else { code },
        says: error["description"]
            .as_str()
            .unwrap_or("no reason given")
            .to_owned(),
    })
}

/// One request; none when nobody is there to answer it.
pub(super) async fn request(
    link: &Link,
    doing: &'static str,
    subject: String,
    payload: Bytes,
    headers: Option<HeaderMap>,
) -> Result<Option<Reply>, BusError> {
    link.ready().await?;
    let mut request = Request::new().payload(payload).timeout(Some(link.wait));
    if let Some(headers) = headers {
        request = request.headers(headers);
    }
    // The queue to the connection may be full, which the request's own time-out does not count.
    let asked = tokio::time::timeout(link.wait * 2, link.client.send_request(subject, request));
    match asked.await {
        Ok(Ok(reply)) if reply.status == Some(StatusCode::NO_RESPONDERS) => Ok(None),
        Ok(Ok(reply)) => Ok(Some(reply)),
        Ok(Err(error)) => match error.kind() {
            RequestErrorKind::NoResponders => Ok(None),
            RequestErrorKind::TimedOut | RequestErrorKind::Other => Err(link.silent(doing)),
            _ => Err(BusError::NatsRefused {
                doing,
                says: error.to_string(),
            }),
        },
        Err(_) => Err(link.silent(doing)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_answer_is_not_taken_for_one() {
        for payload in [&b""[..], b"null", b"[]", b"{\"state\":", b"\xff"] {
            assert!(understood(payload).is_err(), "{payload:?}");
        }
        assert_eq!(understood(b"{}").unwrap(), json!({}));
        let answer = json!({"state": {"last_seq": 7, "bytes": -1, "name": ""}});
        assert_eq!(number(&answer, "/state/last_seq"), Ok(7));
        for pointer in [
            "/state/bytes",
            "/state/name",
            "/state/first_seq",
            "/last_seq",
        ] {
            assert!(number(&answer, pointer).unwrap_err().ends_with(pointer));
            assert!(text(&answer, pointer).is_err());
        }
    }
}
