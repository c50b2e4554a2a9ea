//! The one place that knows which failure is which HTTP status, and what the caller is told.

use std::{borrow::Cow, time::Duration};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{
        StatusCode,
        header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE},
    },
};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;
use webhook_bus::BusError;
use webhook_model::FieldError;
use webhook_store::StoreError;

use crate::{body::NoRoom, subscriptions::faults};

/// When to come back after a bus or a database was away: long enough for a restart to have
/// got somewhere, short enough not to idle.
const AWAY_RETRY: Duration = Duration::from_secs(5);
/// Most wrong fields in one answer. A body of 16 MiB has room for millions.
const MAX_FIELD_ERRORS: usize = 1_000;

/// Everything that can go wrong with a request.
#[derive(Debug, Clone)]
pub(crate) enum Problem {
    /// The body is not JSON; what, and where.
    Malformed(String),
    /// A subscription to nothing.
    NoPattern,
    /// A PATCH that would leave a subscription to nothing.
    PatternsCleared,
    /// No token, or one that does not count.
    Unauthenticated,
    /// The token's role may not do this.
    Forbidden,
    /// DECNET's table says that this user has to change the password first.
    PasswordChangeRequired,
    /// Somebody would publish as this project itself.
    ReservedTopic,
    /// Somebody who is no admin would publish what DECNET's workers obey; the topic.
    OrderTopic(String),
    /// The token is bound to other topics than this.
    TopicNotAllowed { topic: String, allowed: String },
    /// What came is no request of HTTP/1.1.
    Unreadable,
    /// A request did not arrive in time.
    HeadTimeout,
    /// A request's head is too large.
    HeadTooLarge,
    /// All connections but those for probes are in use.
    Crowded,
    /// No such route.
    NoRoute,
    /// No such subscription.
    WebhookNotFound,
    /// No such delivery.
    DeliveryNotFound,
    /// No such replay.
    ReplayNotFound,
    /// A delivery that cannot be tried again, and why.
    NotRetried(&'static str),
    /// A delivery that cannot be given up, and why.
    NotSkipped(&'static str),
    /// A delivery that is no dead letter, of which alone it is noted that somebody saw it.
    NotAcknowledged,
    /// A route without that method; the methods that it has.
    MethodNotAllowed(String),
    /// The body did not arrive in time.
    BodyTimeout,
    /// Another subscription has that name.
    NameTaken,
    /// More bytes than the limit, or an event over the event limit.
    TooLarge(Cow<'static, str>),
    /// A body that does not say it is JSON, or an encoding that is not understood.
    UnsupportedMedia(&'static str),
    /// Wrong fields, all of them.
    Invalid(Vec<FieldError>),
    /// Too many creates; when the next one is due.
    TooManyCreates(Duration),
    /// More than the token may publish; when this request would have been within its quota.
    OverQuota {
        what: &'static str,
        per_second: u32,
        after: Duration,
    },
    /// The token has more on the bus than its share, and undelivered events have to give way; when to
    /// ask again.
    OverShare {
        percent: u32,
        held: u64,
        max_bytes: u64,
        after: Duration,
    },
    /// The token has as many answers in work as it may; when to ask again.
    TooManyAnswers(Duration),
    /// The bus cannot take events now.
    EventsRefused(String),
    /// The bus cannot be reached now.
    BusAway(String),
    /// The database cannot be reached now.
    DatabaseAway(String),
    /// Too many bodies are being read.
    Busy,
    /// What a readiness check misses.
    NotReady(Vec<String>),
    /// A fault of ours; the cause goes into the log alone.
    Internal(String),
}

/// RFC 9457 as it goes over the wire.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[schema(example = "about:blank")]
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// One plain sentence.
    detail: String,
    /// Every wrong field, with 422.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<WrongField>>)]
    errors: Option<Vec<FieldError>>,
    /// What to look for in the log, with 500.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_id: Option<String>,
    /// What is not there, with 503 of `/readyz`.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<Vec<String>>,
}

/// One wrong field of a request.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "documents webhook_model::FieldError, which knows no OpenAPI"
)]
pub(crate) struct WrongField {
    /// The field as the caller named it.
    #[schema(example = "topic_patterns[2]")]
    field: String,
    /// What is wrong with its value, and what would be right.
    detail: String,
}

impl Problem {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Unreadable => StatusCode::BAD_REQUEST,
            Self::HeadTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Crowded => StatusCode::SERVICE_UNAVAILABLE,
            Self::Malformed(_) | Self::NoPattern | Self::PatternsCleared => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::PasswordChangeRequired | Self::ReservedTopic => {
                StatusCode::FORBIDDEN
            }
            Self::OrderTopic(_) | Self::TopicNotAllowed { .. } => StatusCode::FORBIDDEN,
            Self::NoRoute
            | Self::WebhookNotFound
            | Self::DeliveryNotFound
            | Self::ReplayNotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::NameTaken | Self::NotRetried(_) | Self::NotSkipped(_) | Self::NotAcknowledged => {
                StatusCode::CONFLICT
            }
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMedia(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyCreates(_)
            | Self::OverQuota { .. }
            | Self::OverShare { .. }
            | Self::TooManyAnswers(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::EventsRefused(_)
            | Self::BusAway(_)
            | Self::DatabaseAway(_)
            | Self::Busy
            | Self::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn detail(&self) -> String {
        let fixed = match self {
            Self::Malformed(what) => return what.clone(),
            Self::NoPattern => {
                "Provide at least one simple_events entry or topic_patterns pattern."
            }
            Self::PatternsCleared => "Cannot clear all patterns; disable the webhook instead.",
            Self::Unauthenticated => "Could not validate credentials",
            Self::Forbidden => "Insufficient permissions",
            Self::PasswordChangeRequired => {
                "Password change required before accessing this resource"
            }
            Self::ReservedTopic => {
                "Topics under system.webhook. are published by DECNET itself alone"
            }
            Self::OrderTopic(topic) => {
                return format!(
                    "DECNET's own workers obey {topic}; only an admin may publish there"
                );
            }
            Self::TopicNotAllowed { topic, allowed } => {
                return format!("This token may publish to {allowed}, not to {topic}");
            }
            Self::Unreadable => {
                "The request cannot be read; is all of its URL percent-encoded, e.g. > as %3E?"
            }
            Self::HeadTimeout => "The request did not arrive in time",
            Self::HeadTooLarge => "The request's headers are too large",
            Self::Crowded => "Too many connections; try again later",
            Self::NoRoute => "No such route; /openapi.json lists those there are",
            Self::WebhookNotFound => "Webhook not found",
            Self::DeliveryNotFound => "Delivery not found",
            Self::ReplayNotFound => "Replay not found",
            Self::NotRetried(why) | Self::NotSkipped(why) => why,
            Self::NotAcknowledged => {
                "The delivery is no dead letter; others need no acknowledgement"
            }
            Self::MethodNotAllowed(allow) => return format!("This route takes {allow}"),
            Self::BodyTimeout => "The body did not arrive in time",
            Self::NameTaken => "Webhook name already exists",
            Self::TooLarge(what) => return what.clone().into_owned(),
            Self::UnsupportedMedia(what) => what,
            Self::Invalid(errors) => return summary(errors),
            Self::TooManyCreates(_) => "Too many webhooks created; try again later",
            Self::OverQuota {
                what, per_second, ..
            } => {
                return format!(
                    "This token may publish {per_second} {what} a second; try again later"
                );
            }
            Self::OverShare {
                percent,
                held,
                max_bytes,
                ..
            } => {
                return format!(
                    "The bus is full of undelivered events, and this token has put some {held} bytes \
                     there, more than its share, {percent} % of {max_bytes}; try again later. An \
                     operator can mend the receivers that take nothing, or raise \
                     DECNET_PUBLISH_BUS_SHARE or --bus-max-bytes"
                );
            }
            Self::TooManyAnswers(_) => {
                "This token has too many answers that are not read yet; read them and try again"
            }
            Self::EventsRefused(_) => {
                "The bus cannot take events now; send the same ids again later"
            }
            Self::BusAway(_) => "The bus cannot be reached now; try again later",
            Self::DatabaseAway(_) => "The database cannot be reached now; try again later",
            Self::Busy => "Too many large requests or answers at once; try again later",
            Self::NotReady(missing) => return format!("Not ready: {}", missing.join(", ")),
            Self::Internal(_) => "Internal error; the log has more under this error_id",
        };
        fixed.to_owned()
    }

    fn body(&self) -> ProblemBody {
        let status = self.status();
        ProblemBody {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: self.detail(),
            errors: None,
            error_id: None,
            missing: None,
        }
    }

    /// The last answer of a connection, as it goes over the wire, where there is no request to answer.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let status = self.status();
        let body = serde_json::to_string(&self.body()).expect("a problem serialises to memory");
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    /// The answer, and a line in the log where an operator should know.
    pub(crate) fn into_response(self) -> HttpResponse {
        let status = self.status();
        let mut body = self.body();
        let mut answer = HttpResponse::build(status);
        match self {
            Self::Unauthenticated => {
                answer.insert_header((WWW_AUTHENTICATE, "Bearer"));
            }
            Self::MethodNotAllowed(allow) => {
                answer.insert_header((ALLOW, allow));
            }
            Self::TooManyCreates(after) => retry_after(&mut answer, after),
            Self::OverQuota { after, .. }
            | Self::OverShare { after, .. }
            | Self::TooManyAnswers(after) => {
                retry_after(&mut answer, after);
            }
            Self::EventsRefused(_) => retry_after(&mut answer, AWAY_RETRY),
            Self::BusAway(cause) => {
                tracing::warn!(cause, "request refused: the bus is away");
                retry_after(&mut answer, AWAY_RETRY);
            }
            Self::DatabaseAway(cause) => {
                tracing::warn!(cause, "request refused: the database is away");
                retry_after(&mut answer, AWAY_RETRY);
            }
            Self::Busy | Self::Crowded => retry_after(&mut answer, AWAY_RETRY),
            Self::NotReady(missing) => body.missing = Some(missing),
            Self::Invalid(mut errors) => {
                errors.truncate(MAX_FIELD_ERRORS);
                body.errors = Some(errors);
            }
            Self::Internal(cause) => {
                let error_id = Uuid::new_v4().to_string();
                tracing::error!(error_id, cause, "request failed");
                body.error_id = Some(error_id);
            }
            _ => {}
        }
        answer.content_type("application/problem+json").json(body)
    }
}

/// Whole seconds, rounded up: who comes back then is not refused again.
fn retry_after(answer: &mut HttpResponseBuilder, after: Duration) {
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    answer.insert_header((RETRY_AFTER, seconds.max(1).to_string()));
}

fn summary(errors: &[FieldError]) -> String {
    match errors {
        [only] => format!("{}: {}", only.field, only.detail),
        _ => {
            let mut fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
            fields.dedup();
            let more = if fields.len() > 10 { ", …" } else { "" };
            fields.truncate(10);
            format!(
                "{} fields are wrong: {}{more}",
                errors.len(),
                fields.join(", ")
            )
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NameTaken(_) => Self::NameTaken,
            StoreError::NoRoom { column, .. } => {
                Self::Invalid(vec![FieldError::new(column, error.to_string())])
            }
            StoreError::Broken(row) => Self::Invalid(faults(&row)),
            again @ StoreError::SettingsChanged => Self::DatabaseAway(again.to_string()),
            away if away.is_connection() => Self::DatabaseAway(chain(&away)),
            other => Self::Internal(chain(&other)),
        }
    }
}

impl From<NoRoom> for Problem {
    fn from(_: NoRoom) -> Self {
        Self::Busy
    }
}

impl From<BusError> for Problem {
    fn from(error: BusError) -> Self {
        Self::BusAway(chain(&error))
    }
}

impl Problem {
    /// What a failed publish of events is; a bus that only has no room is no reason to give up.
    pub(crate) fn not_published(error: &BusError) -> Self {
        match error {
            BusError::TooLarge(_) | BusError::OverServerLimit { .. } => {
                Self::TooLarge(error.to_string().into())
            }
            BusError::Uncovered { .. } => {
                Self::Invalid(vec![FieldError::new("topic", error.to_string())])
            }
            other => Self::EventsRefused(chain(other)),
        }
    }
}

/// An error with its sources, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
