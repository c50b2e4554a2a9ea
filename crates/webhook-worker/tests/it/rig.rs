//! One installation: a store, a bus, workers that can be started and drained. With a journal and
//! SQLite in a temporary directory, or on a nats-server and a PostgreSQL of its own.

mod log;

use std::{path::PathBuf, time::Duration};

use tempfile::TempDir;
use tokio::{
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use webhook_bus::{Bus, JetStream, JetStreamConfig, Journal, JournalConfig, Publication, Role};
use webhook_delivery::{DeliveryClient, DeliveryConfig, EgressPolicy};
use webhook_model::{
    EndpointUrl, Event, Secret, Settings, Subscription, SubscriptionName, TopicPattern,
};
use webhook_store::{DatabaseConfig, NewSubscription, Patched, Position, Store, SubscriptionPatch};
use webhook_testkit::{NatsServer, Postgres, event};
use webhook_worker::{DrainReport, WorkerConfig, WorkerDeps, WorkerError, WorkerStatus, run};

/// Longest wait for anything a test expects: far beyond what it takes, short of a hung run.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const SECRET: &str = "a-secret-of-the-tests";

/// Tests share the machine, but one that measures time has it to itself.
static MACHINE: RwLock<()> = RwLock::const_new(());

enum Share {
    One(#[expect(dead_code, reason = "held for its drop")] RwLockReadGuard<'static, ()>),
    All(#[expect(dead_code, reason = "held for its drop")] RwLockWriteGuard<'static, ()>),
}

pub(crate) struct Rig {
    _share: Share,
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) dir: TempDir,
    pub(crate) servers: Option<Servers>,
    workers: Vec<Worker>,
}

/// What several workers share.
pub(crate) struct Servers {
    pub(crate) nats: NatsServer,
    pub(crate) postgres: Postgres,
    database: String,
}

impl Servers {
    async fn start() -> Self {
        let (nats, postgres) = tokio::join!(NatsServer::start(), Postgres::start());
        let database = postgres.database().await;
        Self {
            nats,
            postgres,
            database,
        }
    }

    async fn open(&self) -> (Store, Bus) {
        let store = Store::open(&DatabaseConfig::new(&self.database)).await;
        let config = JetStreamConfig::parse(&self.nats.url()).unwrap();
        let bus = JetStream::open(config).await;
        (store.unwrap(), Bus::from(bus.unwrap()))
    }
}

struct Worker {
    task: JoinHandle<Result<DrainReport, WorkerError>>,
    shutdown: CancellationToken,
    status: WorkerStatus,
}

impl Worker {
    async fn end(self) -> Result<DrainReport, WorkerError> {
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("the worker ends")
            .expect("the worker does not panic")
    }
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(Share::One(MACHINE.read().await)).await
    }

    /// A rig beside which no other test of this binary runs.
    pub(crate) async fn alone() -> Self {
        Self::with(Share::All(MACHINE.write().await)).await
    }

    async fn with(share: Share) -> Self {
        let dir = webhook_testkit::temp_dir();
        Self {
            _share: share,
            store: open_store(dir.path().join("decnet.db")).await,
            bus: open_bus(dir.path().join("journal.db")).await,
            dir,
            servers: None,
            workers: Vec::new(),
        }
    }

    /// A rig on NATS JetStream and PostgreSQL. A server takes a core: it is alone, too.
    pub(crate) async fn on_servers() -> Self {
        let share = Share::All(MACHINE.write().await);
        let servers = Servers::start().await;
        let (store, bus) = servers.open().await;
        Self {
            _share: share,
            store,
            bus,
            dir: webhook_testkit::temp_dir(),
            servers: Some(servers),
            workers: Vec::new(),
        }
    }

    /// Starts one more worker with connections of its own.
    pub(crate) async fn add_worker(&mut self, config: WorkerConfig) {
        let servers = self.servers.as_ref().expect("a rig on servers");
        let (store, bus) = servers.open().await;
        self.spawn(store, bus, config);
    }

    /// Waits until that many workers know of each other.
    pub(crate) async fn workers_alive(&self, count: usize) {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        let alive = async {
            while self.store.workers().await.unwrap().len() != count {
                ticks.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, alive)
            .await
            .expect("the workers are on the roll");
    }

    /// Ends the youngest worker; the others go on.
    pub(crate) async fn drain_one(&mut self) -> DrainReport {
        let worker = self.workers.pop().expect("a worker runs");
        worker.shutdown.cancel();
        worker.end().await.expect("a worker that drains")
    }

    /// A rig whose worker runs.
    pub(crate) async fn started() -> Self {
        let mut rig = Self::new().await;
        rig.start();
        rig
    }

    pub(crate) fn start(&mut self) {
        self.start_with(WorkerConfig::default());
    }

    pub(crate) fn start_with(&mut self, config: WorkerConfig) {
        self.spawn(self.store.clone(), self.bus.clone(), config);
    }

    fn spawn(&mut self, store: Store, bus: Bus, config: WorkerConfig) {
        let deps = WorkerDeps {
            store,
            bus,
            delivery: loopback_client(),
            gaps: None,
            fed: None,
        };
        let (shutdown, status) = (CancellationToken::new(), WorkerStatus::default());
        let task = tokio::spawn(run(deps, config, status.clone(), shutdown.clone()));
        self.workers.push(Worker {
            task,
            shutdown,
            status,
        });
    }

    pub(crate) fn status(&self) -> WorkerStatus {
        self.workers.first().expect("a worker runs").status.clone()
    }

    /// Orders the workers to stop.
    pub(crate) fn shut_down(&self) {
        assert!(!self.workers.is_empty(), "a worker runs");
        for worker in &self.workers {
            worker.shutdown.cancel();
        }
    }

    /// Waits for the workers' end, and says how the last of them ended.
    pub(crate) async fn ended(&mut self) -> Result<DrainReport, WorkerError> {
        let mut last = None;
        for worker in self.workers.drain(..) {
            last = Some(worker.end().await);
        }
        last.expect("a worker runs")
    }

    pub(crate) async fn drain(&mut self) -> DrainReport {
        self.shut_down();
        self.ended().await.expect("a worker that drains")
    }

    pub(crate) async fn position(&self) -> Position {
        let position = self.bus.position().await.unwrap();
        Position {
            incarnation: position.incarnation,
            next_seq: position.next_seq,
        }
    }

    /// As the API does it: the bus position, then the row, then the signal.
    pub(crate) async fn subscribe(&self, name: &str, url: &str, patterns: &[&str]) -> Subscription {
        self.subscribe_with(name, url, patterns, Settings::default())
            .await
    }

    pub(crate) async fn subscribe_with(
        &self,
        name: &str,
        url: &str,
        patterns: &[&str],
        settings: Settings,
    ) -> Subscription {
        let new = NewSubscription {
            name: SubscriptionName::parse(name).unwrap(),
            url: EndpointUrl::parse(url).unwrap(),
            secret: Secret::parse(SECRET).unwrap(),
            topic_patterns: parse(patterns),
            enabled: true,
            settings,
        };
        let created = self
            .store
            .create(new, &self.position().await)
            .await
            .unwrap();
        self.signal().await;
        created
    }

    pub(crate) async fn patch(&self, uuid: &str, patch: SubscriptionPatch) -> Patched {
        let position = self.position().await;
        let patched = self.store.patch(uuid, patch, &position).await.unwrap();
        self.signal().await;
        patched.expect("the subscription exists")
    }

    pub(crate) async fn signal(&self) {
        self.publish_raw(
            "system.webhook.subscriptions_changed",
            br#"{"v":1,"payload":{}}"#,
        )
        .await;
    }

    /// Publishes an event of this topic and returns its id.
    pub(crate) async fn publish(&self, topic: &str) -> String {
        let event = event(topic);
        self.publish_event(&event).await;
        event.id.to_string()
    }

    pub(crate) async fn publish_many(&self, topic: &str, count: usize) -> Vec<String> {
        let events: Vec<Event> = (0..count).map(|_| event(topic)).collect();
        let batch = events.iter().map(publication).collect();
        self.bus.publish(batch).await.unwrap();
        events
            .into_iter()
            .map(|event| event.id.to_string())
            .collect()
    }

    pub(crate) async fn publish_event(&self, event: &Event) {
        self.bus.publish(vec![publication(event)]).await.unwrap();
    }

    pub(crate) async fn publish_raw(&self, topic: &str, bytes: &[u8]) {
        let publication = Publication {
            topic: webhook_model::Topic::parse(topic).unwrap(),
            bytes: bytes.to_vec().into(),
            dedup: None,
        };
        self.bus.publish(vec![publication]).await.unwrap();
    }
}

pub(crate) fn parse(patterns: &[&str]) -> Vec<TopicPattern> {
    patterns
        .iter()
        .map(|p| TopicPattern::parse(p).unwrap())
        .collect()
}

pub(crate) async fn open_store(path: PathBuf) -> Store {
    let url = format!("sqlite://{}", path.display());
    Store::open(&DatabaseConfig::new(url)).await.unwrap()
}

pub(crate) async fn open_bus(path: PathBuf) -> Bus {
    Bus::from(
        Journal::open(JournalConfig::new(path, Role::Worker))
            .await
            .unwrap(),
    )
}

/// A client that reaches loopback, where every receiver of the tests is, and nothing else private.
pub(crate) fn loopback_client() -> DeliveryClient {
    let egress = EgressPolicy::default().allow_cidrs(vec!["127.0.0.0/8".parse().unwrap()]);
    DeliveryClient::new(DeliveryConfig {
        egress,
        ..DeliveryConfig::default()
    })
    .unwrap()
}

fn publication(event: &Event) -> Publication {
    Publication {
        topic: event.topic.clone(),
        bytes: event.envelope(),
        dedup: None,
    }
}
