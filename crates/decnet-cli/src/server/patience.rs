//! Waiting for a database or a bus that is away when a server starts. The process stays up, says so
//! once, and answers for its health meanwhile.

use std::{future::ready, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;
use webhook_api::{ApiError, ProbeServer};
use webhook_bus::BusError;
use webhook_store::StoreError;

/// The first pause between two tries; short, since most absences are.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// How a server waits.
pub(super) struct Patience<'a> {
    /// Where it will serve its health, and does so while it waits.
    pub(super) probe: Option<SocketAddr>,
    /// Where the API will be; its health is served there while it waits, if nobody else is there.
    pub(super) api: Option<SocketAddr>,
    /// Standard output leads to a parent that waits for this process.
    pub(super) ready_pipe: bool,
    /// The database is a file: no waiting mends what is wrong with it.
    pub(super) database_is_file: bool,
    /// `DECNET_WEBHOOK_BUS_RECONNECT_SECS`.
    pub(super) longest_pause: Duration,
    pub(super) shutdown: &'a CancellationToken,
}

impl Patience<'_> {
    /// What `open` opens, however long it takes; none when the server is to stop before. Fails at
    /// once where more than a connection is missing.
    pub(super) async fn until_open<T>(
        &self,
        open: impl AsyncFn() -> anyhow::Result<T>,
    ) -> anyhow::Result<Option<T>> {
        let mut waiting: Option<Waiting> = None;
        let mut pause = FIRST_PAUSE;
        let ended = loop {
            let error = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => break Ok(None),
                opened = open() => match opened {
                    Ok(opened) => break Ok(Some(opened)),
                    Err(error) => error,
                },
            };
            let Some(missing) = self.missing(&error) else {
                break Err(error);
            };
            if waiting.is_none() {
                tracing::warn!(
                    error = crate::output::chain(&error),
                    "idle until {}; trying again",
                    missing.until
                );
                waiting = Some(Waiting::begin(self.probe, self.api, missing.name)?);
                // Up, if idle: whoever started it need not start it again.
                crate::notify::ready(self.ready_pipe);
            }
            tokio::select! {
                () = self.shutdown.cancelled() => {}
                () = sleep(pause.mul_f64(rand::random_range(0.8..1.2))) => {}
            }
            pause = (pause * 2).min(self.longest_pause);
        };
        if let Some(waiting) = waiting {
            waiting.end().await?;
        }
        ended
    }

    /// What is away, if that is all.
    fn missing(&self, error: &anyhow::Error) -> Option<Missing> {
        if let Some(error) = error.downcast_ref::<StoreError>() {
            return match error {
                // A file of DECNET's is there before its tables are.
                StoreError::AwaitsDecnet(_) => Some(DECNETS_TABLES),
                error => (error.is_connection() && !self.database_is_file).then_some(DATABASE),
            };
        }
        let bus = error.downcast_ref::<BusError>()?;
        bus.is_connection().then_some(BUS)
    }
}

/// What a server waits for: as its health names it, and as its log does.
struct Missing {
    name: &'static str,
    until: &'static str,
}

const DATABASE: Missing = Missing {
    name: "database",
    until: "the database answers",
};
const BUS: Missing = Missing {
    name: "bus",
    until: "the bus answers",
};
const DECNETS_TABLES: Missing = Missing {
    name: "DECNET's tables in the database",
    until: "DECNET has made its tables",
};

/// The health server of a process that waits.
struct Waiting {
    over: CancellationToken,
    probes: Vec<JoinHandle<Result<(), ApiError>>>,
}

impl Waiting {
    fn begin(
        probe: Option<SocketAddr>,
        api: Option<SocketAddr>,
        missing: &'static str,
    ) -> anyhow::Result<Self> {
        let over = CancellationToken::new();
        let says = move || ready(vec![missing.to_owned(), "worker (idle)".to_owned()]);
        let nothing = Arc::new(|| Box::pin(ready(String::new())) as _);
        let mut bound = Vec::new();
        if let Some(addr) = probe {
            bound.push(ProbeServer::bind(addr, says, nothing.clone())?);
        }
        // Whoever is there already is told of when the API itself is bound.
        bound.extend(api.and_then(|addr| ProbeServer::bind(addr, says, nothing).ok()));
        let probes = bound.into_iter().map(|probe| {
            super::fact("health", format_args!("http://{}/readyz", probe.addr()));
            tokio::spawn(probe.run(over.clone()))
        });
        let probes = probes.collect();
        Ok(Self { over, probes })
    }

    /// Frees the address.
    async fn end(self) -> anyhow::Result<()> {
        self.over.cancel();
        for probe in self.probes {
            probe.await??;
        }
        Ok(())
    }
}
