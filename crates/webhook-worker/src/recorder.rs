//! The one writer of outcomes. It commits what has come in together and only then acknowledges to
//! the bus: no ack before its commit.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use webhook_bus::Acker;
use webhook_model::{DeliveryStatus, UtcTime};
use webhook_store::{DeliveryRecord, FailureCount, StoreError};

use crate::{
    counters::Counters, dead::DeadLetters, guardian::Notice, in_hand::InHand, runtime::Directory,
    window::WindowPermit,
};

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
    pub(crate) release: Release,
    /// Absent for a probe, which passes by the window.
    pub(crate) permit: Option<WindowPermit>,
    /// What the breaker is to hear once it is committed.
    pub(crate) notice: Option<Notice>,
    /// When the event came, as far as that is of interest.
    pub(crate) arrived: Option<UtcTime>,
}

impl Outcome {
    /// An outcome that is only to be recorded.
    pub(crate) fn of(record: DeliveryRecord, release: Release) -> Self {
        Self {
            record,
            release,
            permit: None,
            notice: None,
            arrived: None,
        }
    }
}

/// Where the event waited.
pub(crate) enum Release {
    /// On the bus, which is told that it is done with.
    Message { acker: Acker, in_hand: InHand },
    /// In its row; the commit ended its lease.
    Row,
}

/// Who is told what was committed.
pub(crate) struct Listeners {
    pub(crate) counters: Arc<Counters>,
    pub(crate) directory: Directory,
    pub(crate) guardian: mpsc::Sender<Notice>,
    pub(crate) dead: DeadLetters,
}

impl Listeners {
    fn count(&self, record: &DeliveryRecord, arrived: Option<UtcTime>) {
        let waited = arrived.map(|arrived| record.at.since(arrived));
        self.counters.recorded(record.status, waited);
        if let Some(runtime) = self.directory.get(&record.subscription) {
            runtime.outcomes.add(record.status);
        }
    }
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
    ) -> impl Future<Output = Result<Vec<FailureCount>, StoreError>> + Send;
}

impl Ledger for webhook_store::Store {
    async fn commit(&self, records: &[DeliveryRecord]) -> Result<Vec<FailureCount>, StoreError> {
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
    mut listeners: Listeners,
    cut: CancellationToken,
) {
    let mut batch: Vec<Outcome> = Vec::with_capacity(BATCH);
    while outcomes.recv_many(&mut batch, BATCH).await > 0 {
        let records: Vec<DeliveryRecord> = batch.iter().map(|o| o.record.clone()).collect();
        let begun = Instant::now();
        let committed = commit(&ledger, &records, &cut).await;
        crate::failpoints::crash_point!(RECORDED, ());
        listeners.counters.committed(batch.len(), begun.elapsed());
        for (outcome, stored) in batch.drain(..).zip(committed.stored) {
            let Outcome {
                record,
                release,
                permit,
                notice,
                arrived,
            } = outcome;
            if stored {
                listeners.count(&record, arrived);
                if record.status == DeliveryStatus::Dead {
                    listeners.dead.add(&record).await;
                }
            }
            if let Release::Message { acker, in_hand } = release {
                if stored {
                    acker.ack(record.seq).await;
                }
                in_hand.remove(record.seq);
            }
            drop(permit);
            if let Some(notice) = notice {
                let _ = listeners.guardian.send(notice).await;
            }
        }
        crate::failpoints::crash_point!(ACKED, ());
        for failures in committed.failures {
            let _ = listeners.guardian.send(Notice::failures(failures)).await;
        }
    }
}

/// What became of a batch.
struct Committed {
    /// For each record, whether it is stored.
    stored: Vec<bool>,
    failures: Vec<FailureCount>,
}

/// Commits the records, halving a batch that the database refuses until the refused row stands
/// alone. Tells for each whether it is stored; waits for as long as the database is away.
async fn commit(
    ledger: &impl Ledger,
    records: &[DeliveryRecord],
    cut: &CancellationToken,
) -> Committed {
    let mut stored = vec![false; records.len()];
    let mut failures = Vec::new();
    let mut ranges = Vec::new();
    ranges.push(0..records.len());
    let mut pause = FIRST_PAUSE;
    while let Some(range) = ranges.pop() {
        match ledger.commit(&records[range.clone()]).await {
            Ok(raised) => {
                stored[range].fill(true);
                failures.extend(raised);
                pause = FIRST_PAUSE;
            }
            Err(error) if error.is_connection() => {
                if pause == FIRST_PAUSE {
                    tracing::warn!(%error, "cannot record deliveries; nothing is acknowledged until the database is back");
                }
                tokio::select! {
                    () = cut.cancelled() => break,
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
    Committed { stored, failures }
}

#[cfg(test)]
mod tests;
