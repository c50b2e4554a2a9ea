//! Takes what came over a connection to the journal.

use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use super::{complaints::Complaints, share::Share};
use crate::{BusError, Journal, Publication, message::Origin};

/// Most publications in one request to the journal, which commits them with those of others.
pub(crate) const BATCH: usize = 256;
/// Pause before publications that the journal refused are tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A publication on its way to the journal, with its share of the bytes that may wait, and of those that
/// large frames may take.
pub(crate) type Queued = (Publication, OwnedSemaphorePermit, Option<Share>);

/// Takes publications of one origin to the journal.
pub(crate) struct Journalling<'a> {
    pub(crate) journal: Journal,
    pub(crate) origin: Origin,
    /// What the log calls where they come from.
    pub(crate) from: &'static str,
    pub(crate) complaints: &'a Complaints,
    pub(crate) shutdown: &'a CancellationToken,
}

impl Journalling<'_> {
    /// Until the queue is closed and empty. Nobody is told whether a publication was taken, so
    /// what the journal refuses is tried again; whoever fills the queue waits, or counts what does
    /// not fit.
    pub(crate) async fn run(self, mut queued: mpsc::Receiver<Queued>) {
        let from = self.from;
        let mut batch: Vec<Queued> = Vec::with_capacity(BATCH);
        while queued.recv_many(&mut batch, BATCH).await > 0 {
            while let Err(error) = self.publish(&batch).await {
                let count = batch.len();
                if self.shutdown.is_cancelled() || matches!(error, BusError::Closed) {
                    let count = count + queued.len();
                    tracing::error!(%error, count, "events from {from} are lost");
                    return;
                }
                self.complaints.warn(|more| {
                    tracing::warn!(%error, count, more, "events from {from} have to wait");
                });
                tokio::select! {
                    () = self.shutdown.cancelled() => {}
                    () = tokio::time::sleep(RETRY_PAUSE) => {}
                }
            }
            batch.clear();
        }
    }

    async fn publish(&self, batch: &[Queued]) -> Result<(), BusError> {
        let batch = batch.iter().map(|it| it.0.clone()).collect();
        self.journal
            .publish_from(batch, Some(self.origin))
            .await
            .map(drop)
    }
}
