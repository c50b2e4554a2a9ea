//! The delivery log: what became of each event for each subscription.

mod query;
mod view;

use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use webhook_store::{RetryOutcome, SkipOutcome};

pub(crate) use self::query::{dead_letters, id as id_text};
use self::view::{DeliveryPage, DeliveryStatusName, DetailBody};
use crate::{
    problem::Problem,
    routes::{Answer, Call, json},
    tokens::Role,
};

/// A delivery that is tried again.
#[derive(Serialize, ToSchema)]
pub(crate) struct Retried {
    #[schema(example = 7)]
    id: i64,
    /// Always `retrying`.
    #[schema(example = "retrying")]
    status: &'static str,
}

/// A delivery that was given up.
#[derive(Serialize, ToSchema)]
pub(crate) struct Skipped {
    #[schema(example = 7)]
    id: i64,
    /// Always `dead`.
    #[schema(example = "dead")]
    status: &'static str,
}

/// List deliveries
///
/// Latest first. Absent and empty parameters do not matter. A page may be short, even empty, and
/// still have a `next_cursor`; the list ends where that is null.
#[utoipa::path(get, path = "/api/v1/deliveries", tag = "deliveries", operation_id = "listDeliveries",
    security(("bearer" = [])),
    params(
        ("subscription" = Option<String>, Query, description = "The subscription's `uuid`."),
        ("status" = inline(Option<DeliveryStatusName>), Query, description = "Where they stand."),
        ("topic" = Option<String>, Query, description = "A pattern that their topic matches.", example = "attacker.>"),
        ("event_id" = Option<String>, Query, description = "The event's id."),
        ("error" = Option<String>, Query, description = "A part of their last error.", example = "http 503"),
        ("since" = Option<String>, Query, description = "First recorded then or later.", format = DateTime, example = "2026-04-24T12:00:00Z"),
        ("until" = Option<String>, Query, description = "First recorded before.", format = DateTime),
        ("acknowledged" = Option<bool>, Query, description = "Whether somebody has acknowledged them, with `status=dead`."),
        ("limit" = Option<u32>, Query, description = "Most rows of the page, 50 when absent.", minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before, with the same filters."),
    ),
    responses(
        (status = 200, description = "A page.", body = DeliveryPage),
        (status = 401, response = crate::openapi::Unauthenticated),
        (status = 403, response = crate::openapi::Forbidden),
        (status = 422, response = crate::openapi::InvalidQuery),
        (status = 429, response = crate::openapi::TooManyAnswers),
        (status = 500, response = crate::openapi::Internal),
        (status = 503, response = crate::openapi::Away),
    ))]
pub(crate) async fn list(call: Call) -> Answer {
    let query = query::read(call.query())?;
    let page = call
        .api
        .work(|api| async move {
            let (filter, cursor) = (&query.filter, query.cursor.as_ref());
            let store = &api.deps.store;
            Ok(store.deliveries(filter, cursor, query.limit).await?)
        })
        .await?;
    json(StatusCode::OK, &DeliveryPage::new(page))
}

/// Show a delivery
///
/// With its failed attempts and, for an admin, their answers and the event's body, which is kept until
/// it is delivered.
#[utoipa::path(get, path = "/api/v1/deliveries/{id}", tag = "deliveries", operation_id = "showDelivery",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The delivery's `id`; any text may be asked for.")),
    responses(
        (status = 200, description = "The delivery.", body = DetailBody),
        (status = 401, response = crate::openapi::Unauthenticated),
        (status = 403, response = crate::openapi::Forbidden),
        (status = 404, response = crate::openapi::DeliveryNotFound),
        (status = 429, response = crate::openapi::TooManyAnswers),
        (status = 500, response = crate::openapi::Internal),
        (status = 503, response = crate::openapi::Away),
    ))]
pub(crate) async fn show(call: Call) -> Answer {
    let (caller, id) = (call.caller()?, id(&call)?);
    let found = call
        .api
        .work(move |api| async move { Ok(api.deps.store.delivery(id).await?) })
        .await?;
    let detail = found.ok_or(Problem::DeliveryNotFound)?;
    json(
        StatusCode::OK,
        &DetailBody::new(detail, caller.role == Role::Admin),
    )
}

/// Try a delivery again
///
/// Makes a dead letter, or a delivery that waits, due now; its redelivery schedule begins anew.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/retry", tag = "deliveries", operation_id = "retryDelivery",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The delivery's `id`; any text may be asked for.")),
    responses(
        (status = 202, description = "It is due now.", body = Retried),
        (status = 401, response = crate::openapi::Unauthenticated),
        (status = 403, response = crate::openapi::Forbidden),
        (status = 404, response = crate::openapi::DeliveryNotFound),
        (status = 409, response = crate::openapi::NotRetried),
        (status = 500, response = crate::openapi::Internal),
        (status = 503, response = crate::openapi::Away),
    ))]
pub(crate) async fn retry(call: Call) -> Answer {
    let (caller, id) = (call.caller()?, id(&call)?);
    call.api
        .work(move |api| async move {
            match api.deps.store.retry(id).await? {
                RetryOutcome::Queued => {
                    tracing::info!(id, by = ?caller.username, "delivery is tried again");
                    Ok(())
                }
                RetryOutcome::NotFound => Err(Problem::DeliveryNotFound),
                RetryOutcome::AlreadyDelivered => {
                    Err(Problem::NotRetried("The delivery has arrived already"))
                }
                RetryOutcome::Unavailable => Err(Problem::NotRetried(
                    "No body was kept of the delivery that could be sent",
                )),
                RetryOutcome::SubscriptionGone => Err(Problem::NotRetried(
                    "The webhook of the delivery was deleted",
                )),
            }
        })
        .await?;
    let status = "retrying";
    json(StatusCode::ACCEPTED, &Retried { id, status })
}

/// How much was removed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Purged {
    /// Dead letters.
    #[schema(example = 42)]
    purged: u64,
}

/// Purge dead letters
///
/// Removes the dead letters that match for good, with their bodies and attempts. `status=dead` has to
/// be said; other deliveries are never removed.
#[utoipa::path(delete, path = "/api/v1/deliveries", tag = "deliveries", operation_id = "purgeDeliveries",
    security(("bearer" = [])),
    params(
        ("status" = String, Query, description = "Always `dead`.", example = "dead"),
        ("subscription" = Option<String>, Query, description = "The subscription's `uuid`; it may be gone."),
        ("orphans" = Option<bool>, Query, description = "Those alone whose subscription is gone."),
        ("topic" = Option<String>, Query, description = "A pattern that their topic matches.", example = "attacker.>"),
        ("event_id" = Option<String>, Query, description = "The event's id."),
        ("error" = Option<String>, Query, description = "A part of their last error.", example = "http 400"),
        ("since" = Option<String>, Query, description = "First recorded then or later.", format = DateTime),
        ("until" = Option<String>, Query, description = "First recorded before.", format = DateTime),
        ("acknowledged" = Option<bool>, Query, description = "Whether somebody has acknowledged them."),
    ),
    responses(
        (status = 200, description = "They are gone.", body = Purged),
        (status = 401, response = crate::openapi::Unauthenticated),
        (status = 403, response = crate::openapi::Forbidden),
        (status = 422, response = crate::openapi::InvalidQuery),
        (status = 500, response = crate::openapi::Internal),
        (status = 503, response = crate::openapi::Away),
    ))]
pub(crate) async fn purge(call: Call) -> Answer {
    call.without_body()?;
    let (caller, wanted) = (call.caller()?, dead_letters(call.query())?);
    let purged = call
        .api
        .work(|api| async move {
            let store = &api.deps.store;
            let purged = store.purge_dead(&wanted.filter, wanted.orphans).await?;
            tracing::info!(purged, by = ?caller.username, "dead letters purged");
            Ok(purged)
        })
        .await?;
    json(StatusCode::OK, &Purged { purged })
}

/// Give a delivery up
///
/// Makes a dead letter of one that waits to be tried again, whatever its schedule says. Meant for
/// the one that the next events of an `ordered` subscription wait for (`in_order`).
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/skip", tag = "deliveries", operation_id = "skipDelivery",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The delivery's `id`; any text may be asked for.")),
    responses(
        (status = 202, description = "It is a dead letter.", body = Skipped),
        (status = 401, response = crate::openapi::Unauthenticated),
        (status = 403, response = crate::openapi::Forbidden),
        (status = 404, response = crate::openapi::DeliveryNotFound),
        (status = 409, response = crate::openapi::NotSkipped),
        (status = 500, response = crate::openapi::Internal),
        (status = 503, response = crate::openapi::Away),
    ))]
pub(crate) async fn skip(call: Call) -> Answer {
    let (caller, id) = (call.caller()?, id(&call)?);
    call.api
        .work(move |api| async move {
            match api.deps.store.skip(id).await? {
                SkipOutcome::Skipped => {
                    tracing::info!(id, by = ?caller.username, "delivery is given up");
                    Ok(())
                }
                SkipOutcome::NotFound => Err(Problem::DeliveryNotFound),
                SkipOutcome::NotWaiting => Err(Problem::NotSkipped(
                    "The delivery does not wait: it has arrived or is a dead letter",
                )),
                SkipOutcome::BeingTried => Err(Problem::NotSkipped(
                    "The delivery is being tried at this moment; ask again in a few seconds",
                )),
            }
        })
        .await?;
    let status = "dead";
    json(StatusCode::ACCEPTED, &Skipped { id, status })
}

/// The delivery that the path names.
pub(crate) fn id(call: &Call) -> Result<i64, Problem> {
    let text = call.segment().ok_or(Problem::DeliveryNotFound)?;
    let id: i64 = text.parse().map_err(|_| Problem::DeliveryNotFound)?;
    // One way to write each, as for any other id.
    if id.to_string() == text {
        Ok(id)
    } else {
        Err(Problem::DeliveryNotFound)
    }
}
