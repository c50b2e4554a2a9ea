//! What all requests share, and the rule where their work is done.
//!
//! actix runs each request on one of a few single-threaded runtimes, drops it when its client hangs
//! up, and ends those runtimes before the rest of the program. Database connections, HTTP
//! connections and half-made changes must survive that, so whatever touches the dependencies goes
//! through [`Api::work`], onto the runtime that the program was started on.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{runtime::Handle, sync::Semaphore};
use tokio_util::task::TaskTracker;
use webhook_bus::{Bus, Publication};
use webhook_delivery::DeliveryClient;
use webhook_model::{Event, Payload, Topic, topics};
use webhook_store::{Position, Store};

use crate::{
    ApiConfig, ApiStats, PublishQuota, Scrape, WorkerHere,
    body::{ADMINISTRATION_BUDGET_KIB, Budget, EVENTS_BUDGET_KIB},
    callers::Callers,
    events::LARGE_BODY_READERS,
    first_token::Watched,
    limit::CreateLimit,
    problem::Problem,
    publishers::Publishers,
    together::Together,
    tokens::JwtSecret,
};

/// How long a request waits for its signal to the workers. They look at the table every 60 s
/// anyway, so a signal is worth a moment, not a failed request.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(2);

/// What the API acts on.
#[derive(Clone)]
pub struct ApiDeps {
    /// Subscriptions, and DECNET's users.
    pub store: Store,
    /// Where events and signals are published.
    pub bus: Bus,
    /// Sends test pings, and knows which addresses are refused.
    pub delivery: DeliveryClient,
    /// Counts what the API does.
    pub stats: ApiStats,
    /// Renders `/metrics`.
    pub scrape: Scrape,
    /// The worker of this process; none where another one delivers.
    pub worker: Option<WorkerHere>,
}

/// Shared by all requests.
pub(crate) struct Api {
    pub(crate) deps: ApiDeps,
    pub(crate) jwt_secret: JwtSecret,
    pub(crate) creates: CreateLimit,
    /// Where it is served.
    pub(crate) port: u16,
    /// Whether `/metrics` asks for no token.
    pub(crate) open_metrics: bool,
    pub(crate) first_token: Watched,
    /// What a publisher's token may publish.
    pub(crate) publish_quota: PublishQuota,
    pub(crate) publishers: Publishers,
    pub(crate) callers: Callers,
    /// What is missing, for whoever asks whether the program is ready.
    pub(crate) missing: Together<Vec<String>>,
    /// Memory for bodies of events.
    pub(crate) events: Budget,
    /// Memory for all other bodies.
    pub(crate) administration: Budget,
    /// Threads that may read large bodies.
    pub(crate) large_bodies: Arc<Semaphore>,
    /// Whether the bus does not take events, and the log has it.
    refusing: AtomicBool,
    tracker: TaskTracker,
    runtime: Handle,
}

impl Api {
    /// For requests that are served from now on; call it on the runtime that does the work.
    pub(crate) fn new(deps: ApiDeps, config: &ApiConfig, port: u16) -> Arc<Self> {
        Arc::new(Self {
            deps,
            jwt_secret: config.jwt_secret.clone(),
            creates: CreateLimit::default(),
            port,
            open_metrics: config.open_metrics,
            first_token: Watched::new(config.first_token.clone()),
            publish_quota: config.publish_quota,
            publishers: Publishers::default(),
            callers: Callers::default(),
            missing: Together::default(),
            events: Budget::new(EVENTS_BUDGET_KIB),
            administration: Budget::new(ADMINISTRATION_BUDGET_KIB),
            large_bodies: Arc::new(Semaphore::new(LARGE_BODY_READERS)),
            refusing: AtomicBool::new(false),
            tracker: TaskTracker::new(),
            runtime: Handle::current(),
        })
    }

    /// Has in the log when the bus begins to refuse events, and when it takes them again: once
    /// each, however many requests there are meanwhile.
    pub(crate) fn note_publish(&self, refused: Option<&str>) {
        let told = self.refusing.swap(refused.is_some(), Ordering::Relaxed);
        match refused {
            Some(cause) if !told => {
                tracing::warn!(cause, "events are refused: the bus cannot take them");
            }
            Some(cause) => tracing::debug!(cause, "events refused"),
            None if told => tracing::info!("events are taken again"),
            None => {}
        }
    }

    /// Does something to its end, even when the client hangs up meanwhile.
    pub(crate) async fn work<T, F, Fut>(self: &Arc<Self>, task: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce(Arc<Self>) -> Fut,
        Fut: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        let task = task(Arc::clone(self));
        match self.tracker.spawn_on(task, &self.runtime).await {
            Ok(done) => done,
            Err(failed) => Err(Problem::Internal(failed.to_string())),
        }
    }

    /// Returns when no request's work is left.
    pub(crate) async fn drained(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Where the bus stands: what a new pair of a subscription starts from.
    pub(crate) async fn position(&self) -> Result<Position, Problem> {
        let position = self.deps.bus.position().await?;
        Ok(Position {
            incarnation: position.incarnation,
            next_seq: position.next_seq,
        })
    }

    /// Tells the workers to look at the table. Never fails: they also look on their own.
    pub(crate) async fn signal_change(&self) {
        let topic = Topic::parse(topics::SUBSCRIPTIONS_CHANGED).expect("a constant topic is valid");
        let event = Event::new(topic.clone(), "changed", Payload::empty());
        let signal = Publication {
            topic,
            bytes: event.envelope(),
            dedup: None,
        };
        let sent = tokio::time::timeout(SIGNAL_TIMEOUT, self.deps.bus.publish(vec![signal])).await;
        let failure = match sent {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {SIGNAL_TIMEOUT:?}"),
        };
        tracing::warn!(
            failure,
            "workers not told of a change; they find it within 60 s"
        );
    }
}
