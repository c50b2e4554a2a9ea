//! One session of a worker on one incarnation of its bus: register for signals, read the tables,
//! deliver, drain.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, Notify, mpsc, watch},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use webhook_bus::{Bus, Gap, Watch};
use webhook_delivery::DeliveryClient;
use webhook_model::topics;
use webhook_store::Store;

use crate::{
    DrainReport, Phase, WorkerConfig, WorkerError, WorkerStatus, announcer,
    breaker::Policy,
    crew::{Beating, Crew, Ears, Progress},
    dead, freshness,
    guardian::{self, Guardian, Wards},
    heartbeat::{self, Identity},
    housekeeping::{self, Ages},
    pair::PairContext,
    prober::{self, Prober},
    recorder::{self, Listeners},
    redelivery::Redelivery,
    replay::Replays,
    send::Dispatch,
    supervisor::Supervisor,
    tasks::Tasks,
};

/// How long tasks may take to end once they are cut: they only let go of what they have.
const AFTER_CUT: Duration = Duration::from_secs(2);
/// Tasks that end after all others: one says what the others had to say, the other takes leave of the
/// other workers.
const ANNOUNCER: &str = "announcer";
const BEAT: &str = "beat";

/// What every session of a worker is made of.
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) delivery: DeliveryClient,
    /// One session at a time listens.
    pub(crate) gaps: Option<Arc<Mutex<mpsc::Receiver<Gap>>>>,
    pub(crate) identity: Identity,
    pub(crate) config: WorkerConfig,
    pub(crate) status: WorkerStatus,
    /// Ends the worker.
    pub(crate) stop: CancellationToken,
}

/// How a session ended.
pub(crate) enum Ended {
    /// It was told to.
    Stopped(DrainReport),
    /// The bus is another one now.
    Recreated,
}

/// A session that has everything it needs and is known to the other workers.
pub(crate) struct Opened {
    changed: Watch,
    control: Watch,
    health: Watch,
    incarnation: String,
    crew: Crew,
    beating: Beating,
    progress: watch::Sender<Progress>,
}

impl Opened {
    pub(crate) async fn open(parts: &Parts) -> Result<Self, WorkerError> {
        // Registered before the tables are read, so that no change falls in between.
        let changes = heartbeat::pattern(topics::SUBSCRIPTIONS_CHANGED);
        let changed = parts.bus.watch(&changes).await?;
        let orders = heartbeat::pattern(topics::CONTROL);
        let control = parts.bus.watch(&orders).await?;
        let health = parts.bus.watch(&heartbeat::pattern(topics::HEALTH)).await?;
        let incarnation = parts.bus.position().await?.incarnation;
        for pair in parts.store.rebase_pairs(&incarnation).await? {
            tracing::warn!(
                subscription = %pair.subscription,
                filter = %pair.filter.cover,
                "the bus was recreated; this pair begins anew at its first event, and what the old bus still held is gone"
            );
        }
        let (progress, own_progress) = watch::channel(Progress::default());
        let (crew, beating) = Crew::join(
            parts.store.clone(),
            parts.identity.instance.clone(),
            parts.config.name.clone(),
            matches!(parts.bus, Bus::Journal(_)),
            own_progress,
        )
        .await?;
        Ok(Self {
            changed,
            control,
            health,
            incarnation,
            crew,
            beating,
            progress,
        })
    }

    /// Delivers until it is told to stop or the bus is another one, and returns after its last task.
    /// Fails with the first task that ends before: without it, the others would go on in vain.
    pub(crate) async fn run(self, parts: &Parts) -> Result<Ended, WorkerError> {
        let Self {
            changed,
            control,
            health,
            incarnation,
            crew,
            beating,
            progress,
        } = self;
        let Parts {
            store,
            bus,
            identity,
            config,
            status,
            ..
        } = parts;
        let stop = parts.stop.child_token();
        let mut tasks = Tasks::default();
        let reload = Arc::new(Notify::new());
        let counters = status.counters();
        let recreated = CancellationToken::new();
        let (recorder, outcomes) = recorder::channel();
        let (notify_guardian, notices) = guardian::channel();
        let (dead, dead_reports) = dead::channel();
        let (announcements, unsaid) = announcer::channel();
        let directory = status.directory();
        // Windows and gates of an earlier session mean nothing in this one.
        directory.clear();
        let cut = CancellationToken::new();
        let listeners = Listeners {
            counters: counters.clone(),
            directory: directory.clone(),
            guardian: notify_guardian.clone(),
            dead,
        };
        // These four end one after the other, each when the last of its reporters is gone.
        tasks.spawn(
            "recorder",
            recorder::run(store.clone(), outcomes, listeners, cut.clone()),
        );
        let (questions, asked) = prober::channel();
        let guardian = Guardian {
            store: store.clone(),
            announcements: announcements.clone(),
            directory: directory.clone(),
            policy: Policy {
                threshold: config.circuit_threshold,
                cool_down: config.cool_down,
                answering_cool_down: config.answering_cool_down,
                control_ping: config.control_ping,
            },
            reload: reload.clone(),
            owner: identity.instance.clone(),
            counters: counters.clone(),
            questions,
            wards: Wards::default(),
        };
        tasks.spawn("guardian", guardian.run(notices, stop.clone()));
        tasks.spawn(
            "dead letters",
            dead::run(announcements.clone(), directory.clone(), dead_reports),
        );
        tasks.spawn(ANNOUNCER, announcer::run(bus.clone(), unsaid, cut.clone()));
        let (applied, applied_seen) = watch::channel(i64::MIN);
        let (freshness, checker) = freshness::channel(applied_seen.clone());
        // Lives until what is in flight has ended: the others rely on it.
        let gone = CancellationToken::new();
        let ears = Ears {
            applied: applied_seen,
            reload: reload.clone(),
        };
        tasks.spawn(BEAT, beating.run(ears, gone.clone()));

        tasks.spawn("freshness", {
            let (store, reload, stop) = (store.clone(), reload.clone(), stop.clone());
            async move { checker.run(|| store.config_version(), &reload, stop).await }
        });
        tasks.spawn(
            "heartbeat",
            heartbeat::run(
                bus.clone(),
                identity.clone(),
                counters.clone(),
                config.health_interval,
                stop.clone(),
            ),
        );
        tasks.spawn(
            "changes",
            reload_on_change(changed, reload.clone(), stop.clone()),
        );
        tasks.spawn(
            "orders",
            stop_on_order(control, stop.clone(), parts.stop.clone()),
        );
        tasks.spawn(
            "other workers",
            heartbeat::note_foreign(health, identity.clone(), status.clone(), stop.clone()),
        );

        let dispatch = Dispatch {
            client: parts.delivery.clone(),
            recorder,
            guardian: notify_guardian,
            counters,
            faults: Arc::default(),
            threshold: config.circuit_threshold,
            cut: cut.clone(),
        };
        let prober = Prober {
            store: store.clone(),
            bus: bus.clone(),
            directory: directory.clone(),
            dispatch: dispatch.clone(),
            freshness: freshness.clone(),
            incarnation: incarnation.clone(),
        };
        tasks.spawn("prober", prober.run(asked, stop.clone()));
        let redelivery = Redelivery {
            store: store.clone(),
            directory: directory.clone(),
            dispatch: dispatch.clone(),
            owner: identity.instance.clone(),
        };
        tasks.spawn("redelivery", redelivery.run(stop.clone()));
        let replays = Replays {
            store: store.clone(),
            bus: bus.clone(),
            incarnation: incarnation.clone(),
            owner: identity.instance.clone(),
        };
        tasks.spawn("replays", replays.run(stop.clone()));
        let ages = Ages {
            delivered: config.keep_delivered,
            dead: config.keep_dead,
            dead_bytes: config.keep_dead_bytes,
        };
        tasks.spawn(
            "sweep",
            housekeeping::sweep(
                store.clone(),
                crew.clone(),
                ages,
                dispatch.counters.clone(),
                stop.clone(),
            ),
        );
        if let Some(reports) = parts.gaps.clone() {
            tasks.spawn(
                "gaps",
                housekeeping::gaps(
                    store.clone(),
                    announcements.clone(),
                    incarnation.clone(),
                    reports,
                    dispatch.counters.clone(),
                    stop.clone(),
                ),
            );
        }
        // The announcer ends with the last who has something to say.
        drop(announcements);
        let context = PairContext {
            store: store.clone(),
            bus: bus.clone(),
            dispatch,
            freshness,
            crew,
            owner: identity.instance.clone(),
            deployment: identity.deployment.clone(),
            incarnation,
            recreated: recreated.clone(),
        };
        status.set(Phase::Opening);
        let supervisor = Supervisor::new(
            context,
            directory,
            config,
            applied,
            progress,
            status.clone(),
            stop.clone(),
        );
        tasks.spawn("supervisor", {
            let reload = reload.clone();
            let interval = config.reload_interval;
            async move { supervisor.run(&reload, interval).await }
        });

        let untimely = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            () = recreated.cancelled() => None,
            error = tasks.untimely_end() => Some(error),
        };
        stop.cancel();
        status.set(Phase::Draining);
        let deadline = Instant::now() + config.drain_deadline;
        let drained = match untimely {
            Some(error) => Err(error),
            None => drain(&mut tasks, deadline, &cut).await,
        };
        let report = match drained {
            Ok(report) => report,
            Err(error) => {
                cut.cancel();
                gone.cancel();
                // For leave to be taken of the other workers; the rest has nobody to hand over to.
                let _ = timeout(AFTER_CUT, tasks.ended_but(&[])).await;
                tasks.abort().await;
                return Err(error);
            }
        };
        if let Err(error) = bus.flush().await {
            tracing::warn!(%error, "some acknowledgements may not have reached the bus; it hands those events out again, and they are found to be delivered");
        }
        gone.cancel();
        tasks.ended_but(&[]).await?;
        Ok(if parts.stop.is_cancelled() {
            Ended::Stopped(report)
        } else {
            Ended::Recreated
        })
    }
}

/// Waits until what is in flight has ended, is recorded and told; cuts what has not by `deadline`.
async fn drain(
    tasks: &mut Tasks,
    deadline: Instant,
    cut: &CancellationToken,
) -> Result<DrainReport, WorkerError> {
    // The last recorder handle goes with the last pair task, and the recorder ends with it.
    let report = match timeout_at(deadline, tasks.ended_but(&[ANNOUNCER, BEAT])).await {
        Ok(ended) => ended.map(|()| DrainReport::Drained)?,
        Err(_) => {
            cut.cancel();
            match timeout(AFTER_CUT, tasks.ended_but(&[ANNOUNCER, BEAT])).await {
                Ok(ended) => ended?,
                Err(_) => tracing::error!(
                    "some tasks do not end and are left; what they had is delivered again after a restart"
                ),
            }
            DrainReport::Cut
        }
    };
    // Announcements have what is left of the deadline; a drain is not cut for their sake.
    if let Ok(ended) = timeout_at(deadline, tasks.ended_but(&[BEAT])).await {
        ended?;
    }
    cut.cancel();
    Ok(report)
}

async fn reload_on_change(mut changed: Watch, reload: Arc<Notify>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            message = changed.next() => match message {
                Some(_) => reload.notify_one(),
                // The bus was closed, and nothing more is told.
                None => return stop.cancelled().await,
            }
        }
    }
}

/// An order ends the worker, not the session alone.
async fn stop_on_order(mut control: Watch, over: CancellationToken, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = over.cancelled() => return,
            message = control.next() => match message {
                Some(message) if heartbeat::orders_stop(&message) => {
                    tracing::info!("ordered to stop over the bus");
                    stop.cancel();
                }
                Some(_) => {}
                None => return over.cancelled().await,
            }
        }
    }
}
