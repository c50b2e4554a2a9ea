//! The document at `/openapi.json`. Each route is described beside its handler; here is what they
//! share: the errors, each with an example, and the frame.

use std::sync::OnceLock;

use actix_web::{HttpResponse, web::Bytes};
use utoipa::{
    Modify, OpenApi, ToResponse,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use crate::{
    acknowledging, deliveries,
    problem::{ProblemBody, WrongField},
    routes::{Answer, Call},
    subscriptions,
};

macro_rules! problems {
    ($($(#[$attribute:meta])* $name:ident $status:literal $title:literal $detail:literal
        $({ $($extra:tt)* })? $(headers $headers:tt)?;)*) => {
        $(
            $(#[$attribute])*
            #[derive(ToResponse)]
            #[response(content_type = "application/problem+json", $(headers $headers,)? example = json!({
                "type": "about:blank", "title": $title, "status": $status, "detail": $detail
                $(, $($extra)*)?
            }))]
            #[expect(dead_code, reason = "documents a problem; problem.rs makes it")]
            pub(crate) struct $name(ProblemBody);
        )*
    };
}

problems! {
    /// The body is not JSON.
    Malformed 400 "Bad Request" "The body is not valid JSON: expected value at line 1 column 9";
    /// The body is not JSON, or the subscription would ask for nothing.
    BadCreate 400 "Bad Request" "Provide at least one simple_events entry or topic_patterns pattern.";
    /// The body is not JSON, or the subscription would ask for nothing.
    BadPatch 400 "Bad Request" "Cannot clear all patterns; disable the webhook instead.";
    /// No token, or one that does not count.
    Unauthenticated 401 "Unauthorized" "Could not validate credentials"
        headers(("WWW-Authenticate" = String, description = "`Bearer`"));
    /// The token's role is not enough.
    Forbidden 403 "Forbidden" "Insufficient permissions";
    /// The token's role is not enough, it is bound to other topics, or a topic is reserved.
    PublishForbidden 403 "Forbidden" "Topics under system.webhook. are published by DECNET itself alone";
    /// There is no such subscription.
    WebhookNotFound 404 "Not Found" "Webhook not found";
    /// There is no such delivery.
    DeliveryNotFound 404 "Not Found" "Delivery not found";
    /// There is no such job.
    ReplayNotFound 404 "Not Found" "Replay not found";
    /// It has arrived, has no body that could be sent, or its subscription is gone.
    NotRetried 409 "Conflict" "The delivery has arrived already";
    /// It does not wait to be tried again, or is being tried at this moment.
    NotSkipped 409 "Conflict" "The delivery does not wait: it has arrived or is a dead letter";
    NotAcknowledged 409 "Conflict" "The delivery is no dead letter; others need no acknowledgement";
    /// The body did not arrive within 30 s.
    BodyTimeout 408 "Request Timeout" "The body did not arrive in time";
    /// Another subscription has the name.
    NameTaken 409 "Conflict" "Webhook name already exists";
    /// The body, or one event in it, is too large.
    TooLarge 413 "Payload Too Large" "The body is larger than 1048576 bytes";
    /// The body does not say that it is JSON.
    UnsupportedMedia 415 "Unsupported Media Type" "Send the body as Content-Type: application/json";
    /// Fields are wrong or unknown; all of them are named. Also a URL that the egress guard refuses.
    Invalid 422 "Unprocessable Entity" "2 fields are wrong: name, topic_patterns[0]" {
        "errors": [
            {"field": "name", "detail": "is required"},
            {"field": "topic_patterns[0]", "detail": "pattern \"a..b\" has an empty token"}
        ]
    };
    /// Parameters are wrong or unknown; all of them are named.
    InvalidQuery 422 "Unprocessable Entity" "limit: must be a whole number from 1 to 500" {
        "errors": [{"field": "limit", "detail": "must be a whole number from 1 to 500"}]
    };
    /// More than 20 creates within a minute.
    TooMany 429 "Too Many Requests" "Too many webhooks created; try again later"
        headers(("Retry-After" = u32, description = "Seconds until the next create is due."));
    /// More than the token may publish.
    OverQuota 429 "Too Many Requests" "This token may publish 10000 events a second; try again later"
        headers(("Retry-After" = u32, description = "Seconds after which the request is within the quota."));
    /// The token has six answers that are being made or are not read yet, and more wait for those.
    TooManyAnswers 429 "Too Many Requests" "This token has too many answers that are not read yet; read them and try again"
        headers(("Retry-After" = u32, description = "Seconds after which to try again."));
    /// A fault of the server. The log has more under the `error_id`.
    Internal 500 "Internal Server Error" "Internal error; the log has more under this error_id" {
        "error_id": "3d4f6c1e-8f5b-4a53-9d0e-6a3f0e5c2b11"
    };
    /// The bus or the database cannot be reached, or the bus refuses to take more.
    Away 503 "Service Unavailable" "The bus cannot be reached now; try again later"
        headers(("Retry-After" = u32, description = "Seconds after which to try again."));
    /// Something that the server needs is not there; `missing` names it.
    NotReady 503 "Service Unavailable" "Not ready: database" { "missing": ["database"] };
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "DECNET webhooks",
        description = "Subscriptions to events of a deception network, publishing them, and what became of each. Every error is an RFC 9457 problem; 404 and 405 (with `Allow`) also answer what is not listed here.",
    ),
    servers((url = "/")),
    paths(
        subscriptions::create, subscriptions::list, subscriptions::show, subscriptions::change,
        subscriptions::delete, subscriptions::test, crate::events::publish,
        deliveries::list, deliveries::show, deliveries::retry, deliveries::skip, deliveries::purge,
        acknowledging::one, acknowledging::matching,
        crate::status::show,
        crate::replays::create, crate::replays::show,
        crate::bearers::list, crate::bearers::revoke, crate::bearers::prove,
        crate::health::healthz, crate::health::readyz, crate::metrics::metrics, document,
    ),
    components(
        schemas(ProblemBody, WrongField),
        responses(
            Malformed, BadCreate, BadPatch, Unauthenticated, Forbidden, PublishForbidden,
            WebhookNotFound, DeliveryNotFound, ReplayNotFound, BodyTimeout, NameTaken, NotRetried, NotSkipped, NotAcknowledged,
            TooLarge,
            UnsupportedMedia, Invalid, InvalidQuery, TooMany, OverQuota, TooManyAnswers, Internal, Away, NotReady,
        ),
    ),
    tags(
        (name = "webhooks", description = "Subscriptions; for admins."),
        (name = "events", description = "Publishing; for admins and publishers."),
        (name = "deliveries", description = "What became of each event; for admins and viewers."),
        (name = "status", description = "How the parts fare; for admins and viewers."),
        (name = "tokens", description = "Those in use; for admins."),
        (name = "health", description = "Without a token, but for metrics."),
    ),
    modifiers(&BearerTokens),
)]
struct Document;

struct BearerTokens;

impl Modify for BearerTokens {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.bearer_format = Some("JWT".to_owned());
        scheme.description = Some(
            "HS256, claims uuid, jti, exp, iat, iss=decnet, aud=decnet-dashboard, typ=access; role, or a row of DECNET's users. `decnet token create` mints one.".to_owned(),
        );
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The OpenAPI 3.1 document of the API.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "health", operation_id = "openapi",
    responses((status = 200, description = "The OpenAPI 3.1 document.", body = Object)))]
pub(crate) async fn document(_call: Call) -> Answer {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| {
        openapi()
            .to_pretty_json()
            .expect("a document in memory serialises")
    });
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .body(Bytes::from_static(text.as_bytes())))
}
