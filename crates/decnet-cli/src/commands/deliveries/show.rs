//! One delivery: the row, its failed attempts with the first of each answer, and its body.

use std::process::ExitCode;

use anyhow::Context;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    ROUTE,
    pretty::{indented, pretty},
};
use crate::{
    client::{Client, Names, decode, segment},
    output::{self, BOLD, DIM},
};

/// What the API answers. Unknown fields of later servers are ignored.
#[derive(Deserialize)]
struct Detail {
    id: i64,
    subscription: String,
    event_id: String,
    topic: String,
    r#type: String,
    status: String,
    attempts: u64,
    status_code: Option<u16>,
    error: Option<String>,
    duration_ms: u64,
    created_at: String,
    updated_at: String,
    next_attempt_at: Option<String>,
    #[serde(default)]
    in_order: bool,
    #[serde(default)]
    acknowledged_at: Option<String>,
    #[serde(default)]
    failed_attempts: Vec<Attempt>,
}

#[derive(Deserialize)]
struct Attempt {
    at: String,
    status_code: Option<u16>,
    duration_ms: u64,
    error: Option<String>,
    answer: String,
}

/// The event's body. A viewer gets neither field, an admin both.
#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    body: Option<Box<RawValue>>,
    #[serde(default)]
    body_base64: Option<String>,
}

/// `decnet deliveries show`.
pub(super) async fn run(client: &Client, id: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let path = format!("{ROUTE}/{}", segment(id)?);
    let answer = client.call(Method::GET, &path, None).await;
    let answer = answer.with_context(|| format!("delivery {}", output::printable(id)))?;
    if as_json {
        output::json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let names = Names::load(client).await?;
    row(&decode(&answer)?, &names)?;
    body(&decode(&answer)?)?;
    Ok(ExitCode::SUCCESS)
}

fn row(detail: &Detail, names: &Names) -> anyhow::Result<()> {
    let name = names.name(&detail.subscription);
    let subscription = if name == detail.subscription {
        name.to_owned()
    } else {
        format!("{name} ({})", detail.subscription)
    };
    let answered = match detail.status_code {
        Some(code) => format!("HTTP {code} after {} ms", detail.duration_ms),
        None => format!("none within {} ms", detail.duration_ms),
    };
    let mut lines = vec![
        ("delivery", detail.id.to_string()),
        ("status", detail.status.clone()),
        ("subscription", subscription),
        ("event id", detail.event_id.clone()),
        ("topic", detail.topic.clone()),
        ("type", detail.r#type.clone()),
        ("attempts", detail.attempts.to_string()),
        ("last answer", answered),
        ("last error", detail.error.clone().unwrap_or("-".into())),
        ("recorded", output::seconds(Some(&detail.created_at))),
        ("updated", output::seconds(Some(&detail.updated_at))),
    ];
    if let Some(next) = &detail.next_attempt_at {
        lines.push(("next try", output::seconds(Some(next))));
    }
    if let Some(at) = &detail.acknowledged_at {
        lines.push(("acknowledged", output::seconds(Some(at))));
    }
    if detail.in_order {
        let behind = "the next events of its subscription; `decnet deliveries skip` gives it up";
        lines.push(("holds back", behind.to_owned()));
    }
    for (label, value) in lines {
        output::labelled(label, &value)?;
    }
    if !detail.failed_attempts.is_empty() {
        output::line(format_args!("\n{BOLD}failed attempts{BOLD:#}"))?;
    }
    for attempt in &detail.failed_attempts {
        let error = match (&attempt.error, attempt.status_code) {
            (Some(error), _) => output::printable(error),
            (None, Some(code)) => format!("http {code}"),
            (None, None) => "no answer".into(),
        };
        let at = output::seconds(Some(&attempt.at));
        let took = attempt.duration_ms;
        output::line(format_args!("  {at}  {error}  {DIM}{took} ms{DIM:#}"))?;
        if !attempt.answer.is_empty() {
            output::line(indented(&attempt.answer, "      "))?;
        }
    }
    Ok(())
}

fn body(body: &Body) -> anyhow::Result<()> {
    let head = format!("\n{BOLD}body{BOLD:#}");
    match (&body.body, &body.body_base64) {
        (Some(json), _) => output::line(format_args!("{head}\n{}", pretty(json.get())))?,
        (None, Some(base64)) => output::line(format_args!(
            "{head} {DIM}no JSON; as base64:{DIM:#}\n{}",
            output::printable(base64)
        ))?,
        (None, None) => output::line(format_args!(
            "{head} {DIM}not kept (it is until delivered), or not for this token's role{DIM:#}"
        ))?,
    }
    Ok(())
}
