//! Whether the process lives, and whether what it needs is there. Both without a token.

use std::{future::Future, sync::Arc, time::Duration};

use actix_web::http::StatusCode;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;
use webhook_bus::Bus;
use webhook_model::UtcTime;

use crate::{
    WorkerHere,
    api::Api,
    other_worker,
    problem::Problem,
    routes::{Answer, Call, json},
};

/// How long a readiness check waits for one dependency. Probes commonly give up after some seconds.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// The process answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Liveness
///
/// Answers as long as the process does.
#[utoipa::path(get, path = "/healthz", tag = "health", operation_id = "healthz",
    responses((status = 200, description = "The process answers.", body = Health)))]
pub(crate) async fn healthz(_call: Call) -> Answer {
    alive()
}

/// Readiness
///
/// Asks the database and the bus, each for at most two seconds. A worker in the same process counts,
/// too: it is ready once every subscription has its consumers.
#[utoipa::path(get, path = "/readyz", tag = "health", operation_id = "readyz",
    responses(
        (status = 200, description = "Everything is there.", body = Health, example = json!({"status": "ok"})),
        (status = 503, response = crate::openapi::NotReady),
    ))]
pub(crate) async fn readyz(call: Call) -> Answer {
    let api = &call.api;
    let look = || async {
        let missing = api.work(|api| async move { Ok(missing(&api).await) });
        // The work of a look panicked, which the log has.
        (missing.await).unwrap_or_else(|_| vec!["an answer of this program's own".to_owned()])
    };
    ready(api.missing.look(look).await)
}

pub(crate) fn alive() -> Answer {
    json(StatusCode::OK, &Health { status: "ok" })
}

pub(crate) fn ready(missing: Vec<String>) -> Answer {
    if missing.is_empty() {
        alive()
    } else {
        Err(Problem::NotReady(missing))
    }
}

async fn missing(api: &Arc<Api>) -> Vec<String> {
    let (database, bus, rival) = tokio::join!(
        answers(api.deps.store.ping()),
        answers(async {
            api.deps
                .bus
                .position()
                .await
                .map_err(|error| error.to_string())?;
            api.deps.bus.status().await.refusing.map_or(Ok(()), Err)
        }),
        rival(api),
    );
    let mut missing = Vec::new();
    for (name, failure) in [("database", database), ("bus", bus)] {
        if let Err(failure) = failure {
            tracing::warn!(missing = name, failure, "not ready");
            missing.push(name.to_owned());
        }
    }
    if let Some(worker) = (api.deps.worker.as_ref()).map(WorkerHere::report)
        && !worker.ready
    {
        missing.push(format!("worker ({})", worker.doing));
    }
    missing.extend(rival);
    missing
}

/// Another installation's worker beside one of ours: what both deliver arrives twice. Asked of the
/// journal alone, where the answer is a read of an index; on NATS it makes a consumer, which is too
/// much for whoever has no token, and the worker's own readiness tells it there.
async fn rival(api: &Api) -> Option<String> {
    if !matches!(api.deps.bus, Bus::Journal(_)) {
        return None;
    }
    let heard = timeout(CHECK_TIMEOUT, other_worker::heard(api)).await;
    let heard = heard.ok()?.ok()?;
    heard.own?;
    let ago = UtcTime::now().since(heard.other?).as_secs();
    Some(format!(
        "being the only webhook worker (another was heard {ago} s ago; stop one of the two)"
    ))
}

async fn answers<T, E: std::fmt::Display>(
    check: impl Future<Output = Result<T, E>>,
) -> Result<(), String> {
    match timeout(CHECK_TIMEOUT, check).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {CHECK_TIMEOUT:?}")),
    }
}
