//! Starts and stops the server under test.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use webhook_api::{
    ApiConfig, ApiDeps, ApiError, ApiServer, ApiStats, Scrape,
    tokens::{self, Grant, JwtSecret, Minted, Role},
};
use webhook_bus::{Bus, Journal, JournalConfig};
use webhook_delivery::{DeliveryClient, DeliveryConfig, EgressPolicy};
use webhook_store::{DatabaseConfig, Store};

use crate::client::{Reply, exchange};

pub(crate) const JWT_KEY: &str = "a-key-of-this-test-a-key-of-this-test";

/// A running server. Tests end it with [`Server::stop`], which asserts that it ended well.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) admin: String,
    pub(crate) stats: ApiStats,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), ApiError>>,
    dir: TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(0, |_| {}).await
    }

    /// With other settings than the defaults.
    pub(crate) async fn configured(change: impl FnOnce(&mut ApiConfig)) -> Self {
        Self::start_with(0, change).await
    }

    /// Pages of these origins may call.
    pub(crate) async fn start_for_origins(origins: &[&str]) -> Self {
        let origins = origins.iter().map(|it| (*it).to_owned()).collect();
        Self::configured(|config| config.cors_origins = origins).await
    }

    /// With a bus that refuses to publish: no disk has that much space left.
    pub(crate) async fn start_refusing() -> Self {
        Self::start_with(u64::MAX, |_| {}).await
    }

    async fn start_with(min_free_bytes: u64, change: impl FnOnce(&mut ApiConfig)) -> Self {
        crate::logs::capture();
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/decnet.db", dir.path().display());
        let store = Store::open(&DatabaseConfig::new(url)).await.unwrap();
        let bus = journal(dir.path().join("journal.db"), min_free_bytes).await;
        let egress = EgressPolicy::default().allow_cidrs(vec!["127.0.0.0/8".parse().unwrap()]);
        let delivery = DeliveryClient::new(DeliveryConfig {
            egress,
            attempt_timeout: Duration::from_secs(2),
            ..DeliveryConfig::default()
        })
        .unwrap();
        let mut config = ApiConfig::new(JwtSecret::parse(JWT_KEY).unwrap());
        config.port = 0;
        change(&mut config);
        let stats = ApiStats::default();
        let deps = ApiDeps {
            store: store.clone(),
            bus: bus.clone(),
            delivery,
            stats: stats.clone(),
            scrape: scrape(),
            worker: None,
        };
        let server = ApiServer::bind(config, deps).await.unwrap();
        let shutdown = CancellationToken::new();
        Self {
            addr: server.addr(),
            store,
            bus,
            admin: token(Role::Admin),
            stats,
            task: tokio::spawn(server.run(shutdown.clone())),
            shutdown,
            dir,
        }
    }

    pub(crate) async fn stop(self) {
        let (store, bus) = (self.store.clone(), self.bus.clone());
        let _dir = self.stop_keeping_files().await;
        bus.close().await.unwrap();
        store.close().await.unwrap();
    }

    /// Stops the server, and nothing else.
    pub(crate) async fn stop_keeping_files(self) -> TempDir {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(20), self.task).await;
        ended.expect("ends").expect("no panic").expect("no error");
        self.dir
    }

    pub(crate) fn shutdown(&self) {
        self.shutdown.cancel();
    }

    /// A second connection to the database, as DECNET has one.
    pub(crate) fn sqlite(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.dir.path().join("decnet.db")).unwrap()
    }

    /// Sends a request as an admin.
    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        self.send_as(&self.admin, method, path, body).await
    }

    pub(crate) async fn send_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Reply {
        let auth = format!("Authorization: Bearer {token}\r\n");
        match body {
            Some(body) => {
                let headers = format!("{auth}Content-Type: application/json\r\n");
                self.raw(method, path, &headers, body.to_string().as_bytes())
                    .await
            }
            None => self.raw(method, path, &auth, b"").await,
        }
    }

    /// Sends a request with exactly these headers beside those that HTTP demands.
    pub(crate) async fn raw(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        exchange(self.addr, request).await
    }

    /// Creates a subscription to `attacker.>` and returns its uuid.
    pub(crate) async fn create(&self, name: &str) -> String {
        let body =
            json!({"name": name, "url": "https://siem.example/", "topic_patterns": ["attacker.>"]});
        let reply = self.send("POST", "/api/v1/webhooks", Some(&body)).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json()["uuid"].as_str().unwrap().to_owned()
    }
}

/// What `/metrics` answers here.
pub(crate) const SCRAPED: &str = "# what the program says\n";

pub(crate) fn scrape() -> Scrape {
    Arc::new(|| Box::pin(async { SCRAPED.to_owned() }))
}

pub(crate) fn token(role: Role) -> String {
    let secret = JwtSecret::parse(JWT_KEY).unwrap();
    tokens::mint(&secret, role, "tester", Duration::from_secs(600))
}

/// A publisher's token with more in it.
pub(crate) fn publisher<'a>(change: impl FnOnce(&mut Grant<'a>)) -> Minted {
    let mut grant = Grant {
        role: Role::Publisher,
        username: "sensor-7",
        ttl: Duration::from_secs(600),
        topics: &[],
        events_per_second: None,
        bytes_per_second: None,
        bus_share_percent: None,
    };
    change(&mut grant);
    tokens::mint_grant(&JwtSecret::parse(JWT_KEY).unwrap(), &grant)
}

async fn journal(path: PathBuf, min_free_bytes: u64) -> Bus {
    let mut config = JournalConfig::new(path, webhook_bus::Role::Worker);
    config.min_free_bytes = min_free_bytes;
    Bus::from(Journal::open(config).await.unwrap())
}
