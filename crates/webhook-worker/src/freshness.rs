//! No message is sent under a configuration older than its arrival.
//!
//! A change of a subscription commits before its request is answered, and an event published
//! after that answer arrives later still. So whoever reads the configuration's version *after*
//! taking a message, and finds the version that is applied, knows that the message is sent as the
//! operator last asked. One query answers everybody who was waiting when it began, so the cost is
//! a query per batch of arrivals, not per message. It also makes the database's absence stop
//! consumption, as it must: without it no outcome could be recorded.

use std::{future::Future, time::Duration};

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Most callers that wait for one query; each is a pair task with a batch in hand.
const QUEUE: usize = 1_024;
/// Pause after a failed query: short, since everything waits for it.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// Where pair tasks ask. Clones share one checker.
#[derive(Debug, Clone)]
pub(crate) struct Freshness(mpsc::Sender<oneshot::Sender<()>>);

/// The configuration version was not confirmed: the worker is shutting down.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl Freshness {
    /// Returns once the applied configuration is known to be current as of this call.
    pub(crate) async fn confirm(&self) -> Result<(), Closed> {
        let (answer, confirmed) = oneshot::channel();
        self.0.send(answer).await.map_err(|_| Closed)?;
        confirmed.await.map_err(|_| Closed)
    }
}

/// The task behind [`Freshness`].
pub(crate) struct Checker {
    asked: mpsc::Receiver<oneshot::Sender<()>>,
    applied: watch::Receiver<i64>,
}

/// A checker that compares against the version the supervisor has `applied`.
pub(crate) fn channel(applied: watch::Receiver<i64>) -> (Freshness, Checker) {
    let (ask, asked) = mpsc::channel(QUEUE);
    (Freshness(ask), Checker { asked, applied })
}

impl Checker {
    /// Answers until `shutdown`. `version` reads the stored version; `reload` wakes the supervisor
    /// when it is ahead of the applied one.
    pub(crate) async fn run<F, E>(
        mut self,
        version: impl Fn() -> F,
        reload: &Notify,
        shutdown: CancellationToken,
    ) where
        F: Future<Output = Result<i64, E>>,
        E: std::fmt::Display,
    {
        let mut waiting = Vec::new();
        loop {
            waiting.clear();
            let received = tokio::select! {
                () = shutdown.cancelled() => return,
                received = self.asked.recv_many(&mut waiting, QUEUE) => received,
            };
            if received == 0 {
                return;
            }
            let confirmed = tokio::select! {
                () = shutdown.cancelled() => return,
                confirmed = self.confirm(&version, reload) => confirmed,
            };
            if !confirmed {
                return;
            }
            for answer in waiting.drain(..) {
                // Whoever asked may have been cancelled meanwhile.
                let _ = answer.send(());
            }
        }
    }

    async fn confirm<F, E>(&mut self, version: &impl Fn() -> F, reload: &Notify) -> bool
    where
        F: Future<Output = Result<i64, E>>,
        E: std::fmt::Display,
    {
        let mut warned = false;
        loop {
            match version().await {
                Ok(stored) if *self.applied.borrow() >= stored => return true,
                Ok(stored) => {
                    reload.notify_one();
                    return self
                        .applied
                        .wait_for(|applied| *applied >= stored)
                        .await
                        .is_ok();
                }
                Err(error) => {
                    if !warned {
                        tracing::warn!(%error, "cannot read the configuration version; nothing is sent until it can be read");
                        warned = true;
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    };

    use super::*;

    struct Rig {
        freshness: Freshness,
        stored: Arc<AtomicI64>,
        queries: Arc<AtomicU32>,
        applied: watch::Sender<i64>,
        reload: Arc<Notify>,
        shutdown: CancellationToken,
    }

    fn rig() -> Rig {
        let (applied, seen) = watch::channel(1);
        let (freshness, checker) = channel(seen);
        let rig = Rig {
            freshness,
            stored: Arc::new(AtomicI64::new(1)),
            queries: Arc::default(),
            applied,
            reload: Arc::default(),
            shutdown: CancellationToken::new(),
        };
        let (stored, queries) = (rig.stored.clone(), rig.queries.clone());
        let (reload, shutdown) = (rig.reload.clone(), rig.shutdown.clone());
        tokio::spawn(async move {
            let version = || async {
                queries.fetch_add(1, Ordering::SeqCst);
                match stored.load(Ordering::SeqCst) {
                    -1 => Err("away"),
                    version => Ok(version),
                }
            };
            checker.run(version, &reload, shutdown).await;
        });
        rig
    }

    #[tokio::test(start_paused = true)]
    async fn one_query_answers_everybody_who_waits() {
        let rig = rig();
        let asking: Vec<_> = (0..100)
            .map(|_| {
                let freshness = rig.freshness.clone();
                tokio::spawn(async move { freshness.confirm().await })
            })
            .collect();
        for task in asking {
            assert_eq!(task.await.unwrap(), Ok(()));
        }
        assert!(rig.queries.load(Ordering::SeqCst) <= 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_newer_version_is_applied_first() {
        let rig = rig();
        rig.stored.store(2, Ordering::SeqCst);
        let freshness = rig.freshness.clone();
        let asked = tokio::spawn(async move { freshness.confirm().await });
        rig.reload.notified().await;
        assert!(!asked.is_finished());
        rig.applied.send_replace(2);
        assert_eq!(asked.await.unwrap(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_absent_database_holds_everything_back() {
        let rig = rig();
        rig.stored.store(-1, Ordering::SeqCst);
        let freshness = rig.freshness.clone();
        let asked = tokio::spawn(async move { freshness.confirm().await });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!asked.is_finished());
        rig.stored.store(1, Ordering::SeqCst);
        assert_eq!(asked.await.unwrap(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_ends_the_wait() {
        let rig = rig();
        rig.stored.store(-1, Ordering::SeqCst);
        let freshness = rig.freshness.clone();
        let asked = tokio::spawn(async move { freshness.confirm().await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        rig.shutdown.cancel();
        assert_eq!(asked.await.unwrap(), Err(Closed));
    }
}
