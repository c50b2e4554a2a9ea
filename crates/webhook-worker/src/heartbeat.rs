//! What the worker says of itself on the bus, and what it hears from others of its kind.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;
use webhook_bus::{Bus, Message, Watch};
use webhook_model::{Heartbeat, TopicPattern, UtcTime, topics};

use crate::{WorkerError, WorkerStatus, announcer::publication, counters::Counters};

/// A heartbeat older than two of DECNET's intervals and a little means a worker that is gone.
pub(crate) const FOREIGN_ALIVE: Duration = Duration::from_secs(65);

/// One warning in so much time while another worker is heard.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// A DECNET worker makes itself heard every 30 s.
const LISTEN: Duration = Duration::from_secs(35);
/// How long a feed may take to connect before it is said that it has not.
const PATIENCE: Duration = Duration::from_secs(2);

/// This worker's mark in its heartbeats, by which it knows its own.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) deployment: String,
    pub(crate) instance: String,
}

/// Refuses to start while another deployment's worker is alive on the same bus.
pub(crate) async fn refuse_foreign(bus: &Bus, identity: &Identity) -> Result<(), WorkerError> {
    let now = UtcTime::now();
    let heard = bus
        .recent(&pattern(topics::HEALTH), now - FOREIGN_ALIVE)
        .await?;
    match heard
        .iter()
        .filter(|message| is_foreign(message, identity))
        .map(|m| m.at)
        .max()
    {
        Some(at) => Err(WorkerError::ForeignWorker {
            seconds_ago: now.since(at).as_secs(),
        }),
        None => Ok(()),
    }
}

/// Listens for another worker on a bus that keeps no heartbeats, as long as one may take to make
/// itself heard, and refuses to start at the first. Where this deployment's own last heartbeat is
/// recent it has listened until then, and goes on at once.
pub(crate) async fn listen(
    bus: &Bus,
    identity: &Identity,
    mut fed: watch::Receiver<bool>,
    status: &WorkerStatus,
) -> Result<(), WorkerError> {
    let mut heard = bus.watch(&pattern(topics::HEALTH)).await?;
    let since = UtcTime::now() - FOREIGN_ALIVE;
    if !bus
        .recent(&pattern(topics::HEALTH), since)
        .await?
        .is_empty()
    {
        return refuse_foreign(bus, identity).await;
    }
    tracing::info!(
        "listening {} s for another webhook worker before delivering; --takeover has it stop and begins at once",
        LISTEN.as_secs()
    );
    loop {
        if !*fed.borrow_and_update() {
            let connected = tokio::time::timeout(PATIENCE, fed.wait_for(|connected| *connected));
            if connected.await.is_err() {
                status.idle("no connection to DECNET's broker");
                if fed.wait_for(|connected| *connected).await.is_err() {
                    return Ok(());
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LISTEN) => return refuse_foreign(bus, identity).await,
            message = heard.next() => match message {
                Some(message) if is_foreign(&message, identity) => {
                    return Err(WorkerError::ForeignWorker { seconds_ago: 0 });
                }
                Some(_) => {}
                None => return Ok(()),
            },
            // What it did not hear does not count: it listens anew.
            changed = fed.changed() => if changed.is_err() {
                return Ok(());
            },
        }
    }
}

/// Whether a heartbeat comes from a webhook worker of another deployment. Ours on the same data
/// are kept apart by the journal's lock, or share the work.
pub(crate) fn is_foreign(message: &Message, identity: &Identity) -> bool {
    let heartbeat = message.event().ok().and_then(|it| Heartbeat::read(&it));
    heartbeat.is_some_and(|it| !it.is_of(&identity.deployment))
}

/// Tells of every other deployment's worker that is heard while this one delivers: what both deliver
/// arrives twice.
pub(crate) async fn note_foreign(
    mut heard: Watch,
    identity: Identity,
    status: WorkerStatus,
    shutdown: CancellationToken,
) {
    let mut warned: Option<Instant> = None;
    loop {
        let message = tokio::select! {
            () = shutdown.cancelled() => return,
            message = heard.next() => message,
        };
        let Some(message) = message else {
            // The bus was closed, and nothing more is told.
            return shutdown.cancelled().await;
        };
        if !is_foreign(&message, &identity) {
            continue;
        }
        status.heard_other_worker();
        if warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            warned = Some(Instant::now());
            tracing::warn!(
                "another webhook worker is alive on this bus, and what both deliver arrives twice; stop it (DECNET's: systemctl disable --now decnet-webhook), or start this one with --takeover"
            );
        }
    }
}

/// Publishes a heartbeat at once and then at every interval, until `shutdown`.
pub(crate) async fn run(
    bus: Bus,
    identity: Identity,
    counters: Arc<Counters>,
    interval: Duration,
    shutdown: CancellationToken,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let mut payload = counters.json();
        payload.insert("worker".into(), "webhook".into());
        payload.insert("ts".into(), json!(UtcTime::now().micros() as f64 / 1e6));
        payload.insert("deployment".into(), identity.deployment.clone().into());
        payload.insert("instance".into(), identity.instance.clone().into());
        // Not queued: a heartbeat that comes late would tell of a worker that is no more.
        let beat = publication(topics::HEALTH, "health", &payload.into());
        let published = bus.publish(vec![beat]).await;
        if let (Err(error), false) = (&published, failing) {
            tracing::warn!(%error, "cannot publish the heartbeat");
        }
        failing = published.is_err();
    }
}

/// Whether a control message orders the worker to stop; anything else is ignored.
pub(crate) fn orders_stop(message: &Message) -> bool {
    let Ok(event) = message.event() else {
        return false;
    };
    let payload: Value = serde_json::from_str(event.payload.as_str()).unwrap_or_default();
    payload["action"] == "stop"
}

pub(crate) fn pattern(topic: &str) -> TopicPattern {
    TopicPattern::parse(topic).expect("own topics are valid")
}
