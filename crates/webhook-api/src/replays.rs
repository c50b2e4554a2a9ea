//! Replays: jobs that deliver dead letters, or what had arrived, once more.

use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use webhook_model::{DeliveryStatus, FieldError, TopicPattern, UtcTime};
use webhook_store::{NewReplay, Replay, ReplaySource};

use crate::{
    fields::Fields,
    problem::Problem,
    routes::{Answer, Call, json},
};

/// What to deliver again. Absent and null fields do not matter.
#[derive(ToSchema)]
#[schema(as = NewReplay, example = json!({"status": "dead", "topic": "attacker.>", "dry_run": true}))]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents what `read` reads")]
pub(crate) struct ReplayRequest {
    /// `dead`, `retrying` (what waits is due now, and its schedule goes on) or `delivered`.
    #[schema(default = "dead")]
    status: Option<String>,
    /// A pattern that their topic matches.
    topic: Option<String>,
    /// A part of their error.
    error: Option<String>,
    /// First recorded then or later.
    #[schema(format = DateTime)]
    since: Option<String>,
    /// First recorded before; never after the job was made.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// The `uuid` of a deleted subscription, whose dead letters this one takes over: they become its
    /// own, with their event ids, bodies and attempts, whatever its patterns, and are signed with its
    /// secret. Those of events that it has a delivery of are left where they are.
    #[schema(example = json!(null))]
    from: Option<String>,
    /// Counts what matches, and does nothing.
    #[schema(default = false)]
    dry_run: Option<bool>,
}

/// A job and how far it is.
#[derive(Serialize, ToSchema)]
#[schema(as = Replay)]
pub(crate) struct ReplayBody {
    /// What to ask for it by; null for a dry run.
    #[schema(required = true, example = "0f8fad5b-d9cb-469f-a165-70867728950e")]
    id: Option<String>,
    /// The subscription's `uuid`.
    subscription: String,
    /// The deleted subscription whose dead letters it takes over.
    #[schema(required = true, example = json!(null))]
    from: Option<String>,
    /// `running`, `done`, `failed`, or `dry_run`.
    #[schema(example = "running")]
    state: &'static str,
    /// Why it failed.
    #[schema(required = true, example = json!(null))]
    reason: Option<String>,
    /// Deliveries that matched when it was made.
    #[schema(example = 120)]
    matched: u64,
    /// Those of them that were queued.
    #[schema(example = 80)]
    replayed: u64,
    /// Those whose body is nowhere any more.
    #[schema(example = 0)]
    unavailable: u64,
    /// Those left where they are, because the subscription has a delivery of their event.
    #[schema(example = 0)]
    present: u64,
}

/// Replay deliveries
///
/// Dead letters, or what was delivered as long as the bus retains it, with the same event ids; or
/// what waits to be tried again, now.
#[utoipa::path(post, path = "/api/v1/webhooks/{uuid}/replay", tag = "deliveries", operation_id = "replayWebhook",
    security(("bearer" = [])),
    params(("uuid" = String, Path, description = "The subscription's `uuid`; any text may be asked for.")),
    request_body = ReplayRequest,
    responses(
        (status = 202, description = "The job, or what it would match.", body = ReplayBody),
        (status = 400, response = crate::openapi::Malformed),
        (status = 401, response = crate::openapi::Unauthenticated),
        (status = 403, response = crate::openapi::Forbidden),
        (status = 404, response = crate::openapi::WebhookNotFound),
        (status = 408, response = crate::openapi::BodyTimeout),
        (status = 413, response = crate::openapi::TooLarge),
        (status = 415, response = crate::openapi::UnsupportedMedia),
        (status = 422, response = crate::openapi::Invalid),
        (status = 500, response = crate::openapi::Internal),
        (status = 503, response = crate::openapi::Away),
    ))]
pub(crate) async fn create(call: Call) -> Answer {
    let (api, caller, uuid) = (call.api.clone(), call.caller()?, call.uuid()?);
    let body = call.body().await?;
    let (new, dry_run) = read(&body.bytes, uuid)?;
    let answer = api
        .work(move |api| async move {
            let store = &api.deps.store;
            if dry_run || new.source.is_some() {
                let found = store.get(&new.subscription).await?;
                found.ok_or(Problem::WebhookNotFound)?;
            }
            if let Some(source) = &new.source {
                let found = store.replay_source(&new.subscription, source).await?;
                usable(found, source)?;
            }
            if dry_run {
                let matched = store.count_replay(&new).await?;
                return Ok(ReplayBody::dry(new, matched));
            }
            let job = store.create_replay(new).await?;
            let job = job.ok_or(Problem::WebhookNotFound)?;
            tracing::info!(job = job.id, uuid = job.subscription, from = job.source, by = ?caller.username, "replay begun");
            Ok(ReplayBody::new(job))
        })
        .await?;
    json(StatusCode::ACCEPTED, &answer)
}

/// Show a replay
#[utoipa::path(get, path = "/api/v1/replays/{id}", tag = "deliveries", operation_id = "showReplay",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The job's `id`; any text may be asked for.")),
    responses(
        (status = 200, description = "The job.", body = ReplayBody),
        (status = 401, response = crate::openapi::Unauthenticated),
        (status = 403, response = crate::openapi::Forbidden),
        (status = 404, response = crate::openapi::ReplayNotFound),
        (status = 429, response = crate::openapi::TooManyAnswers),
        (status = 500, response = crate::openapi::Internal),
        (status = 503, response = crate::openapi::Away),
    ))]
pub(crate) async fn show(call: Call) -> Answer {
    let id = call.segment().ok_or(Problem::ReplayNotFound)?;
    let found = call
        .api
        .work(|api| async move { Ok(api.deps.store.replay(&id).await?) })
        .await?;
    let job = found.ok_or(Problem::ReplayNotFound)?;
    json(StatusCode::OK, &ReplayBody::new(job))
}

fn read(body: &[u8], subscription: String) -> Result<(NewReplay, bool), Problem> {
    let mut fields = Fields::read(body)?;
    let status = fields.text("status", |text| match text.parse() {
        Err(_) => Err("must be dead, retrying or delivered"),
        Ok(status) => Ok(status),
    });
    let status = status.unwrap_or(DeliveryStatus::Dead);
    let source = fields.text("from", |text| match status {
        DeliveryStatus::Dead => crate::deliveries::id_text(text),
        _ => Err("needs status dead: of a deleted subscription only dead letters can be sent"),
    });
    let new = NewReplay {
        subscription,
        source,
        status,
        topic: fields.text("topic", TopicPattern::parse),
        error: fields.text("error", crate::deliveries::id_text),
        since: fields.text("since", UtcTime::parse_sql),
        until: fields.text("until", UtcTime::parse_sql),
    };
    let dry_run = fields.flag("dry_run").unwrap_or(false);
    fields.finish()?;
    Ok((new, dry_run))
}

fn usable(found: ReplaySource, source: &str) -> Result<(), Problem> {
    let wrong = match found {
        ReplaySource::Usable => return Ok(()),
        ReplaySource::Same => {
            "is the subscription itself; leave it out to replay its own dead letters".to_owned()
        }
        ReplaySource::Exists => format!(
            "{source:?} is a subscription that is there, and its dead letters are its own: replay them \
             to it, or delete it first"
        ),
        ReplaySource::Unknown => format!(
            "no dead letters of a subscription {source:?} are kept; the list of dead letters shows \
             whose there are"
        ),
    };
    Err(Problem::Invalid(vec![FieldError::new("from", wrong)]))
}

impl ReplayBody {
    fn new(job: Replay) -> Self {
        Self {
            id: Some(job.id),
            subscription: job.subscription,
            from: job.source,
            state: job.state.as_str(),
            reason: job.reason,
            matched: job.matched,
            replayed: job.replayed,
            unavailable: job.unavailable,
            present: job.present,
        }
    }

    fn dry(new: NewReplay, matched: u64) -> Self {
        Self {
            id: None,
            subscription: new.subscription,
            from: new.source,
            state: "dry_run",
            reason: None,
            matched,
            replayed: 0,
            unavailable: 0,
            present: 0,
        }
    }
}
