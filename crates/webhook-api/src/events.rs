//! `POST /events`: what it takes, and what it hands to the bus.

mod input;
mod permission;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::http::StatusCode;
use serde::Serialize;
use tokio::{task::spawn_blocking, time::timeout};
use utoipa::ToSchema;

pub(crate) use self::input::{MAX_EVENTS, PublishBody};
use self::{input::Events, permission::Permission};
use crate::{
    api::Api,
    body::Body,
    problem::Problem,
    routes::{Answer, Call, json},
};

/// How long a request waits for the bus to take its events. The client may send the same ids
/// again; the bus knows them.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);

/// Bodies above this are read on a thread of their own; below, that costs more than the reading.
const LARGE_BODY_BYTES: usize = 64 << 10;
/// Threads that read large bodies at once: half of a small machine's cores stay free for the rest, and
/// one body of the largest size is there twice.
pub(crate) const LARGE_BODY_READERS: usize = 1;

/// What was taken.
#[derive(Serialize, ToSchema)]
pub(crate) struct Published {
    /// The events' ids in the order of the request.
    #[schema(example = json!(["b0b260086f544541bb1086329ccbeb99"]))]
    ids: Vec<String>,
}

/// Publish events
///
/// One event, or a list of 1 to 1,000 of which all are taken or none. 202 says that the bus has
/// taken responsibility. After anything else the same events may be sent again with the same ids:
/// an id with the same topic and content is taken once. An event has at most 1 MiB, the whole body
/// 16 MiB. Unknown members are kept in the payload under `_extra`.
#[utoipa::path(post, path = "/api/v1/events", tag = "events", operation_id = "publishEvents",
    security(("bearer" = [])),
    request_body(content = PublishBody, examples(
        ("one" = (summary = "One event", value = json!({
            "topic": "attacker.observed", "type": "observed", "payload": {"ip": "192.0.2.7"}
        }))),
        ("list" = (summary = "A list, with ids to repeat it by", value = json!([
            {"id": "b0b260086f544541bb1086329ccbeb99", "topic": "attacker.observed", "ts": 1777032000.5, "payload": {"ip": "192.0.2.7"}},
            {"id": "5f0c9a3e4f0b4c0f8d3c5f1f0c1f7a11", "topic": "decky.web-1.state", "ts": "2026-04-24T12:00:00+00:00", "payload": {"up": true}}
        ]))),
    )),
    responses(
        (status = 202, description = "The bus has them.", body = Published),
        (status = 400, response = crate::openapi::Malformed),
        (status = 401, response = crate::openapi::Unauthenticated),
        (status = 403, response = crate::openapi::PublishForbidden),
        (status = 408, response = crate::openapi::BodyTimeout),
        (status = 413, response = crate::openapi::TooLarge),
        (status = 415, response = crate::openapi::UnsupportedMedia),
        (status = 422, response = crate::openapi::Invalid),
        (status = 429, response = crate::openapi::OverQuota),
        (status = 500, response = crate::openapi::Internal),
        (status = 503, response = crate::openapi::Away),
    ))]
pub(crate) async fn publish(call: Call) -> Answer {
    let api = call.api.clone();
    let caller = call.caller()?;
    let permission = Permission::of(&caller);
    let publisher = (api.publishers).get(&caller.jti, caller.quota, Instant::now())?;
    let body = call.events_body(&publisher.bodies).await?;
    publisher.send(body.bytes.len())?;
    let ids = api
        .work(|api| async move {
            // Events of subscriptions that nobody finds again would be taken in vain.
            api.deps.store.still_there()?;
            // The body's share of the memory is kept as long as the events are.
            let (_body, events) = read(&api, body, permission).await?;
            publisher.publish(events.ids.len())?;
            publisher.fits(api.deps.bus.crowded())?;
            let ids = events.ids;
            let bytes = events.publications.iter().map(|it| it.bytes.len()).sum();
            let taken = timeout(PUBLISH_TIMEOUT, api.deps.bus.publish(events.publications)).await;
            let stats = &api.deps.stats;
            stats.published(ids.len(), matches!(taken, Ok(Ok(_))));
            let taken = match taken {
                Ok(taken) => taken
                    .map(|seqs| {
                        publisher.published(&seqs, bytes);
                        ids
                    })
                    .map_err(|error| Problem::not_published(&error)),
                Err(_) => Err(Problem::EventsRefused(format!(
                    "no answer within {PUBLISH_TIMEOUT:?}"
                ))),
            };
            match &taken {
                Ok(_) => api.note_publish(None),
                Err(Problem::EventsRefused(cause)) => api.note_publish(Some(cause)),
                // It says nothing of the bus.
                Err(_) => {}
            }
            taken
        })
        .await?;
    json(StatusCode::ACCEPTED, &Published { ids })
}

/// Reads a body where it holds nobody up: other requests are served by the same threads.
async fn read(
    api: &Arc<Api>,
    body: Body,
    permission: Permission,
) -> Result<(Body, Events), Problem> {
    let length = body.bytes.len();
    let read = move || {
        let events = input::read(&body.bytes, &permission)?;
        Ok((body.without_bytes(), events))
    };
    if length <= LARGE_BODY_BYTES {
        return read();
    }
    let reader = api.large_bodies.clone().acquire_owned().await;
    let reader = reader.expect("the semaphore is never closed");
    let reading = spawn_blocking(move || {
        let _reader = reader;
        read()
    });
    reading
        .await
        .map_err(|failed| Problem::Internal(failed.to_string()))?
}
