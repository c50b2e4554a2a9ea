//! Database servers that end connections and die, in the middle of what is being recorded.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use webhook_model::{DeliveryStatus::Dead, Subscription};
use webhook_store::{DatabaseConfig, Store};
use webhook_testkit::{MariaDb, Postgres};

use crate::support::*;

const ROWS: u64 = 20;
/// Batches that must have been committed between two cuts.
const BETWEEN: u64 = 5;
const CUTS: usize = 8;

/// Records batch after batch, each until it is told that it is stored, as the worker does.
struct Recording {
    stop: CancellationToken,
    committed: Arc<tokio::sync::watch::Sender<u64>>,
    task: JoinHandle<u64>,
}

impl Recording {
    fn start(store: Store, made: Subscription) -> Self {
        let stop = CancellationToken::new();
        let committed = Arc::new(tokio::sync::watch::Sender::new(0));
        let task = tokio::spawn({
            let (stop, committed) = (stop.clone(), committed.clone());
            async move {
                let (mut batches, mut failures) = (0, 0);
                while !stop.is_cancelled() {
                    let seqs = batches * ROWS..(batches + 1) * ROWS;
                    let batch: Vec<_> = seqs.map(|seq| record(&made, "p", seq, Dead)).collect();
                    while let Err(error) = store.record(&batch).await {
                        assert!(error.is_connection(), "{error}");
                        failures += 1;
                    }
                    batches += 1;
                    committed.send_replace(batches);
                }
                assert!(failures > 0, "nothing was in the middle of anything");
                batches
            }
        });
        Self {
            stop,
            committed,
            task,
        }
    }

    async fn goes_on(&self) {
        let now = *self.committed.borrow();
        let mut committed = self.committed.subscribe();
        let further = committed.wait_for(|batches| *batches >= now + BETWEEN);
        further.await.expect("it goes on");
    }

    async fn finish(self) -> u64 {
        self.stop.cancel();
        self.task.await.expect("it does not panic")
    }
}

async fn started(url: &str) -> (Store, Subscription) {
    let mut config = DatabaseConfig::new(url);
    // Soon enough for a test that looks again at once.
    config.acquire_timeout = std::time::Duration::from_secs(2);
    let store = Store::open(&config).await.unwrap();
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    (store, made)
}

/// Cuts again and again while outcomes are recorded; each is there, and counted, once.
async fn survives(url: &str, mut cut: impl AsyncFnMut()) {
    let (store, made) = started(url).await;
    let recording = Recording::start(store, made.clone());
    for _ in 0..CUTS {
        recording.goes_on().await;
        cut().await;
    }
    recording.goes_on().await;
    let batches = recording.finish().await;

    let store = Store::open(&DatabaseConfig::new(url)).await.unwrap();
    let seqs: Vec<u64> = (0..batches * ROWS).collect();
    let seen = store.seen(&made.uuid, "bus-a", &seqs).await.unwrap();
    assert_eq!(seen.len(), seqs.len());
    let read = store.get(&made.uuid).await.unwrap().unwrap();
    assert_eq!(u64::from(read.consecutive_failures), batches * ROWS);
}

#[tokio::test]
async fn postgres_ends_every_session_in_the_middle() {
    let server = Postgres::start().await;
    let url = server.database().await;
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE pid <> pg_backend_pid() AND datname = current_database()";
    survives(&url, async || server.execute(&url, others).await).await;
}

#[tokio::test]
async fn postgres_is_killed_in_the_middle() {
    let mut server = Postgres::start().await;
    let url = server.database().await;
    survives(&url, async || server.restart().await).await;
}

#[tokio::test]
#[ignore = "MariaDB: cargo xtask test --full"]
async fn mariadb_is_killed_in_the_middle() {
    let mut server = MariaDb::start().await;
    let url = server.database().await;
    survives(&url, async || server.restart().await).await;
}
