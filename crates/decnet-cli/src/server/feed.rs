//! What drains an existing DECNET broker into the journal, where that is the bus.

use std::path::PathBuf;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use webhook_bus::{Begin, BrokerFeed, Bus, BusError, FeedConfig, FeedStatus};
use webhook_store::Store;
use webhook_worker::WorkerConfig;

/// A feed, ready to run beside the worker.
pub(super) struct Feed {
    feed: BrokerFeed,
    worker: WorkerConfig,
}

impl Feed {
    pub(super) async fn new(
        bus: &Bus,
        path: PathBuf,
        worker: &WorkerConfig,
    ) -> Result<Self, BusError> {
        let config = FeedConfig {
            longest_pause: worker.longest_pause,
            begin: if worker.takeover {
                Begin::AfterStop
            } else {
                Begin::AtOnce
            },
            ..FeedConfig::new(path)
        };
        Ok(Self {
            feed: BrokerFeed::new(bus, config).await?,
            worker: worker.clone(),
        })
    }

    /// What it has done, and whether the broker is there.
    pub(super) fn status(&self) -> FeedStatus {
        self.feed.status()
    }

    /// Feeds what the subscriptions want until `shutdown`.
    pub(super) async fn run(
        self,
        store: Store,
        bus: Bus,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let (patterns, wanted) = watch::channel(Vec::new());
        let interval = self.worker.reload_interval;
        let wanting =
            webhook_worker::feed_patterns(store, bus, patterns, interval, shutdown.clone());
        let (wanting, ()) = tokio::join!(wanting, self.feed.run(wanted, shutdown));
        Ok(wanting?)
    }
}
