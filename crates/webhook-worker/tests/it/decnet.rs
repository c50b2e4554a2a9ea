//! A day in a life beside DECNET: it writes the shared table and nothing else, while events flow and
//! the worker restarts. What arrives is exactly what each state of the row asked for.

use std::time::Duration;

use rusqlite::{Connection, params};
use webhook_store::Snapshot;
use webhook_testkit::{Behaviour, Receiver, Reconciler};
use webhook_worker::WorkerConfig;

use crate::rig::{PATIENCE, Rig, SECRET};

const UUID: &str = "b0a1f2c3-0000-4000-8000-00000000d0c7";
/// Events of each chapter.
const EVENTS: usize = 10;

struct Day {
    rig: Rig,
    decnet: Connection,
    reconciler: Reconciler,
    /// Whether the worker is down while DECNET writes.
    restarts: bool,
}

fn config() -> WorkerConfig {
    WorkerConfig {
        circuit_threshold: 1,
        // Nobody but DECNET's operator switches it on again within this test.
        cool_down: Duration::from_secs(600),
        ..WorkerConfig::default()
    }
}

impl Day {
    async fn new(restarts: bool) -> Self {
        let mut rig = Rig::new().await;
        rig.start_with(config());
        let decnet = Connection::open(rig.dir.path().join("decnet.db")).unwrap();
        decnet.busy_timeout(Duration::from_secs(5)).unwrap();
        Self {
            rig,
            decnet,
            reconciler: Reconciler::new(),
            restarts,
        }
    }

    /// DECNET writes, and says so; waits until the worker works by it.
    async fn write(&mut self, sql: &str, values: &[&str], done: impl Fn(&Snapshot) -> bool) {
        if self.restarts {
            self.rig.drain().await;
        }
        let mut all = vec![UUID];
        all.extend(values);
        let written = self.decnet.execute(sql, rusqlite::params_from_iter(all));
        assert_eq!(written.unwrap(), 1, "{sql}");
        if self.restarts {
            self.rig.start_with(config());
        } else {
            self.rig.signal().await;
        }
        let seen = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            loop {
                ticks.tick().await;
                let snapshot = self.rig.store.snapshot().await.unwrap();
                if snapshot.out_of_step.is_empty() && done(&snapshot) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, seen)
            .await
            .unwrap_or_else(|_| panic!("not seen: {sql}"));
    }

    /// Events that are to arrive at this receiver.
    async fn owed(&mut self, topic: &str, to: &str) {
        for id in self.rig.publish_many(topic, EVENTS).await {
            self.reconciler.expect(to, &id);
        }
    }

    async fn arrived(&self, receiver: &Receiver, count: usize) {
        receiver
            .wait_until(|log| log.unique() >= count, PATIENCE)
            .await;
    }
}

fn live(count: usize) -> impl Fn(&Snapshot) -> bool {
    move |snapshot| {
        let pairs = snapshot.subscriptions.iter().map(|view| view.pairs.len());
        pairs.sum::<usize>() == count
    }
}

async fn lived(restarts: bool) {
    let mut day = Day::new(restarts).await;
    let (a, b) = (
        Receiver::builder(Behaviour::ok())
            .secret(SECRET)
            .start()
            .await,
        Receiver::builder(Behaviour::ok())
            .secret(SECRET)
            .start()
            .await,
    );
    day.rig.publish_many("attacker.observed", EVENTS).await;
    let create = "INSERT INTO webhook_subscriptions (uuid, name, url, secret, topic_patterns,
        enabled, consecutive_failures, created_at, updated_at)
        VALUES (?1, 'siem', ?2, ?3, '[\"attacker.>\"]', 1, 0,
        '2026-04-24 12:00:00.000000', '2026-04-24 12:00:00.000000')";
    day.write(create, &[&a.url(), SECRET], live(1)).await;
    day.owed("attacker.observed", "a").await;
    day.arrived(&a, EVENTS).await;

    let moved = "UPDATE webhook_subscriptions SET url = ?2 WHERE uuid = ?1";
    day.write(moved, &[&b.url()], live(1)).await;
    day.owed("attacker.observed", "b").await;
    day.arrived(&b, EVENTS).await;

    let widened = "UPDATE webhook_subscriptions SET topic_patterns = ?2 WHERE uuid = ?1";
    day.write(widened, &[r#"["attacker.>","decky.>"]"#], live(2))
        .await;
    day.owed("decky.d1.state", "b").await;
    day.arrived(&b, 2 * EVENTS).await;

    // It trips, and DECNET's operator switches it on again.
    b.behave(Behaviour::status(503));
    day.owed("attacker.observed", "b").await;
    let tripped = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while (day.rig.store.get(UUID).await.unwrap().unwrap().state)
            .auto_disabled_at()
            .is_none()
        {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, tripped).await.unwrap();
    day.owed("decky.d1.state", "b").await;
    b.behave(Behaviour::ok());
    // What a round had failed of is due by its schedule; correcting the secret has it sent as soon as
    // anything is.
    let rotated = "UPDATE webhook_subscriptions SET secret = ?2 WHERE uuid = ?1";
    b.trust("another-secret-of-the-tests");
    day.write(rotated, &["another-secret-of-the-tests"], live(2))
        .await;
    let enabled = "UPDATE webhook_subscriptions SET enabled = 1, auto_disabled_at = NULL,
        consecutive_failures = 0, last_error = NULL WHERE uuid = ?1";
    day.write(enabled, &[], live(2)).await;
    day.arrived(&b, 4 * EVENTS).await;

    let paused = "UPDATE webhook_subscriptions SET enabled = 0 WHERE uuid = ?1";
    day.write(paused, &[], live(0)).await;
    day.rig.publish_many("attacker.observed", EVENTS).await;
    let resumed = "UPDATE webhook_subscriptions SET enabled = 1 WHERE uuid = ?1";
    day.write(resumed, &[], live(2)).await;
    day.owed("attacker.observed", "b").await;
    day.arrived(&b, 5 * EVENTS).await;

    let deleted = "DELETE FROM webhook_subscriptions WHERE uuid = ?1";
    day.write(deleted, &[], |it| it.subscriptions.is_empty())
        .await;
    day.rig.publish_many("attacker.observed", EVENTS).await;
    day.rig.drain().await;

    for (name, receiver) in [("a", &a), ("b", &b)] {
        let taken = receiver.received();
        day.reconciler
            .receive_all(name, taken.iter().filter(|it| it.is_taken()));
    }
    day.reconciler.report().assert_exact();
    let left: i64 = day
        .decnet
        .query_row(
            "SELECT count(*) FROM webhook_pairs WHERE uuid = ?1 AND end_seq IS NULL",
            params![UUID],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_each_state_of_its_row_asked_for_arrives() {
    lived(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_writes_while_the_worker_is_down_counts_from_its_start_on() {
    lived(true).await;
}
