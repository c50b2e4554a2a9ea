//! A worker's life: sessions, one after the other, until it is told to stop. A session ends early
//! only where the bus was recreated: everything that counts on the old one begins anew then.

use std::{fmt, sync::Arc};

use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;
use webhook_bus::{Bus, Gap};
use webhook_delivery::DeliveryClient;
use webhook_store::Store;

use crate::{
    Phase, WorkerConfig, WorkerError, WorkerStatus,
    heartbeat::{self, Identity},
    pause::Pauses,
    session::{Ended, Opened, Parts},
};

/// What a worker works with.
pub struct WorkerDeps {
    /// Subscriptions and outcomes.
    pub store: Store,
    /// Where events come from.
    pub bus: Bus,
    /// What posts them; the test ping's own.
    pub delivery: DeliveryClient,
    /// What the bus's retention took before it was delivered, as the bus reports it.
    pub gaps: Option<mpsc::Receiver<Gap>>,
    /// Where a feed brings the events from a bus that keeps nothing: whether it is connected. Another
    /// worker's heartbeats must then be listened for, since none are kept.
    pub fed: Option<watch::Receiver<bool>>,
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainReport {
    /// Everything in flight came to its end, was committed and acknowledged.
    Drained,
    /// The deadline came first; the bus keeps what was cut and delivers it again.
    Cut,
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drained => "drained: every delivery in flight ended and was recorded",
            Self::Cut => "cut at the drain deadline: what was in flight will be delivered again",
        })
    }
}

/// Delivers until `shutdown`, or until the bus orders a stop. Returns after its last task, with an error
/// that names it where one ended that nobody had told to. While the
/// bus or the database does not answer at first, it stays up, says so once and in its status, and
/// tries again.
pub async fn run(
    deps: WorkerDeps,
    config: WorkerConfig,
    status: WorkerStatus,
    shutdown: CancellationToken,
) -> Result<DrainReport, WorkerError> {
    let identity = Identity {
        deployment: deps.store.deployment_id().to_owned(),
        instance: uuid::Uuid::new_v4().to_string(),
    };
    let parts = Parts {
        store: deps.store,
        bus: deps.bus,
        delivery: deps.delivery,
        gaps: deps.gaps.map(|gaps| Arc::new(Mutex::new(gaps))),
        identity,
        config,
        status,
        // An order over the bus ends this worker, not the others of the process.
        stop: shutdown.child_token(),
    };
    let mut first = true;
    loop {
        let Some(opened) = open(&parts, deps.fed.as_ref(), first).await? else {
            return Ok(DrainReport::Drained);
        };
        first = false;
        match opened.run(&parts).await? {
            Ended::Stopped(report) => return Ok(report),
            Ended::Recreated => {
                tracing::warn!("the bus was recreated; the worker begins anew on it");
            }
        }
    }
}

/// Opens a session, for as long as that may take; none when it is to stop before.
async fn open(
    parts: &Parts,
    fed: Option<&watch::Receiver<bool>>,
    first: bool,
) -> Result<Option<Opened>, WorkerError> {
    let mut pauses = Pauses::new(parts.config.longest_pause);
    loop {
        let opening = async {
            if first && !parts.config.takeover {
                heartbeat::refuse_foreign(&parts.bus, &parts.identity).await?;
                if let Some(fed) = fed.cloned() {
                    heartbeat::listen(&parts.bus, &parts.identity, fed, &parts.status).await?;
                }
            }
            Opened::open(parts).await
        };
        let failed = tokio::select! {
            biased;
            () = parts.stop.cancelled() => return Ok(None),
            opened = opening => match opened {
                Ok(opened) => return Ok(Some(opened)),
                Err(error) if error.is_passing() => error,
                Err(error) => return Err(error),
            }
        };
        parts.status.set(Phase::Idle(failed.to_string()));
        if pauses.is_first() {
            tracing::warn!(error = %failed, "the worker is idle: nothing is delivered until this passes; trying again");
        }
        tokio::select! {
            () = parts.stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(pauses.next_pause()) => {}
        }
    }
}
