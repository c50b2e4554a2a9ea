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
    let answer: Value = serde_json::from_slice(&reply.payload).unwrap_or_default();
    Ok(refused(&answer).map_or(Ok(answer), Err))
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
