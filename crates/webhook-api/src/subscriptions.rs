//! The subscription routes: read the request, let the store decide, tell the workers.

mod broken;
mod dropped;
mod endpoint;
mod host;
mod input;
mod view;

use std::time::Instant;

use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use webhook_delivery::{FailureKind, PreparedEvent};
use webhook_model::{Event, Subscription};
use webhook_store::{Patched, Position, Standing, StoreError};

pub(crate) use self::{
    broken::faults,
    input::{CreateBody, PatchBody},
    view::{CreatedSubscription, PatchedSubscription, SubscriptionBody},
};
use crate::{
    api::Api,
    problem::Problem,
    routes::{Answer, Call, json},
};

/// The answer to a delete.
#[derive(Serialize, ToSchema)]
pub(crate) struct Deleted {
    #[schema(example = "Webhook deleted")]
    message: &'static str,
}

/// How a test ping went.
#[derive(Serialize, ToSchema)]
pub(crate) struct Pinged {
    /// Whether the receiver answered 2xx.
    #[schema(example = false)]
    delivered: bool,
    /// Its status, if it answered.
    #[schema(required = true, example = 503)]
    status_code: Option<u16>,
    /// What went wrong.
    #[schema(required = true, example = "http 503")]
    error: Option<String>,
}

/// Create a subscription
///
/// Events published after the answer are delivered to it. The answer is the only one that shows
/// the secret. A client may create 20 a minute.
#[utoipa::path(post, path = "/api/v1/webhooks", tag = "webhooks", operation_id = "createWebhook",
    security(("bearer" = [])),
    request_body(content = CreateBody, description = "At least one of `simple_events` and `topic_patterns` has an entry."),
    responses(
        (status = 201, description = "The subscription, with its secret.", body = CreatedSubscription),
        (status = 400, response = crate::openapi::BadCreate),
        (status = 401, response = crate::openapi::Unauthenticated),
        (status = 403, response = crate::openapi::Forbidden),
        (status = 408, response = crate::openapi::BodyTimeout),
        (status = 409, response = crate::openapi::NameTaken),
        (status = 413, response = crate::openapi::TooLarge),
        (status = 415, response = crate::openapi::UnsupportedMedia),
        (status = 422, response = crate::openapi::Invalid),
        (status = 429, response = crate::openapi::TooMany),
        (status = 500, response = crate::openapi::Internal),
        (status = 503, response = crate::openapi::Away),
    ))]
pub(crate) async fn create(call: Call) -> Answer {
    let bus = call.api.deps.bus.clone();
    let (api, caller) = (call.api.clone(), call.caller()?);
    let body = call.body().await?;
    let new = input::create(&body.bytes, api.deps.delivery.egress())?;
    api.creates
        .admit(&caller.uuid, Instant::now())
        .map_err(Problem::TooManyCreates)?;
    let secret = new.secret.clone();
    let (created, unresolved) = api
        .work(|api| async move {
            let unresolved = host::check(&api, &new.url).await?;
            let position = api.position().await?;
            let created = api.deps.store.create(new, &position).await?;
            tracing::info!(uuid = created.uuid, name = created.name, by = ?caller.username, "subscription created");
            api.signal_change().await;
            Ok((Standing::free(created), unresolved))
        })
        .await?;
    json(
        StatusCode::CREATED,
        &CreatedSubscription::new(&created, &secret, &bus, unresolved),
    )
}

/// List the subscriptions
///
/// By `created_at`. A row that cannot be read is there with what is wrong with it among its warnings.
#[utoipa::path(get, path = "/api/v1/webhooks", tag = "webhooks", operation_id = "listWebhooks",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "All subscriptions.", body = Vec<SubscriptionBody>),
        (status = 401, response = crate::openapi::Unauthenticated),
        (status = 403, response = crate::openapi::Forbidden),
        (status = 429, response = crate::openapi::TooManyAnswers),
        (status = 500, response = crate::openapi::Internal),
        (status = 503, response = crate::openapi::Away),
    ))]
pub(crate) async fn list(call: Call) -> Answer {
    let bus = call.api.deps.bus.clone();
    let all = call
        .api
        .work(|api| async move { Ok(api.deps.store.standings().await?) })
        .await?;
    let good = (all.standings.iter()).map(|it| SubscriptionBody::new(it, &bus));
    let broken = all.broken.iter().map(SubscriptionBody::broken);
    let mut all: Vec<_> = good.chain(broken).collect();
    all.sort_by(SubscriptionBody::by_creation);
    json(StatusCode::OK, &all)
}

/// Show a subscription
#[utoipa::path(get, path = "/api/v1/webhooks/{uuid}", tag = "webhooks", operation_id = "showWebhook",
    security(("bearer" = [])),
    params(("uuid" = String, Path, description = "The subscription's `uuid`; any text may be asked for.")),
    responses(
        (status = 200, description = "The subscription.", body = SubscriptionBody),
        (status = 401, response = crate::openapi::Unauthenticated),
        (status = 403, response = crate::openapi::Forbidden),
        (status = 404, response = crate::openapi::WebhookNotFound),
        (status = 429, response = crate::openapi::TooManyAnswers),
        (status = 500, response = crate::openapi::Internal),
        (status = 503, response = crate::openapi::Away),
    ))]
pub(crate) async fn show(call: Call) -> Answer {
    let bus = call.api.deps.bus.clone();
    let uuid = call.uuid()?;
    let body = call
        .api
        .work(|api| async move {
            let store = &api.deps.store;
            match store.get(&uuid).await {
                Ok(Some(found)) => {
                    let standing = store.standing(found).await?;
                    Ok(SubscriptionBody::new(&standing, &bus))
                }
                Ok(None) => Err(Problem::WebhookNotFound),
                Err(StoreError::Broken(row)) => Ok(SubscriptionBody::broken(&row)),
                Err(error) => Err(error.into()),
            }
        })
        .await?;
    json(StatusCode::OK, &body)
}

/// Change a subscription
///
/// Absent and `null` fields stay as they are, each setting by itself. If `simple_events` or `topic_patterns` is there, the
/// whole list is replaced by their merge. `enabled: true` makes a paused or tripped subscription
/// active with a clean slate. A field that cannot be read is mended by a change that supplies it. `enabled: false` pauses: what was published and not delivered yet is
/// dropped, and `dropped_events` says how much that was.
#[utoipa::path(patch, path = "/api/v1/webhooks/{uuid}", tag = "webhooks", operation_id = "changeWebhook",
    security(("bearer" = [])),
    params(("uuid" = String, Path, description = "The subscription's `uuid`; any text may be asked for.")),
    request_body = PatchBody,
    responses(
        (status = 200, description = "The subscription as it is now.", body = PatchedSubscription),
        (status = 400, response = crate::openapi::BadPatch),
        (status = 401, response = crate::openapi::Unauthenticated),
        (status = 403, response = crate::openapi::Forbidden),
        (status = 404, response = crate::openapi::WebhookNotFound),
        (status = 408, response = crate::openapi::BodyTimeout),
        (status = 409, response = crate::openapi::NameTaken),
        (status = 413, response = crate::openapi::TooLarge),
        (status = 415, response = crate::openapi::UnsupportedMedia),
        (status = 422, response = crate::openapi::Invalid),
        (status = 500, response = crate::openapi::Internal),
        (status = 503, response = crate::openapi::Away),
    ))]
pub(crate) async fn change(call: Call) -> Answer {
    let bus = call.api.deps.bus.clone();
    let (api, caller, uuid) = (call.api.clone(), call.caller()?, call.uuid()?);
    let body = call.body().await?;
    let patch = input::patch(&body.bytes, api.deps.delivery.egress())?;
    let (standing, dropped, unresolved) = api
        .work(|api| async move {
            let unresolved = match patch.url() {
                Some(url) => host::check(&api, url).await?,
                None => None,
            };
            let position = api.position().await?;
            let patched = write(&api, &uuid, patch, &position).await?;
            let patched = patched.ok_or(Problem::WebhookNotFound)?;
            // Before the signal: on it, workers end these consumers and the count is gone.
            let dropped = dropped::count(&api, &patched.ended).await;
            if patched.changed {
                tracing::info!(uuid, by = ?caller.username, "subscription changed");
                api.signal_change().await;
            }
            let standing = api.deps.store.standing(patched.subscription).await?;
            Ok((standing, dropped, unresolved))
        })
        .await?;
    json(
        StatusCode::OK,
        &PatchedSubscription::new(&standing, dropped, &bus, unresolved),
    )
}

/// Delete a subscription
///
/// What was published and not delivered yet is dropped.
#[utoipa::path(delete, path = "/api/v1/webhooks/{uuid}", tag = "webhooks", operation_id = "deleteWebhook",
    security(("bearer" = [])),
    params(("uuid" = String, Path, description = "The subscription's `uuid`; any text may be asked for.")),
    responses(
        (status = 200, description = "It is gone.", body = Deleted),
        (status = 401, response = crate::openapi::Unauthenticated),
        (status = 403, response = crate::openapi::Forbidden),
        (status = 404, response = crate::openapi::WebhookNotFound),
        (status = 500, response = crate::openapi::Internal),
        (status = 503, response = crate::openapi::Away),
    ))]
pub(crate) async fn delete(call: Call) -> Answer {
    let (caller, uuid) = (call.caller()?, call.uuid()?);
    call.api
        .work(|api| async move {
            let position = api.position().await?;
            if !api.deps.store.delete(&uuid, &position).await? {
                return Err(Problem::WebhookNotFound);
            }
            tracing::info!(uuid, by = ?caller.username, "subscription deleted");
            api.signal_change().await;
            Ok(())
        })
        .await?;
    let message = "Webhook deleted";
    json(StatusCode::OK, &Deleted { message })
}

/// Send a test ping
///
/// One attempt on the path that deliveries take, without retry or bookkeeping, also to a
/// subscription that is paused or tripped. Topic `test.ping`, type `test`.
#[utoipa::path(post, path = "/api/v1/webhooks/{uuid}/test", tag = "webhooks", operation_id = "testWebhook",
    security(("bearer" = [])),
    params(("uuid" = String, Path, description = "The subscription's `uuid`; any text may be asked for.")),
    responses(
        (status = 200, description = "How the attempt went.", body = Pinged),
        (status = 401, response = crate::openapi::Unauthenticated),
        (status = 403, response = crate::openapi::Forbidden),
        (status = 404, response = crate::openapi::WebhookNotFound),
        (status = 422, response = crate::openapi::Invalid),
        (status = 500, response = crate::openapi::Internal),
        (status = 503, response = crate::openapi::Away),
    ))]
pub(crate) async fn test(call: Call) -> Answer {
    let event = Event::test_ping(&call.caller()?.username);
    let subscription = load(&call).await?;
    let attempt = call
        .api
        .work(|api| async move {
            let endpoint = endpoint::of(subscription);
            let event = PreparedEvent::new(&event);
            let attempt = api.deps.delivery.attempt(&endpoint, &event).await;
            if attempt.failure == Some(FailureKind::Refused) {
                api.deps.stats.ping_refused();
            }
            Ok(attempt)
        })
        .await?;
    let pinged = Pinged {
        delivered: attempt.verdict.is_delivered(),
        status_code: attempt.status,
        error: attempt.error,
    };
    json(StatusCode::OK, &pinged)
}

/// How often a patch of settings is made anew: each time in vain somebody else's was written.
const SETTINGS_TRIES: u32 = 32;

/// Settings are stored as a whole, so those that a patch does not name are read first, and read anew
/// when somebody else changed them before these were written.
async fn write(
    api: &Api,
    uuid: &str,
    patch: input::Patch,
    position: &Position,
) -> Result<Option<Patched>, Problem> {
    let store = &api.deps.store;
    let patch = if patch.lacks_credentials() {
        let Some(old) = store.meet(uuid, patch.rest()).await? else {
            return Ok(None);
        };
        patch.with_credentials_of(&old)?
    } else {
        patch
    };
    if !patch.meets_settings() {
        let patch = patch.without_settings();
        return Ok(store.patch(uuid, patch, position).await?);
    }
    let mut tries = 0;
    loop {
        let Some(old) = store.meet(uuid, patch.rest()).await? else {
            return Ok(None);
        };
        let whole = patch.clone().onto(old)?;
        tries += 1;
        match store.patch(uuid, whole, position).await {
            Err(StoreError::SettingsChanged) if tries < SETTINGS_TRIES => {}
            ended => return Ok(ended?),
        }
    }
}

async fn load(call: &Call) -> Result<Subscription, Problem> {
    let uuid = call.uuid()?;
    let found = call
        .api
        .work(|api| async move { Ok(api.deps.store.get(&uuid).await?) })
        .await?;
    found.ok_or(Problem::WebhookNotFound)
}
