//! One session of a worker on one incarnation of its bus: register for signals, read the tables,
//! deliver, drain.

use std::sync::Arc;

use tokio::{
    sync::{Mutex, Notify, mpsc, watch},
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
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
};

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
            incarnation,
            crew,
            beating,
            progress,
        })
    }

    /// Delivers until it is told to stop or the bus is another one, and returns after its last task.
    pub(crate) async fn run(self, parts: &Parts) -> Ended {
        let Self {
            changed,
            control,
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
        let tasks = TaskTracker::new();
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
        let recording = tokio::spawn(recorder::run(
            store.clone(),
            outcomes,
            listeners,
            cut.clone(),
        ));
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
        let guarding = tokio::spawn(guardian.run(notices, stop.clone()));
        let tallying = tokio::spawn(dead::run(
            announcements.clone(),
            directory.clone(),
            dead_reports,
        ));
        let mut announcing = tokio::spawn(announcer::run(bus.clone(), unsaid, cut.clone()));
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
            let (store, reload, stop) = (store.clone(), reload.clone(), stop.clone());
            async move { checker.run(|| store.config_version(), &reload, stop).await }
        });
        tasks.spawn(heartbeat::run(
            bus.clone(),
            identity.clone(),
            counters.clone(),
            config.health_interval,
            stop.clone(),
        ));
        tasks.spawn(reload_on_change(changed, reload.clone(), stop.clone()));
        tasks.spawn(stop_on_order(control, stop.clone(), parts.stop.clone()));

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
        tasks.spawn(prober.run(asked, stop.clone()));
        let redelivery = Redelivery {
            store: store.clone(),
            directory: directory.clone(),
            dispatch: dispatch.clone(),
            owner: identity.instance.clone(),
        };
        tasks.spawn(redelivery.run(stop.clone()));
        let replays = Replays {
            store: store.clone(),
            bus: bus.clone(),
            incarnation: incarnation.clone(),
            owner: identity.instance.clone(),
        };
        tasks.spawn(replays.run(stop.clone()));
        let ages = Ages {
            delivered: config.keep_delivered,
            dead: config.keep_dead,
        };
        tasks.spawn(housekeeping::sweep(
            store.clone(),
            crew.clone(),
            ages,
            stop.clone(),
        ));
        if let Some(reports) = parts.gaps.clone() {
            tasks.spawn(housekeeping::gaps(
                store.clone(),
                announcements.clone(),
                incarnation.clone(),
                reports,
                dispatch.counters.clone(),
                stop.clone(),
            ));
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
        let supervisor =
            Supervisor::new(context, directory, config, applied, progress, stop.clone());
        status.set(Phase::Running);
        tasks.spawn({
            let reload = reload.clone();
            let interval = config.reload_interval;
            async move { supervisor.run(&reload, interval).await }
        });
        tasks.close();

        tokio::select! {
            () = stop.cancelled() => {}
            () = recreated.cancelled() => stop.cancel(),
        }
        status.set(Phase::Draining);
        // The last recorder handle goes with the last pair task, and the recorder ends with it.
        let ended = async {
            tasks.wait().await;
            let _ = tokio::join!(recording, guarding, tallying);
        };
        tokio::pin!(ended);
        let deadline = Instant::now() + config.drain_deadline;
        let report = match timeout_at(deadline, &mut ended).await {
            Ok(()) => DrainReport::Drained,
            Err(_) => {
                cut.cancel();
                ended.await;
                DrainReport::Cut
            }
        };
        // Announcements have what is left of the deadline; a drain is not cut for their sake.
        if timeout_at(deadline, &mut announcing).await.is_err() {
            cut.cancel();
            let _ = announcing.await;
        }
        if let Err(error) = bus.flush().await {
            tracing::warn!(%error, "some acknowledgements may not have reached the bus; it hands those events out again, and they are found to be delivered");
        }
        gone.cancel();
        let _ = beating.await;
        if parts.stop.is_cancelled() {
            Ended::Stopped(report)
        } else {
            Ended::Recreated
        }
    }
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
                None => return,
            }
        }
    }
}
