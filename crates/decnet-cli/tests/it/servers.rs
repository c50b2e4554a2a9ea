//! Several workers as processes on NATS JetStream and PostgreSQL, or one on MariaDB, under 500 events
//! a second, while something they need is killed.

use std::{path::Path, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    sync::{Mutex, MutexGuard},
    task::JoinHandle,
    time::{interval, sleep},
};
use tokio_util::sync::CancellationToken;
use webhook_testkit::{
    Behaviour, MariaDb, NatsCluster, NatsServer, Postgres, Receiver, Reconciler, long_or_short,
};

use crate::{
    real_day::{Publisher, day},
    support::{Api, Decnet, Listen, PATIENCE, Starter, data_dir},
};

/// Events of one request, and how often there is one: 500 a second.
const BATCH: usize = 25;
const EVERY: Duration = Duration::from_millis(50);
/// What the default window lets one worker have in hand.
const WINDOW: usize = 64;

/// A server takes a core: one installation at a time.
static MACHINE: Mutex<()> = Mutex::const_new(());

enum Nats {
    One(NatsServer),
    Three(NatsCluster),
}

impl Nats {
    fn url(&self) -> String {
        match self {
            Self::One(server) => server.url(),
            Self::Three(cluster) => cluster.urls().join(","),
        }
    }
}

/// The server of the database.
enum Engine {
    Postgres(Postgres),
    MariaDb(MariaDb),
}

impl Engine {
    /// How many workers are promised to share it.
    fn workers(&self) -> usize {
        match self {
            Self::Postgres(_) => 2,
            Self::MariaDb(_) => 1,
        }
    }

    async fn database(&self) -> String {
        match self {
            Self::Postgres(server) => server.database().await,
            Self::MariaDb(server) => server.database().await,
        }
    }

    fn kill(&mut self) {
        match self {
            Self::Postgres(server) => server.kill(),
            Self::MariaDb(server) => server.kill(),
        }
    }

    async fn start_again(&mut self) {
        match self {
            Self::Postgres(server) => server.start_again().await,
            Self::MariaDb(server) => server.start_again().await,
        }
    }
}

struct Installation {
    dir: TempDir,
    nats: Nats,
    engine: Engine,
    database: String,
    api: Decnet,
    workers: Vec<Decnet>,
    receiver: Receiver,
    _turn: MutexGuard<'static, ()>,
}

impl Installation {
    async fn start(nats: Nats, engine: Engine, turn: MutexGuard<'static, ()>) -> Self {
        let dir = data_dir();
        let database = engine.database().await;
        let start = |command: &str| starter(command, dir.path(), &nats, &database).start();
        let (api, mut workers) = (start("api").await, Vec::new());
        for _ in 0..engine.workers() {
            workers.push(start("webhook").await);
        }
        let receiver = Receiver::builder(Behaviour::ok())
            .secret(Listen::SECRET)
            .without_bodies()
            .start()
            .await;
        let admin = api.api().await;
        admin
            .subscribe("siem", &receiver.url(), Listen::SECRET, &["attacker.>"])
            .await;
        Self {
            dir,
            nats,
            engine,
            database,
            api,
            workers,
            receiver,
            _turn: turn,
        }
    }

    async fn start_worker(&mut self) {
        let starter = starter("webhook", self.dir.path(), &self.nats, &self.database);
        self.workers.push(starter.start().await);
    }

    /// Publishes until the token is cancelled; gives the ids that were promised.
    async fn publisher(&self) -> (CancellationToken, JoinHandle<Vec<String>>) {
        let api = self.api.api().await;
        let stop = CancellationToken::new();
        let task = tokio::spawn(publish(api, stop.clone()));
        (stop, task)
    }

    /// Has everything that was promised arrive, ends, and returns how many came again.
    async fn reconciled(mut self, promised: Vec<String>) -> usize {
        self.receiver
            .wait_until(
                |log| promised.iter().all(|id| log.times(id) > 0),
                PATIENCE * 2,
            )
            .await;
        for process in self.workers.iter_mut().chain([&mut self.api]) {
            let ended = process.terminate().await;
            assert!(ended.success(), "{ended}: {:#?}", process.log().all());
        }
        let mut reconciler = Reconciler::new();
        for id in &promised {
            reconciler.expect("siem", id);
        }
        reconciler.receive_all("siem", &self.receiver.received());
        let report = reconciler.report();
        assert!(report.lost.is_empty(), "{report}");
        let again = self.receiver.log(|log| log.duplicates());
        eprintln!("{} promised, {again} came again", promised.len());
        again
    }
}

fn starter(command: &str, dir: &Path, nats: &Nats, database: &str) -> Starter {
    let replicas = match nats {
        Nats::One(_) => "1",
        Nats::Three(_) => "3",
    };
    Starter::new(command, dir)
        .var("DECNET_NATS_REPLICAS", replicas)
        .var("DECNET_BUS_URL", &nats.url())
        .var("DECNET_DATABASE_URL", database)
}

async fn publish(api: Api, stop: CancellationToken) -> Vec<String> {
    let mut promised = Vec::new();
    let mut ticks = interval(EVERY);
    while !stop.is_cancelled() {
        ticks.tick().await;
        let ids: Vec<String> = (0..BATCH)
            .map(|n| format!("event-{}", promised.len() + n))
            .collect();
        let events: Vec<Value> = ids
            .iter()
            .map(|id| json!({"id": id, "topic": "attacker.observed", "payload": {"n": 1}}))
            .collect();
        // The same ids again until they are taken: the bus knows them.
        loop {
            let body = Some(Value::from(events.clone()));
            let (status, answer) = api.ask(Method::POST, "/api/v1/events", body).await;
            match status {
                202 => break,
                503 => ticks.tick().await,
                _ => panic!("{status}: {answer}"),
            };
        }
        promised.extend(ids);
    }
    promised
}

/// Lets something happen in the middle of the load; returns how many events came again.
async fn under_load(
    nats: Nats,
    engine: Engine,
    happens: impl AsyncFnOnce(&mut Installation),
) -> usize {
    let turn = MACHINE.lock().await;
    let mut installation = Installation::start(nats, engine, turn).await;
    let (stop, publisher) = installation.publisher().await;
    installation.receiver.wait_for(500, PATIENCE).await;
    happens(&mut installation).await;
    let more = installation.receiver.count() + long_or_short(5_000, 500);
    installation.receiver.wait_for(more, PATIENCE).await;
    stop.cancel();
    let promised = publisher.await.expect("the publisher does not panic");
    installation.reconciled(promised).await
}

async fn one_nats() -> Nats {
    Nats::One(NatsServer::start().await)
}

async fn postgres() -> Engine {
    Engine::Postgres(Postgres::start().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_is_killed_and_comes_back() {
    let again = under_load(one_nats().await, postgres().await, async |installation| {
        if let Nats::One(server) = &mut installation.nats {
            server.restart().await;
        }
    })
    .await;
    assert!(again <= 2 * WINDOW, "{again} came again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_of_three_is_killed() {
    let nats = Nats::Three(NatsCluster::start().await);
    let again = under_load(nats, postgres().await, async |installation| {
        if let Nats::Three(cluster) = &mut installation.nats {
            cluster.kill_leader("DECNET").await;
        }
    })
    .await;
    assert!(again <= 2 * WINDOW, "{again} came again");
}

async fn killed_database(engine: Engine) -> usize {
    under_load(one_nats().await, engine, async |installation| {
        installation.engine.kill();
        installation.engine.start_again().await;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_killed_and_comes_back() {
    let again = killed_database(postgres().await).await;
    assert!(again <= 2 * WINDOW, "{again} came again");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_is_killed() {
    let again = under_load(one_nats().await, postgres().await, async |installation| {
        let mut killed = installation.workers.pop().expect("there are two");
        killed.kill().await;
    })
    .await;
    assert!(again <= WINDOW, "{again} came again");
}

async fn killed_workers(engine: Engine) -> usize {
    under_load(one_nats().await, engine, async |installation| {
        for mut killed in std::mem::take(&mut installation.workers) {
            killed.kill().await;
        }
        // How long nobody delivers.
        sleep(Duration::from_secs(5)).await;
        for _ in 0..installation.engine.workers() {
            installation.start_worker().await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_workers_are_killed_and_come_back() {
    let again = killed_workers(postgres().await).await;
    assert!(again <= 2 * WINDOW, "{again} came again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_waits_for_a_database_that_is_away() {
    let nats = one_nats().await;
    let turn = MACHINE.lock().await;
    let mut installation = Installation::start(nats, postgres().await, turn).await;
    for mut worker in std::mem::take(&mut installation.workers) {
        assert!(worker.terminate().await.success());
    }
    let id = installation.api.api().await;
    let id = id.publish("attacker.observed", json!({})).await;
    installation.engine.kill();
    let (dir, database) = (installation.dir.path(), &installation.database);
    let waiting = starter("webhook", dir, &installation.nats, database).spawn();
    waiting
        .log()
        .wait_for("idle until the database answers")
        .await;
    installation.workers.push(waiting);
    installation.engine.start_again().await;
    assert_eq!(installation.reconciled(vec![id]).await, 0);
}

async fn day_comes_out_once(engine: Engine) {
    let nats = one_nats().await;
    let turn = MACHINE.lock().await;
    let installation = Installation::start(nats, engine, turn).await;
    let (dir, url) = (installation.dir.path(), installation.api.url());
    let publisher = Publisher::start(dir, url, &day(dir), &[]);
    let ids: Vec<String> = publisher.finish().await.into_iter().collect();
    installation.receiver.wait_for(ids.len(), PATIENCE).await;
    let received = installation.receiver.received();
    assert!(received.iter().all(|it| it.is_verified()));
    assert_eq!(installation.reconciled(ids).await, 0, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_day_comes_out_once_with_two_workers() {
    day_comes_out_once(postgres().await).await;
}

mod mariadb {
    use super::*;

    async fn mariadb() -> Engine {
        Engine::MariaDb(MariaDb::start().await)
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "MariaDB: cargo xtask test --full"]
    async fn the_day_comes_out_once() {
        day_comes_out_once(mariadb().await).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "MariaDB: cargo xtask test --full"]
    async fn the_database_is_killed_and_comes_back() {
        let again = killed_database(mariadb().await).await;
        assert!(again <= WINDOW, "{again} came again");
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "MariaDB: cargo xtask test --full"]
    async fn the_worker_is_killed_and_comes_back() {
        let again = killed_workers(mariadb().await).await;
        assert!(again <= WINDOW, "{again} came again");
    }
}
