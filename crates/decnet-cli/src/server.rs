//! What `serve`, `api` and `webhook` have in common: open, start the parts, wait, stop, say how.

mod api_url;
mod banner;
mod endings;
mod feed;
mod files;
mod first_token;
mod open_bus;
mod patience;

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use webhook_api::{
    ApiConfig, ApiDeps, ApiServer, FirstToken, ProbeServer, WorkerHere, WorkerReport,
    tokens::JwtSecret,
};
use webhook_bus::{Bus, BusServer, FeedStatus};
use webhook_delivery::DeliveryClient;
use webhook_store::Store;
use webhook_worker::{DrainReport, Phase, WorkerDeps, WorkerStatus};

use self::{
    api_url::ApiUrl,
    endings::{Ended, PartTasks},
    feed::Feed,
    open_bus::open_bus,
    patience::Patience,
};
pub(crate) use self::{
    banner::{banner, fact},
    first_token::first_token,
};
use crate::{
    metrics::{Metrics, Tells},
    output,
    settings::{BusChoice, DataDir, ServerSettings},
};

/// Reports of what retention took that may wait for the worker; the log has the others.
const GAP_REPORTS: usize = 1_024;
/// What may come after the worker's own drain deadline: commits, and requests that just ended.
const STOP_MARGIN: Duration = Duration::from_secs(4);
/// Pause between two looks at whether the worker has started; nobody notices less.
const READY_POLL: Duration = Duration::from_millis(10);
/// How long a worker's consumers may take to open before it is called started without them: ten
/// thousand take ten seconds.
const OPENING_WITHIN: Duration = Duration::from_secs(60);

/// Which parts run in this process.
pub(crate) struct Parts {
    /// The API, with the key of its tokens, and the token whose use is awaited.
    pub(crate) api: Option<(JwtSecret, Option<FirstToken>)>,
    /// The worker, and DECNET's socket with it.
    pub(crate) worker: bool,
    /// Where health is served when there is no API.
    pub(crate) probe: Option<SocketAddr>,
    /// Standard output leads to a parent that waits for this process to be ready.
    pub(crate) ready_pipe: bool,
}

/// Parts that share one store, one bus and one delivery client.
pub(crate) struct Server {
    shutdown: CancellationToken,
    tasks: PartTasks,
    store: Store,
    bus: Bus,
    status: WorkerStatus,
    metrics: Arc<Metrics>,
    runs_worker: bool,
    api_url: Option<ApiUrl>,
    probe_addr: Option<SocketAddr>,
    stop_within: Duration,
}

impl Server {
    /// Opens what the parts need, binds what they listen on, and starts them. None when it is to stop
    /// before what it needs is there.
    pub(crate) async fn start(
        settings: ServerSettings,
        parts: Parts,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        let patience = Patience {
            probe: parts.probe,
            api: parts.api.as_ref().and_then(|_| settings.api_addr()),
            ready_pipe: parts.ready_pipe,
            database_is_file: settings.database.shown_url().starts_with("sqlite:"),
            longest_pause: settings.worker.longest_pause,
            shutdown: &shutdown,
        };
        let store = patience
            .until_open(async || {
                let opening = Store::open(&settings.database).await;
                opening.context("opening the database")
            })
            .await?;
        let Some(store) = store else { return Ok(None) };
        let opened = patience
            .until_open(async || {
                let (gaps, reports) = mpsc::channel(GAP_REPORTS);
                let (bus, socket) = open_bus(&settings, parts.worker, gaps).await?;
                Ok((bus, socket, reports))
            })
            .await?;
        let Some((bus, socket, gap_reports)) = opened else {
            return Ok(None);
        };
        let delivery = DeliveryClient::new(settings.delivery)?;
        let tells = Tells {
            worker: parts.worker,
            api: parts.api.is_some(),
        };
        let feed = match &settings.bus {
            BusChoice::Broker { path, .. } if parts.worker => {
                Some(Feed::new(&bus, path.clone(), &settings.worker).await?)
            }
            _ => None,
        };
        let feed_status = feed.as_ref().map(Feed::status);
        let fed = feed_status.as_ref().map(FeedStatus::connected);
        let socket_counts = socket.as_ref().map(BusServer::counts);
        let metrics = Metrics::new(
            store.clone(),
            bus.clone(),
            tells,
            feed_status,
            socket_counts,
        );
        let mut server = Self {
            tasks: PartTasks::default(),
            store,
            bus,
            status: metrics.status(),
            metrics,
            runs_worker: parts.worker && !matches!(settings.bus, BusChoice::Disabled),
            api_url: None,
            probe_addr: None,
            stop_within: settings.worker.drain_deadline + STOP_MARGIN,
            shutdown,
        };
        if let Some((secret, first_token)) = parts.api {
            server.remove_when_used(first_token.as_ref(), &settings.data_dir);
            let config = ApiConfig {
                host: settings.host,
                port: settings.port,
                cors_origins: settings.cors_origins,
                connections: settings.descriptors.api(),
                publish_quota: settings.publish_quota,
                open_metrics: settings.open_metrics,
                first_token,
                ..ApiConfig::new(secret)
            };
            server
                .start_api(config, delivery.clone(), &settings.data_dir)
                .await?;
        }
        if let Some(addr) = parts.probe {
            server.start_probe(addr, fed.clone())?;
        }
        let (metrics, shutdown) = (server.metrics.clone(), server.shutdown.clone());
        server.tasks.spawn("metrics", async move {
            metrics.run(shutdown).await;
            Ok(())
        });
        let (store, bus) = (server.store.clone(), server.bus.clone());
        let watching = files::watch(store, bus, server.shutdown.clone());
        server.tasks.spawn("files", async move {
            watching.await;
            Ok(())
        });
        if let Some(socket) = socket {
            let shutdown = server.shutdown.clone();
            server.tasks.spawn("bus socket", async move {
                socket.run(shutdown).await;
                Ok(())
            });
        }
        // What the worker still says when it drains goes to the broker, and what comes off the broker
        // meanwhile into the journal.
        let drained = CancellationToken::new();
        if let Some(feed) = feed {
            let (store, bus) = (server.store.clone(), server.bus.clone());
            // It ends with the worker, for which it feeds.
            server
                .tasks
                .spawn_beside_worker("feed", feed.run(store, bus, drained.clone()));
        }
        if server.runs_worker {
            let deps = WorkerDeps {
                store: server.store.clone(),
                bus: server.bus.clone(),
                delivery,
                gaps: Some(gap_reports),
                fed,
            };
            let (status, shutdown) = (server.status.clone(), server.shutdown.clone());
            let drained = drained.drop_guard();
            server.tasks.spawn_worker(async move {
                let _drained = drained;
                Ok(webhook_worker::run(deps, settings.worker, status, shutdown).await?)
            });
        } else if parts.worker {
            let reason = "the bus is disabled (DECNET_BUS_ENABLED=false)";
            server.status.idle(reason);
            tracing::warn!(reason, "the worker is idle: nothing is delivered");
            let shutdown = server.shutdown.clone();
            server.tasks.spawn("idle worker", async move {
                shutdown.cancelled().await;
                Ok(())
            });
        }
        Ok(Some(server))
    }

    /// The API's base URL, for people and programs on this machine.
    pub(crate) fn api_url(&self) -> Option<&str> {
        self.api_url.as_ref().map(|url| url.url.as_str())
    }

    /// Where health is served without an API.
    pub(crate) fn probe_addr(&self) -> Option<SocketAddr> {
        self.probe_addr
    }

    /// Waits until the worker has started, or is told to stop before; fails with the reason when it
    /// does not start.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        let patience = sleep(OPENING_WITHIN);
        tokio::pin!(patience);
        while self.runs_worker {
            let opening = match self.status.phase() {
                Phase::Starting => false,
                Phase::Opening => true,
                _ => break,
            };
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Ok(()),
                ended = self.tasks.next() => {
                    self.shutdown.cancel();
                    return match ended {
                        Some(Ended::Failed(error)) => Err(error),
                        _ => Err(anyhow!("stopped before it was ready")),
                    };
                }
                () = &mut patience, if opening => {
                    tracing::warn!(
                        "the worker has not opened all of its consumers within {} s; it delivers from those that are open",
                        OPENING_WITHIN.as_secs()
                    );
                    break;
                }
                () = sleep(READY_POLL) => {}
            }
        }
        Ok(())
    }

    /// Until `shutdown`, or until a part ends by itself, which stops the others. Only a worker that
    /// was ordered to stop over the bus leaves an API behind. Returns when no task is left.
    pub(crate) async fn wait(mut self) -> anyhow::Result<DrainReport> {
        let mut report = DrainReport::Drained;
        let mut failure = None;
        loop {
            let ended = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => break,
                ended = self.tasks.next() => ended,
            };
            match ended {
                Some(Ended::Worker(drained)) => {
                    report = drained;
                    if self.api_url.is_none() {
                        break;
                    }
                    self.status.stopped();
                    tracing::warn!(
                        %drained,
                        "the worker was ordered to stop over the bus and has; the API goes on, and events wait for a worker: start decnet again to deliver them"
                    );
                }
                // How the worker ended is heard of next.
                Some(Ended::BesideWorker) => {}
                Some(Ended::Early(part)) => {
                    failure = Some(anyhow!("the {part} ended by itself"));
                    break;
                }
                Some(Ended::Failed(error)) => {
                    failure = Some(error);
                    break;
                }
                None => break,
            }
        }
        self.shutdown.cancel();
        crate::notify::stopping();
        let rest = async {
            while let Some(ended) = self.tasks.next().await {
                match ended {
                    Ended::Worker(drained) => report = drained,
                    Ended::Failed(error) => _ = failure.get_or_insert(error),
                    Ended::Early(_) | Ended::BesideWorker => {}
                }
            }
        };
        let in_time = timeout(self.stop_within, rest).await.is_ok();
        if !in_time {
            self.tasks.abort().await;
            report = DrainReport::Cut;
        }
        drop(self.api_url);
        if let Err(error) = self.bus.close().await {
            tracing::warn!(%error, "the bus did not close cleanly");
        }
        if let Err(error) = self.store.close().await {
            tracing::warn!(%error, "the database did not close cleanly");
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(report),
        }
    }

    async fn start_api(
        &mut self,
        config: ApiConfig,
        delivery: DeliveryClient,
        data_dir: &DataDir,
    ) -> anyhow::Result<()> {
        let deps = ApiDeps {
            store: self.store.clone(),
            bus: self.bus.clone(),
            delivery,
            stats: self.metrics.stats(),
            scrape: self.metrics.scrape(),
            worker: self.worker_here(),
        };
        let api = ApiServer::bind(config, deps).await?;
        self.api_url = Some(ApiUrl::leave(data_dir, api.addr())?);
        let shutdown = self.shutdown.clone();
        self.tasks
            .spawn("API", async move { Ok(api.run(shutdown).await?) });
        Ok(())
    }

    fn remove_when_used(&mut self, token: Option<&FirstToken>, data_dir: &DataDir) {
        if let Some(token) = token {
            let (used, shutdown) = (token.used.clone(), self.shutdown.clone());
            let file = data_dir.admin_token();
            self.tasks.spawn("first token", async move {
                first_token::remove_when_used(&file, used, shutdown.clone()).await;
                shutdown.cancelled().await;
                Ok(())
            });
        }
    }

    fn start_probe(
        &mut self,
        addr: SocketAddr,
        fed: Option<watch::Receiver<bool>>,
    ) -> anyhow::Result<()> {
        let (store, bus, status) = (self.store.clone(), self.bus.clone(), self.status.clone());
        let missing = move || missing(store.clone(), bus.clone(), status.clone(), fed.clone());
        let probe = ProbeServer::bind(addr, missing, self.metrics.scrape())?;
        self.probe_addr = Some(probe.addr());
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(
            "health server",
            async move { Ok(probe.run(shutdown).await?) },
        );
        Ok(())
    }

    /// What the API is to know of a worker beside it. One that was told to stop over the bus is missed:
    /// whoever looks after it may not have been the one who told it.
    fn worker_here(&self) -> Option<WorkerHere> {
        let status = self.status.clone();
        let report = move || {
            let phase = status.phase();
            WorkerReport {
                doing: phase.to_string(),
                ready: phase == Phase::Running,
            }
        };
        self.runs_worker.then(|| WorkerHere::new(report))
    }
}

/// Says where the server is, tells who waits, and sees it through to its end.
pub(crate) async fn run(server: Option<Server>, ready_pipe: bool) -> anyhow::Result<ExitCode> {
    let Some(mut server) = server else {
        output::say!("stopped while waiting: nothing was in flight");
        return Ok(ExitCode::SUCCESS);
    };
    if let Some(url) = server.api_url() {
        fact("api", url);
    }
    if let Some(addr) = server.probe_addr() {
        fact("health", format_args!("http://{addr}/readyz"));
    }
    if let Err(error) = server.ready().await {
        // The reason is what counts; how the rest ends is in the log.
        let _ = server.wait().await;
        return Err(error);
    }
    if !server.shutdown.is_cancelled() {
        crate::notify::ready(ready_pipe);
    }
    let report = server.wait().await?;
    output::say!("{report}");
    Ok(ExitCode::SUCCESS)
}

/// What a worker's readiness lacks.
async fn missing(
    store: Store,
    bus: Bus,
    status: WorkerStatus,
    fed: Option<watch::Receiver<bool>>,
) -> Vec<String> {
    let mut missing = Vec::new();
    if let Err(error) = store.ping().await {
        tracing::warn!(%error, "not ready: no database");
        missing.push("database".to_owned());
    }
    if let Err(error) = bus.still_there() {
        tracing::warn!(%error, "not ready: no bus");
        missing.push("bus".to_owned());
    }
    if fed.is_some_and(|fed| !*fed.borrow()) {
        missing.push("DECNET's broker".to_owned());
    }
    match status.phase() {
        Phase::Running => {}
        phase => missing.push(format!("worker ({phase})")),
    }
    if let Some(ago) = status.other_worker() {
        missing.push(format!(
            "being the only webhook worker (another was heard {} s ago; stop one of the two)",
            ago.as_secs()
        ));
    }
    missing
}
