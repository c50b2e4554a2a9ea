//! Says when a file that this process has open is no longer where it was, and when it is back.

use std::{error::Error, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use webhook_bus::Bus;
use webhook_store::Store;

/// Time between two looks; two calls of the system each.
const EVERY: Duration = Duration::from_secs(5);

/// Looks until `shutdown`.
pub(super) async fn watch(store: Store, bus: Bus, shutdown: CancellationToken) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut database_gone, mut journal_gone) = (false, false);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        tell(&mut database_gone, "database", store.still_there());
        tell(&mut journal_gone, "journal", bus.still_there());
    }
}

/// Once each time that it changes.
fn tell(gone: &mut bool, file: &str, found: Result<(), impl Error>) {
    match &found {
        Err(error) if !*gone => tracing::error!(%error, "a file is not where it was"),
        Ok(()) if *gone => tracing::info!(file, "the file is back where it was"),
        _ => {}
    }
    *gone = found.is_err();
}
