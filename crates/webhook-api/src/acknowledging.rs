//! Acknowledging dead letters: an operator has seen them, so that no alert need tell of them any more,
//! and they stay as they are.

use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use webhook_store::AcknowledgeOutcome;

use crate::{
    deliveries::{self, dead_letters},
    problem::Problem,
    routes::{Answer, Call, json},
};

/// A dead letter that is acknowledged.
#[derive(Serialize, ToSchema)]
pub(crate) struct AcknowledgedOne {
    #[schema(example = 7)]
    id: i64,
    /// Always `dead`.
    #[schema(example = "dead")]
    status: &'static str,
}

/// How many were acknowledged.
#[derive(Serialize, ToSchema)]
pub(crate) struct Acknowledged {
    /// Dead letters that nobody had acknowledged before.
    #[schema(example = 42)]
    acknowledged: u64,
}

/// Acknowledge a dead letter
///
/// Notes that somebody has seen it, which changes nothing else about it. One that is sent again and
/// dies again is not acknowledged any more. Asking twice is harmless.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/acknowledge", tag = "deliveries", operation_id = "acknowledgeDelivery",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The delivery's `id`; any text may be asked for.")),
    responses(
        (status = 200, description = "It is acknowledged.", body = AcknowledgedOne),
        (status = 401, response = crate::openapi::Unauthenticated),
        (status = 403, response = crate::openapi::Forbidden),
        (status = 404, response = crate::openapi::DeliveryNotFound),
        (status = 409, response = crate::openapi::NotAcknowledged),
        (status = 500, response = crate::openapi::Internal),
        (status = 503, response = crate::openapi::Away),
    ))]
pub(crate) async fn one(call: Call) -> Answer {
    let (caller, id) = (call.caller()?, deliveries::id(&call)?);
    call.api
        .work(move |api| async move {
            match api.deps.store.acknowledge(id).await? {
                AcknowledgeOutcome::Acknowledged => {
                    tracing::info!(id, by = ?caller.username, "dead letter acknowledged");
                    Ok(())
                }
                AcknowledgeOutcome::NotFound => Err(Problem::DeliveryNotFound),
                AcknowledgeOutcome::NotDead => Err(Problem::NotAcknowledged),
            }
        })
        .await?;
    let status = "dead";
    json(StatusCode::OK, &AcknowledgedOne { id, status })
}

/// Acknowledge dead letters
///
/// Those that match, were recorded before the request and were not acknowledged before. `status=dead`
/// has to be said.
#[utoipa::path(post, path = "/api/v1/deliveries/acknowledge", tag = "deliveries", operation_id = "acknowledgeDeliveries",
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
        ("acknowledged" = Option<bool>, Query, description = "Does not matter: those that were stay as they are."),
    ),
    responses(
        (status = 200, description = "They are acknowledged.", body = Acknowledged),
        (status = 401, response = crate::openapi::Unauthenticated),
        (status = 403, response = crate::openapi::Forbidden),
        (status = 422, response = crate::openapi::InvalidQuery),
        (status = 500, response = crate::openapi::Internal),
        (status = 503, response = crate::openapi::Away),
    ))]
pub(crate) async fn matching(call: Call) -> Answer {
    call.without_body()?;
    let (caller, wanted) = (call.caller()?, dead_letters(call.query())?);
    let acknowledged = call
        .api
        .work(|api| async move {
            let store = &api.deps.store;
            let acknowledged = store
                .acknowledge_dead(&wanted.filter, wanted.orphans)
                .await?;
            tracing::info!(acknowledged, by = ?caller.username, "dead letters acknowledged");
            Ok(acknowledged)
        })
        .await?;
    json(StatusCode::OK, &Acknowledged { acknowledged })
}
