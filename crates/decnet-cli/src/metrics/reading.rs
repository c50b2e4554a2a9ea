//! Numbers that must be asked for: of the database and of the bus. A scrape never asks itself; it
//! takes what was read lately, so that however often somebody scrapes, the database has peace.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use webhook_api::waiting;
use webhook_bus::{Bus, BusError, BusStatus};
use webhook_store::{Counts, Store};

/// How old a reading may be before a scrape has a new one made: less than any usual scrape
/// interval.
const MAX_AGE: Duration = Duration::from_secs(5);
/// A reading is followed by this many times its own length without one, so that readings of large
/// tables take a twentieth of a core at most.
const REST: u32 = 20;
/// Longest wait of a scrape for a new reading. Scrapers give up after 10 s by default.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest that the database or the bus is waited for.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time spent on counting what waits on the bus; subscriptions it does not suffice for
/// have no backlog in this reading.
const BACKLOG_TIMEOUT: Duration = Duration::from_secs(5);
/// The age at which a reading says nothing any more.
const STALE: Duration = Duration::from_secs(300);

/// What the database and the bus said.
#[derive(Debug)]
pub(super) struct Reading {
    /// None when the database did not answer.
    pub(super) counts: Option<Counts>,
    /// None when the bus did not answer.
    pub(super) bus: Option<BusStatus>,
    /// Events that wait on the bus, by subscription.
    pub(super) backlog: Backlog,
    ended: Instant,
    took: Duration,
}

/// Events that wait on the bus, by subscription.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    pub(super) events: BTreeMap<String, u64>,
    /// Whether every subscription was counted.
    pub(super) is_complete: bool,
}

impl Reading {
    fn is_fresh(&self) -> bool {
        self.ended.elapsed() < MAX_AGE.max(self.took * REST)
    }
}

/// Where readings come from. Clones share the last one.
#[derive(Clone)]
pub(super) struct Readings {
    store: Store,
    bus: Bus,
    wanted: Arc<Notify>,
    latest: Arc<watch::Sender<Option<Arc<Reading>>>>,
}

impl Readings {
    pub(super) fn new(store: Store, bus: Bus) -> Self {
        Self {
            store,
            bus,
            wanted: Arc::default(),
            latest: Arc::new(watch::Sender::new(None)),
        }
    }

    /// A reading that is not too old; none while the first one takes long.
    pub(super) async fn latest(&self) -> Option<Arc<Reading>> {
        let mut latest = self.latest.subscribe();
        let known = latest.borrow_and_update().clone();
        if known.as_ref().is_some_and(|reading| reading.is_fresh()) {
            return known;
        }
        self.wanted.notify_one();
        // Without a newer one the known one serves.
        let _ = timeout(PATIENCE, latest.changed()).await;
        let reading = latest.borrow().clone();
        reading.filter(|reading| reading.ended.elapsed() < STALE)
    }

    /// Reads whenever a scrape wants it, until `shutdown`.
    pub(super) async fn run(self, shutdown: CancellationToken) {
        let reading = async {
            loop {
                self.wanted.notified().await;
                let known = self.latest.borrow().clone();
                if !known.is_some_and(|reading| reading.is_fresh()) {
                    let reading = self.read().await;
                    self.latest.send_replace(Some(Arc::new(reading)));
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = reading => {}
        }
    }

    async fn read(&self) -> Reading {
        let begun = Instant::now();
        let (counts, bus) = tokio::join!(
            timeout(READ_TIMEOUT, self.store.counts()),
            timeout(READ_TIMEOUT, async {
                self.bus.position().await?;
                Ok::<_, BusError>(self.bus.status().await)
            }),
        );
        let (counts, bus) = (
            counts.ok().and_then(Result::ok),
            bus.ok().and_then(Result::ok),
        );
        let backlog = match (&counts, &bus) {
            (Some(_), Some(_)) => self.backlog().await,
            _ => Backlog::default(),
        };
        Reading {
            counts,
            bus,
            backlog,
            ended: Instant::now(),
            took: begun.elapsed(),
        }
    }

    async fn backlog(&self) -> Backlog {
        let mut backlog = Backlog::default();
        let deadline = Instant::now() + BACKLOG_TIMEOUT;
        let Ok(Ok(snapshot)) = timeout_at(deadline, self.store.snapshot()).await else {
            return backlog;
        };
        for view in snapshot.subscriptions {
            let counted = waiting(&self.bus, self.store.deployment_id(), &view);
            let Ok(Ok(waiting)) = timeout_at(deadline, counted).await else {
                return backlog;
            };
            // What no worker has opened yet is left out here as it is in `GET /status`.
            let uuid = view.subscription.uuid;
            backlog.events.insert(uuid, waiting.events);
        }
        backlog.is_complete = true;
        backlog
    }
}
