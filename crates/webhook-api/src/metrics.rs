//! `GET /metrics`. What the numbers are and where they come from, the program knows that serves it.

use std::sync::Arc;

use actix_web::HttpResponse;
use futures_util::future::BoxFuture;

use crate::routes::{Answer, Call};

/// Prometheus' text format.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders the process's metrics in Prometheus' text format 0.0.4. Asked for every `/metrics`, and
/// should answer within a second or two.
pub type Scrape = Arc<dyn Fn() -> BoxFuture<'static, String> + Send + Sync>;

/// Metrics
///
/// In Prometheus' text format. It needs a token that may read, unless the server is told otherwise
/// (`DECNET_API_OPEN_METRICS`).
#[utoipa::path(get, path = "/metrics", tag = "health", operation_id = "metrics",
    security((), ("bearer" = [])),
    responses(
        (status = 200, description = "The metrics.", body = String, content_type = "text/plain",
            example = "# TYPE decnet_webhook_deliveries_total counter\ndecnet_webhook_deliveries_total{result=\"delivered\"} 1042\n"),
        (status = 401, response = crate::openapi::Unauthenticated),
        (status = 403, response = crate::openapi::Forbidden),
        (status = 429, response = crate::openapi::TooManyAnswers),
        (status = 500, response = crate::openapi::Internal),
        (status = 503, response = crate::openapi::Away),
    ))]
pub(crate) async fn metrics(call: Call) -> Answer {
    let scrape = call.api.deps.scrape.clone();
    let text = call.api.work(|_| async move { Ok(scrape().await) }).await?;
    answer(text)
}

pub(crate) fn answer(text: String) -> Answer {
    Ok(HttpResponse::Ok()
        .insert_header(("Cache-Control", "no-store"))
        .content_type(CONTENT_TYPE)
        .body(text))
}
