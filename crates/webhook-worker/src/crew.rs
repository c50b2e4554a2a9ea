//! The workers that share this database and bus: who they are, what each one's share of a limit is,
//! and whether they have let go of what ended.
//!
//! Limits of a subscription are divided by rank. Ranks go by age, so a newcomer takes nothing from
//! anybody's rank; only a departure moves the younger ones up.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use webhook_store::{Beat, Roll, Store, StoreError, WORKER_PATIENCE, Worker};

/// Time between two beats: a write each, and the longest that a lost signal delays a change.
const BEAT: Duration = Duration::from_secs(3);
/// The same for a worker that is alone, and stays so because it holds the journal's lock: its beats
/// are read by `GET /status` only. One that waits 5 s for SQLite still comes in time.
const BEAT_ALONE: Duration = Duration::from_secs(9);
const _: () = assert!(BEAT_ALONE.as_secs() + 5 < WORKER_PATIENCE.as_secs());
/// Time between two beats while somebody waits for another worker.
const BEAT_WHILE_WAITING: Duration = Duration::from_millis(100);

/// One worker's part of what a subscription allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    workers: u32,
    rank: u32,
}

impl Share {
    /// All of it: nobody else is there.
    pub(crate) const WHOLE: Self = Self {
        workers: 1,
        rank: 0,
    };

    /// What this worker may do of `total`. The shares of all add up to it; some may be nothing.
    pub(crate) fn of(self, total: u32) -> u32 {
        total / self.workers + u32::from(self.rank < total % self.workers)
    }

    /// Whether this is the one that does what only one is to do.
    pub(crate) fn is_first(self) -> bool {
        self.rank == 0
    }
}

/// How far a worker is with what ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The config version it works by.
    pub(crate) version: i64,
    /// Subscriptions of which it still holds events beyond the end of their pairs.
    pub(crate) holding: BTreeSet<String>,
}

impl Progress {
    /// Whether everything of a subscription that ended with this version was let go of.
    pub(crate) fn is_past(&self, version: i64, subscription: &str) -> bool {
        self.version >= version && !self.holding.contains(subscription)
    }
}

/// What the last beat told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct View {
    share: Share,
    others: Vec<Progress>,
}

/// Where everybody in this process asks. Clones share one task.
#[derive(Debug, Clone)]
pub(crate) struct Crew {
    view: watch::Receiver<View>,
    waiting: Arc<AtomicUsize>,
    nudge: Arc<Notify>,
}

/// The task behind [`Crew`].
pub(crate) struct Beating {
    store: Store,
    instance: String,
    name: String,
    view: watch::Sender<View>,
    progress: watch::Receiver<Progress>,
    alive: Vec<String>,
    /// Nobody else can work on its bus.
    sole: bool,
    waiting: Arc<AtomicUsize>,
    nudge: Arc<Notify>,
}

/// What the task tells when a beat finds it.
pub(crate) struct Ears {
    /// The config version that is applied here.
    pub(crate) applied: watch::Receiver<i64>,
    /// Woken when the stored one is ahead of it, or the shares are others now.
    pub(crate) reload: Arc<Notify>,
}

impl Crew {
    /// Joins the others: they know of this worker when this returns. `sole` is for one whose bus
    /// takes no second worker.
    pub(crate) async fn join(
        store: Store,
        instance: String,
        name: String,
        sole: bool,
        progress: watch::Receiver<Progress>,
    ) -> Result<(Self, Beating), StoreError> {
        let (view, seen) = watch::channel(View {
            share: Share::WHOLE,
            others: Vec::new(),
        });
        let crew = Self {
            view: seen,
            waiting: Arc::default(),
            nudge: Arc::default(),
        };
        let mut beating = Beating {
            store,
            instance,
            name,
            view,
            progress,
            alive: Vec::new(),
            sole,
            waiting: crew.waiting.clone(),
            nudge: crew.nudge.clone(),
        };
        beating.beat().await?;
        Ok((crew, beating))
    }

    pub(crate) fn share(&self) -> Share {
        self.view.borrow().share
    }

    /// Waits until every other worker that lives has let go of what ended of a subscription up to
    /// `version` of the configuration. Cancel-safe.
    pub(crate) async fn past(&self, version: i64, subscription: &str) {
        let past = |view: &View| {
            view.others
                .iter()
                .all(|other| other.is_past(version, subscription))
        };
        let mut view = self.view.clone();
        if past(&view.borrow()) {
            return;
        }
        let _waiting = Waiting::new(&self.waiting);
        self.nudge.notify_one();
        if view.wait_for(past).await.is_err() {
            // The task ends with the worker, and then nobody goes on.
            std::future::pending().await
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Beating {
    /// Beats until `gone`, then takes leave of the others.
    pub(crate) async fn run(mut self, ears: Ears, gone: CancellationToken) {
        let mut silent = false;
        let mut next = Instant::now() + self.pause();
        loop {
            tokio::select! {
                () = gone.cancelled() => break,
                () = sleep_until(next) => {}
                () = self.nudge.notified() => {}
                changed = self.progress.changed() => if changed.is_err() {
                    // The supervisor has ended, and everything with it.
                    gone.cancelled().await;
                    break;
                },
            }
            match self.beat().await {
                Ok(told) => {
                    silent = false;
                    if told.others_changed || told.version > *ears.applied.borrow() {
                        ears.reload.notify_one();
                    }
                }
                Err(error) => {
                    if !silent {
                        tracing::warn!(%error, "cannot tell the other workers that this one lives; trying again");
                    }
                    silent = true;
                }
            }
            next = Instant::now() + self.pause();
        }
        if let Err(error) = self.store.leave(&self.instance).await {
            tracing::warn!(%error, "cannot take leave of the other workers; they notice by themselves");
        }
    }

    fn pause(&self) -> Duration {
        let waiting = self.waiting.load(SeqCst) > 0;
        pause(waiting, self.sole, self.alive.len())
    }

    async fn beat(&mut self) -> Result<Told, StoreError> {
        let progress = self.progress.borrow_and_update().clone();
        let beat = Beat {
            instance: self.instance.clone(),
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settled: progress.version,
            holding: progress.holding.into_iter().collect(),
        };
        let roll = self.store.beat(&beat, WORKER_PATIENCE).await?;
        let alive: Vec<String> = roll.alive.iter().map(|it| it.instance.clone()).collect();
        let others_changed = alive != self.alive;
        if others_changed {
            // Whoever is missing now, or died before this one came, works on nothing any more.
            self.store.free_orphaned_leases(WORKER_PATIENCE).await?;
            if !self.alive.is_empty() {
                tracing::info!(
                    workers = alive.len(),
                    "the workers on this database changed"
                );
            }
            self.alive = alive;
        }
        self.view.send_replace(view(&self.instance, &roll));
        Ok(Told {
            others_changed,
            version: roll.version,
        })
    }
}

/// Time until the next beat. A predecessor that was killed is on the roll until its silence is
/// noticed, and holds a share until then: so long the sole worker is not alone.
fn pause(waiting: bool, sole: bool, alive: usize) -> Duration {
    if waiting {
        BEAT_WHILE_WAITING
    } else if sole && alive <= 1 {
        BEAT_ALONE
    } else {
        BEAT
    }
}

struct Told {
    others_changed: bool,
    version: i64,
}

fn view(instance: &str, roll: &Roll) -> View {
    let mut alive: Vec<&Worker> = roll.alive.iter().collect();
    alive.sort_by(|a, b| (a.started_at, &a.instance).cmp(&(b.started_at, &b.instance)));
    let others = alive.iter().filter(|worker| worker.instance != instance);
    let share = match alive.iter().position(|worker| worker.instance == instance) {
        Some(rank) => Share {
            workers: u32::try_from(alive.len()).unwrap_or(u32::MAX),
            rank: u32::try_from(rank).unwrap_or(u32::MAX),
        },
        None => Share::WHOLE,
    };
    View {
        share,
        others: others
            .map(|other| Progress {
                version: other.settled,
                holding: other.holding.iter().cloned().collect(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use webhook_model::UtcTime;

    use super::*;

    proptest! {
        #[test]
        fn shares_add_up(total in 0..2_000_u32, workers in 1..40_u32) {
            let shares = (0..workers).map(|rank| Share { workers, rank }.of(total));
            prop_assert_eq!(shares.clone().sum::<u32>(), total);
            let (least, most) = (shares.clone().min().unwrap(), shares.max().unwrap());
            prop_assert!(most - least <= 1);
        }
    }

    fn worker(instance: &str, started: i64, settled: i64) -> Worker {
        Worker {
            instance: instance.into(),
            name: String::new(),
            version: String::new(),
            started_at: UtcTime::from_micros(started),
            silent_for: Duration::ZERO,
            settled,
            holding: vec![format!("held by {instance}")],
        }
    }

    #[test]
    fn who_is_alone_for_good_beats_less_often() {
        assert_eq!(pause(false, true, 1), BEAT_ALONE);
        assert_eq!(pause(false, true, 2), BEAT, "a dead one is to be noticed");
        assert_eq!(pause(false, false, 1), BEAT, "another may come any time");
        assert_eq!(pause(true, true, 2), BEAT_WHILE_WAITING);
    }

    #[test]
    fn ranks_go_by_age() {
        let roll = Roll {
            alive: vec![worker("a", 3, 7), worker("b", 1, 9), worker("c", 2, 8)],
            version: 9,
        };
        for (instance, rank) in [("b", 0), ("c", 1), ("a", 2)] {
            let view = view(instance, &roll);
            assert_eq!(view.share, Share { workers: 3, rank });
            assert_eq!(view.others.len(), 2);
        }
    }

    #[test]
    fn who_works_by_an_older_version_or_holds_something_is_waited_for() {
        let progress = Progress {
            version: 7,
            holding: ["held".to_owned()].into(),
        };
        assert!(progress.is_past(7, "siem"));
        assert!(!progress.is_past(8, "siem"));
        assert!(!progress.is_past(7, "held"));
    }
}
