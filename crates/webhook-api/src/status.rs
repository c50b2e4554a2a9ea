//! `GET /status`: what an operator asks first.

use std::{future::Future, time::Duration};

use actix_web::http::StatusCode;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;
use webhook_bus::BusStatus;
use webhook_model::UtcTime;
use webhook_store::{Counts, Worker};

use crate::{
    api::Api,
    backlog::{self, Backlog},
    other_worker,
    routes::{Answer, Call, json},
    troubles::Troubles,
};

/// How long the answer waits for one dependency; one that hangs is as good as away.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// How the parts fare.
#[derive(Serialize, ToSchema)]
#[schema(as = Status)]
pub(crate) struct StatusBody {
    /// Those that were heard within the last hour; null when the database cannot be reached.
    #[schema(required = true)]
    workers: Option<Vec<WorkerBody>>,
    /// What the worker of the answering process is doing; null where it has none.
    #[schema(required = true, example = "running")]
    worker: Option<String>,
    /// A webhook worker of another installation, DECNET's perhaps, that is alive on the same bus: what
    /// both deliver arrives twice. Null when none is heard.
    #[schema(required = true)]
    other_worker: Option<OtherWorker>,
    bus: BusBody,
    database: DatabaseBody,
    /// By state; null when the database cannot be reached.
    #[schema(required = true)]
    subscriptions: Option<SubscriptionCounts>,
    /// Which get nothing at present, and why; null when the database cannot be reached.
    #[schema(required = true)]
    troubles: Option<Troubles>,
    /// Rows that DECNET or somebody else wrote in a way that cannot be used as a whole; null when the
    /// database cannot be reached.
    #[schema(required = true)]
    rows: Option<RowCounts>,
    /// Those that have not arrived; null when the database cannot be reached.
    #[schema(required = true)]
    deliveries: Option<DeliveryCounts>,
    /// What waits on the bus; null when it was not counted within five seconds.
    #[schema(required = true)]
    backlog: Option<Backlog>,
}

/// A worker, by its own word.
#[derive(Serialize, ToSchema)]
#[schema(as = Worker)]
pub(crate) struct WorkerBody {
    /// A uuid of this run.
    instance: String,
    /// Host and process.
    #[schema(example = "master/4711")]
    name: String,
    #[schema(example = "0.1.0")]
    version: String,
    /// Whether the others count on it; false once it has been silent for 15 seconds.
    #[schema(example = true)]
    alive: bool,
    #[schema(value_type = String, format = DateTime, example = "2026-04-24T12:00:00.000000Z")]
    started_at: UtcTime,
    /// How long ago it was heard.
    #[schema(example = 1.5)]
    silent_seconds: f64,
}

/// A webhook worker of another installation.
#[derive(Serialize, ToSchema)]
pub(crate) struct OtherWorker {
    /// When it was last heard.
    #[schema(value_type = String, format = DateTime, example = "2026-04-24T12:00:00.000000Z")]
    last_heartbeat: UtcTime,
}

/// The bus.
#[derive(Serialize, ToSchema)]
#[schema(as = BusStatus)]
pub(crate) struct BusBody {
    /// Whether it answers.
    #[schema(example = true)]
    reachable: bool,
    #[schema(required = true, example = "journal")]
    kind: Option<&'static str>,
    /// Sequence number of the newest event; 0 when there was none yet.
    #[schema(required = true, example = 1042)]
    head: Option<u64>,
    /// What it occupies on the disk.
    #[schema(required = true, example = 1_048_576)]
    bytes: Option<u64>,
    /// Why publishing is refused at present.
    #[schema(required = true, example = json!(null))]
    refusing: Option<String>,
}

/// The database.
#[derive(Serialize, ToSchema)]
#[schema(as = DatabaseStatus)]
pub(crate) struct DatabaseBody {
    /// Whether it answers.
    #[schema(example = true)]
    reachable: bool,
}

/// How many subscriptions there are.
#[derive(Serialize, ToSchema)]
pub(crate) struct SubscriptionCounts {
    /// Getting events.
    #[schema(example = 12)]
    active: u64,
    /// Switched off by an operator.
    #[schema(example = 1)]
    paused: u64,
    /// Held back by the circuit breaker.
    #[schema(example = 0)]
    tripped: u64,
}

/// How many subscriptions are not used as they are stored.
#[derive(Serialize, ToSchema)]
pub(crate) struct RowCounts {
    /// Delivered to, but for members of the list of patterns that are none; `warnings` names them.
    #[schema(example = 0)]
    partly_used: u64,
    /// Not delivered to: the row cannot be read, and the log says why.
    #[schema(example = 0)]
    unreadable: u64,
}

/// How many deliveries have not arrived.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeliveryCounts {
    /// To be tried again.
    #[schema(example = 3)]
    retrying: u64,
    /// Dead letters that nobody has acknowledged.
    #[schema(example = 0)]
    dead: u64,
    /// Those that somebody has; both together are all that are kept.
    #[schema(example = 0)]
    dead_acknowledged: u64,
    /// When the oldest that is to be tried again had its first outcome.
    #[schema(required = true, value_type = Option<String>, format = DateTime, example = "2026-04-24T12:00:00.000000Z")]
    oldest_retrying: Option<UtcTime>,
}

/// Status
///
/// Of the workers, the bus and the database, each asked for at most five seconds, with what waits.
#[utoipa::path(get, path = "/api/v1/status", tag = "status", operation_id = "status",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "How the parts fare.", body = StatusBody),
        (status = 401, response = crate::openapi::Unauthenticated),
        (status = 403, response = crate::openapi::Forbidden),
        (status = 429, response = crate::openapi::TooManyAnswers),
        (status = 500, response = crate::openapi::Internal),
        (status = 503, response = crate::openapi::Away),
    ))]
pub(crate) async fn show(call: Call) -> Answer {
    let body = call
        .api
        .work(|api| async move {
            let (bus, counts, workers, standings, heard, (rows, backlog)) = tokio::join!(
                within(async {
                    api.deps.bus.position().await.map_err(|e| e.to_string())?;
                    Ok(api.deps.bus.status().await)
                }),
                within(async { api.deps.store.counts().await.map_err(|e| e.to_string()) }),
                within(async { api.deps.store.workers().await.map_err(|e| e.to_string()) }),
                within(async { api.deps.store.standings().await.map_err(|e| e.to_string()) }),
                within(other_worker::heard(&api)),
                rows_and_backlog(&api),
            );
            Ok(StatusBody {
                workers: known("workers", workers).map(worker_bodies),
                worker: (api.deps.worker.as_ref()).map(|worker| worker.report().doing),
                troubles: known("troubles", standings).map(|all| Troubles::of(all.standings)),
                other_worker: known("other worker", heard).and_then(|heard| {
                    let last_heartbeat = heard.other?;
                    Some(OtherWorker { last_heartbeat })
                }),
                rows: known("rows", rows),
                backlog: known("backlog", backlog),
                ..StatusBody::new(known("bus", bus), known("database", counts))
            })
        })
        .await?;
    json(StatusCode::OK, &body)
}

impl StatusBody {
    fn new(bus: Option<BusStatus>, counts: Option<Counts>) -> Self {
        Self {
            workers: None,
            worker: None,
            troubles: None,
            other_worker: None,
            backlog: None,
            database: DatabaseBody {
                reachable: counts.is_some(),
            },
            rows: None,
            subscriptions: counts.map(|counts| SubscriptionCounts {
                active: counts.active,
                paused: counts.paused,
                tripped: counts.tripped,
            }),
            deliveries: counts.map(|counts| DeliveryCounts {
                retrying: counts.retrying,
                dead: counts.dead,
                dead_acknowledged: counts.dead_acknowledged,
                oldest_retrying: counts.oldest_retrying,
            }),
            bus: BusBody {
                reachable: bus.is_some(),
                kind: bus.as_ref().map(|bus| bus.kind),
                head: bus.as_ref().map(|bus| bus.head),
                bytes: bus.as_ref().map(|bus| bus.bytes),
                refusing: bus.and_then(|bus| bus.refusing),
            },
        }
    }
}

async fn rows_and_backlog(api: &Api) -> (Result<RowCounts, String>, Result<Backlog, String>) {
    let snapshot =
        within(async { api.deps.store.snapshot().await.map_err(|e| e.to_string()) }).await;
    let snapshot = match snapshot {
        Ok(snapshot) => snapshot,
        Err(failure) => return (Err(failure.clone()), Err(failure)),
    };
    let views = snapshot.subscriptions;
    let partly_used = (views.iter()).filter(|it| !it.subscription.skipped_patterns.is_empty());
    let rows = RowCounts {
        partly_used: partly_used.count() as u64,
        unreadable: snapshot.skipped.len() as u64,
    };
    let backlog = within(async {
        let backlog = backlog::of_all(api, &views).await;
        backlog.map_err(|e| e.to_string())
    });
    (Ok(rows), backlog.await)
}

/// What was found; what was not is in the log.
fn known<T>(what: &str, found: Result<T, String>) -> Option<T> {
    found
        .map_err(|failure| tracing::warn!(what, failure, "status without it"))
        .ok()
}

fn worker_bodies(workers: Vec<Worker>) -> Vec<WorkerBody> {
    workers
        .into_iter()
        .map(|worker| WorkerBody {
            alive: worker.is_alive(),
            silent_seconds: worker.silent_for.as_secs_f64(),
            instance: worker.instance,
            name: worker.name,
            version: worker.version,
            started_at: worker.started_at,
        })
        .collect()
}

async fn within<T>(check: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(CHECK_TIMEOUT, check)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {CHECK_TIMEOUT:?}")))
}
