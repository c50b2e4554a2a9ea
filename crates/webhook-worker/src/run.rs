//! A worker's life: register for signals, read the tables, deliver, drain.

use std::{fmt, sync::Arc};

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use webhook_bus::{Bus, Gap, Watch};
use webhook_delivery::DeliveryClient;
use webhook_model::topics;
use webhook_store::Store;

use crate::{
    Phase, WorkerConfig, WorkerError, WorkerStatus,
    breaker::Policy,
    crew::{Crew, Ears, Progress},
    dead, freshness,
    guardian::{self, Guardian},
    heartbeat::{self, Identity},
    housekeeping::{self, Ages},
    pair::PairContext,
    recorder::{self, Listeners},
    redelivery::Redelivery,
    replay::Replays,
    runtime::Directory,
    send::Dispatch,
    supervisor::Supervisor,
};

/// What a worker works with.
pub struct WorkerDeps {
    /// Subscriptions and outcomes.
    pub store: Store,
    /// Where events come from.
    pub bus: Bus,
    /// What posts them; the test ping's own.
    pub delivery: DeliveryClient,
    /// What the bus's retention took before it was delivered, as the bus reports it.
    pub gaps: Option<mpsc::Receiver<Gap>>,
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainReport {
    /// Everything in flight came to its end, was committed and acknowledged.
    Drained,
    /// The deadline came first; the bus keeps what was cut and delivers it again.
    Cut,
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drained => "drained: every delivery in flight ended and was recorded",
            Self::Cut => "cut at the drain deadline: what was in flight will be delivered again",
        })
    }
}

/// Delivers until `shutdown`, or until the bus orders a stop. Returns after its last task.
pub async fn run(
    deps: WorkerDeps,
    config: WorkerConfig,
    status: WorkerStatus,
    shutdown: CancellationToken,
) -> Result<DrainReport, WorkerError> {
    let identity = Identity {
        deployment: deps.store.deployment_id().to_owned(),
        instance: uuid::Uuid::new_v4().to_string(),
    };
    if !config.takeover {
        heartbeat::refuse_foreign(&deps.bus, &identity).await?;
    }
    // Registered before the tables are read, so that no change falls in between.
    let changed = deps
        .bus
        .watch(&heartbeat::pattern(topics::SUBSCRIPTIONS_CHANGED))
        .await?;
    let control = deps.bus.watch(&heartbeat::pattern(topics::CONTROL)).await?;
    let incarnation = deps.bus.position().await?.incarnation;
    for pair in deps.store.rebase_pairs(&incarnation).await? {
        tracing::warn!(
            subscription = %pair.subscription,
            filter = %pair.filter.cover,
            "the bus was recreated; this pair begins anew at its first event, and what the old bus still held is gone"
        );
    }

    // The others know of this worker before it reads anything it works by.
    let (progress, own_progress) = watch::channel(Progress::default());
    let (crew, beating) = Crew::join(
        deps.store.clone(),
        identity.instance.clone(),
        config.name.clone(),
        own_progress,
    )
    .await?;
    let stop = shutdown.child_token();
    let tasks = TaskTracker::new();
    let reload = Arc::new(Notify::new());
    let counters = status.counters();
    let (recorder, outcomes) = recorder::channel();
    let (notify_guardian, notices) = guardian::channel();
    let (dead, dead_reports) = dead::channel();
    let directory = Directory::default();
    let cut = CancellationToken::new();
    let listeners = Listeners {
        counters: counters.clone(),
        guardian: notify_guardian.clone(),
        dead,
    };
    // These three end one after the other, each when the last of its reporters is gone.
    let recording = tokio::spawn(recorder::run(
        deps.store.clone(),
        outcomes,
        listeners,
        cut.clone(),
    ));
    let guardian = Guardian::new(
        deps.store.clone(),
        deps.bus.clone(),
        directory.clone(),
        Policy {
            threshold: config.circuit_threshold,
            cool_down: config.cool_down,
        },
        reload.clone(),
        identity.instance.clone(),
    );
    let guarding = tokio::spawn(guardian.run(notices, stop.clone()));
    let announcing = tokio::spawn(dead::run(deps.bus.clone(), directory.clone(), dead_reports));
    let (applied, applied_seen) = watch::channel(i64::MIN);
    let (freshness, checker) = freshness::channel(applied_seen.clone());
    // Lives until what is in flight has ended: the others rely on it.
    let gone = CancellationToken::new();
    let ears = Ears {
        applied: applied_seen,
        reload: reload.clone(),
    };
    let beating = tokio::spawn(beating.run(ears, gone.clone()));

    tasks.spawn({
        let (store, reload, stop) = (deps.store.clone(), reload.clone(), stop.clone());
        async move { checker.run(|| store.config_version(), &reload, stop).await }
    });
    tasks.spawn(heartbeat::run(
        deps.bus.clone(),
        identity.clone(),
        counters.clone(),
        config.health_interval,
        stop.clone(),
    ));
    tasks.spawn(reload_on_change(changed, reload.clone(), stop.clone()));
    tasks.spawn(stop_on_order(control, stop.clone()));

    let dispatch = Dispatch {
        client: deps.delivery.clone(),
        recorder,
        guardian: notify_guardian,
        counters,
        cut: cut.clone(),
    };
    let redelivery = Redelivery {
        store: deps.store.clone(),
        directory: directory.clone(),
        dispatch: dispatch.clone(),
        owner: identity.instance.clone(),
    };
    tasks.spawn(redelivery.run(stop.clone()));
    let replays = Replays {
        store: deps.store.clone(),
        bus: deps.bus.clone(),
        incarnation: incarnation.clone(),
        owner: identity.instance.clone(),
    };
    tasks.spawn(replays.run(stop.clone()));
    let ages = Ages {
        delivered: config.keep_delivered,
        dead: config.keep_dead,
    };
    tasks.spawn(housekeeping::sweep(
        deps.store.clone(),
        crew.clone(),
        ages,
        stop.clone(),
    ));
    if let Some(reports) = deps.gaps {
        tasks.spawn(housekeeping::gaps(
            deps.store.clone(),
            deps.bus.clone(),
            incarnation.clone(),
            reports,
            stop.clone(),
        ));
    }
    let context = PairContext {
        store: deps.store.clone(),
        bus: deps.bus.clone(),
        dispatch,
        freshness,
        crew,
        deployment: identity.deployment,
        incarnation,
    };
    let supervisor = Supervisor::new(context, directory, &config, applied, progress, stop.clone());
    status.set(Phase::Running);
    tasks.spawn({
        let reload = reload.clone();
        async move { supervisor.run(&reload, config.reload_interval).await }
    });
    tasks.close();

    stop.cancelled().await;
    status.set(Phase::Draining);
    // The last recorder handle goes with the last pair task, and the recorder ends with it.
    let ended = async {
        tasks.wait().await;
        let _ = tokio::join!(recording, guarding, announcing);
    };
    tokio::pin!(ended);
    let report = match tokio::time::timeout(config.drain_deadline, &mut ended).await {
        Ok(()) => DrainReport::Drained,
        Err(_) => {
            cut.cancel();
            ended.await;
            DrainReport::Cut
        }
    };
    let flushed = deps.bus.flush().await;
    gone.cancel();
    let _ = beating.await;
    flushed?;
    Ok(report)
}

async fn reload_on_change(mut changed: Watch, reload: Arc<Notify>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            message = changed.next() => match message {
                Some(_) => reload.notify_one(),
                None => return,
            }
        }
    }
}

async fn stop_on_order(mut control: Watch, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            message = control.next() => match message {
                Some(message) if heartbeat::orders_stop(&message) => {
                    tracing::info!("ordered to stop over the bus");
                    stop.cancel();
                }
                Some(_) => {}
                None => return,
            }
        }
    }
}
