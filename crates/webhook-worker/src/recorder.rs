//! The one writer of outcomes. It commits what has come in together and only then acknowledges to
//! the bus: no ack before its commit.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use webhook_bus::Acker;
use webhook_model::DeliveryStatus;
use webhook_store::{DeliveryRecord, StoreError};

use crate::{counters::Counters, in_hand::InHand, window::WindowPermit};

/// Outcomes that may wait for the writer. Windows bound them before this does.
const QUEUE: usize = 4_096;
/// Outcomes in one transaction: past this a longer batch no longer makes a row cheaper.
const BATCH: usize = 512;
/// Pauses between tries while the database is away, doubling from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What one delivery came to, and what is to be let go of once that is committed.
pub(crate) struct Outcome {
    pub(crate) record: DeliveryRecord,
    pub(crate) acker: Acker,
    pub(crate) in_hand: InHand,
    pub(crate) permit: WindowPermit,
}

/// Where deliveries hand their outcomes in. The recorder ends when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Recorder(mpsc::Sender<Outcome>);

impl Recorder {
    /// Queues an outcome; waits while the queue is full.
    pub(crate) async fn record(&self, outcome: Outcome) {
        // It fails only when the writer was cut at the drain deadline; the bus redelivers then.
        let _ = self.0.send(outcome).await;
    }
}

/// Where outcomes are committed; the store in production.
pub(crate) trait Ledger {
    /// Commits all of them or none.
    fn commit(
        &self,
        records: &[DeliveryRecord],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

impl Ledger for webhook_store::Store {
    async fn commit(&self, records: &[DeliveryRecord]) -> Result<(), StoreError> {
        self.record(records).await
    }
}

/// The queue's two ends.
pub(crate) fn channel() -> (Recorder, mpsc::Receiver<Outcome>) {
    let (send, receive) = mpsc::channel(QUEUE);
    (Recorder(send), receive)
}

/// Commits and acknowledges until every [`Recorder`] is gone and the queue is empty. After `cut`
/// it no longer waits for a database that is away; the bus keeps what is not recorded.
pub(crate) async fn run(
    ledger: impl Ledger,
    mut outcomes: mpsc::Receiver<Outcome>,
    counters: Arc<Counters>,
    cut: CancellationToken,
) {
    let mut batch: Vec<Outcome> = Vec::with_capacity(BATCH);
    while outcomes.recv_many(&mut batch, BATCH).await > 0 {
        let records: Vec<DeliveryRecord> = batch.iter().map(|o| o.record.clone()).collect();
        let stored = commit(&ledger, &records, &cut).await;
        counters.committed(batch.len());
        for (outcome, stored) in batch.drain(..).zip(stored) {
            if stored {
                match outcome.record.status {
                    DeliveryStatus::Delivered => counters.delivered(),
                    DeliveryStatus::Dead => counters.dead(),
                    DeliveryStatus::Retrying => counters.retrying(),
                }
                outcome.acker.ack(outcome.record.seq).await;
            }
            outcome.in_hand.remove(outcome.record.seq);
            drop(outcome.permit);
        }
    }
}

/// Commits the records, halving a batch that the database refuses until the refused row stands
/// alone. Tells for each whether it is stored; waits for as long as the database is away.
async fn commit(
    ledger: &impl Ledger,
    records: &[DeliveryRecord],
    cut: &CancellationToken,
) -> Vec<bool> {
    let mut stored = vec![false; records.len()];
    let mut ranges = Vec::new();
    ranges.push(0..records.len());
    let mut pause = FIRST_PAUSE;
    while let Some(range) = ranges.pop() {
        match ledger.commit(&records[range.clone()]).await {
            Ok(()) => {
                stored[range].fill(true);
                pause = FIRST_PAUSE;
            }
            Err(error) if error.is_connection() => {
                if pause == FIRST_PAUSE {
                    tracing::warn!(%error, "cannot record deliveries; nothing is acknowledged until the database is back");
                }
                tokio::select! {
                    () = cut.cancelled() => return stored,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
                ranges.push(range);
            }
            Err(error) if range.len() == 1 => {
                let record = &records[range.start];
                tracing::error!(
                    %error,
                    subscription = %record.subscription,
                    event_id = %record.event_id,
                    seq = record.seq,
                    "this outcome cannot be stored; its event stays on the bus and comes again after a restart"
                );
            }
            Err(_) => {
                let middle = range.start + range.len() / 2;
                ranges.push(middle..range.end);
                ranges.push(range.start..middle);
            }
        }
    }
    stored
}

#[cfg(test)]
mod tests;
