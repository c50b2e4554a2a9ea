//! Sends again what is due: rows that a round did not get through, and those that an operator
//! wants again. Rows are claimed under a lease, per subscription, and never more than half of what
//! its window has free, so that yesterday's failures do not crowd out today's events.

use std::{sync::Arc, time::Duration};

use tokio::time::MissedTickBehavior;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use webhook_model::UtcTime;
use webhook_store::{Claimed, Store, StoreError};

use crate::{
    breaker::Probe,
    gate::{Asking, Pass},
    guardian::Probed,
    job::Job,
    pause::Pauses,
    recorder::Release,
    runtime::{Directory, Runtime},
    send::Dispatch,
    window::WindowPermit,
};

/// Time between two looks for due rows; the shortest delay of the schedule is 1 s.
const TICK: Duration = Duration::from_millis(500);
/// A claim's lease: a round takes 48 s at most by default, its slots some more. A dead worker's
/// rows are due again after it.
pub(crate) const LEASE: Duration = Duration::from_secs(300);
/// Most rows claimed for one subscription at once.
const CLAIM: usize = 64;
/// How long a probe is offered to the bus's own messages before a row may take it.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);
/// Longest pause between looks while the database is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub(crate) struct Redelivery {
    pub(crate) store: Store,
    pub(crate) directory: Directory,
    pub(crate) dispatch: Dispatch,
    /// This worker's name on its leases.
    pub(crate) owner: String,
}

impl Redelivery {
    /// Works until `stop`, and returns when its last delivery has ended.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let deliveries = TaskTracker::new();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pauses = Pauses::new(LONGEST_PAUSE);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            match this.look(&deliveries, &stop).await {
                Ok(()) => pauses.reset(),
                Err(error) => {
                    if pauses.is_first() {
                        tracing::warn!(%error, "cannot look for due redeliveries; trying again");
                    }
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(pauses.next_pause()) => {}
                    }
                }
            }
        }
        deliveries.close();
        deliveries.wait().await;
    }

    async fn look(
        self: &Arc<Self>,
        deliveries: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        for due in self.store.due(UtcTime::now()).await? {
            let Some(runtime) = self.directory.get(&due.subscription) else {
                continue;
            };
            if !runtime.gate.is_open_for_rows() {
                continue;
            }
            let wanted = CLAIM.min(usize::try_from(due.due).unwrap_or(CLAIM));
            let mut permits = runtime.window.try_acquire_half(wanted);
            if permits.is_empty() {
                continue;
            }
            let rows = self
                .store
                .claim(&due.subscription, permits.len() as u64, &self.owner, LEASE)
                .await?;
            if !rows.is_empty() {
                crate::failpoints::crash_point!(CLAIMED);
            }
            for (row, permit) in rows.into_iter().zip(permits.drain(..)) {
                let (this, runtime, stop) = (self.clone(), runtime.clone(), stop.clone());
                deliveries.spawn(async move { this.send(row, runtime, stop, permit).await });
            }
        }
        for runtime in self.directory.offering_probes(PROBE_PATIENCE) {
            let (this, stop) = (self.clone(), stop.clone());
            deliveries.spawn(async move { this.probe(runtime, stop).await });
        }
        Ok(())
    }

    async fn send(
        &self,
        row: Claimed,
        runtime: Arc<Runtime>,
        stop: CancellationToken,
        permit: WindowPermit,
    ) {
        let finished = match Job::from_row(&row) {
            Some(job) => {
                let finished = self.dispatch.round(&job, &runtime, &stop).await;
                finished.map(|finished| (job, finished))
            }
            None => None,
        };
        match finished {
            Some((job, finished)) => {
                self.dispatch
                    .record(&job, &runtime, finished, Release::Row, Some(permit), None)
                    .await;
            }
            None => self.release(&row).await,
        }
    }

    /// One attempt with the earliest row; the breaker learns what it came to. There may be none.
    async fn probe(&self, runtime: Arc<Runtime>, stop: CancellationToken) {
        let asking = Asking::Rows {
            patience: PROBE_PATIENCE,
        };
        let rows_first = !runtime.gate.waits_for_bus();
        if runtime.gate.try_enter(asking) != Some(Pass::Probe) {
            return;
        }
        let uuid = runtime.uuid.clone();
        let tried = runtime.probing.tried_rows();
        let claimed = self
            .store
            .claim_earliest(&uuid, &tried, &self.owner, LEASE)
            .await;
        let row = match claimed {
            Ok(Some(row)) => row,
            Ok(None) if runtime.probing.forget_rows() => {
                return runtime.gate.offer_probe(rows_first);
            }
            // It was the rows' turn, but there are none: then it is the bus's.
            Ok(None) if rows_first => return runtime.gate.offer_probe(false),
            Ok(None) => {
                let nothing = Probed::Ended {
                    probe: Probe::Nothing,
                    error: String::new(),
                };
                return self.dispatch.tell_probed(&runtime, nothing).await;
            }
            Err(error) => {
                tracing::warn!(%error, subscription = %uuid, "cannot claim a row to probe with");
                return runtime.gate.offer_probe(false);
            }
        };
        let concluded = match Job::from_row(&row) {
            Some(job) => {
                let played = self.dispatch.probe(&job, &runtime, &stop).await;
                self.dispatch
                    .conclude_probe(&job, &runtime, played, Release::Row)
                    .await
            }
            None => {
                self.dispatch.tell_probed(&runtime, Probed::Released).await;
                false
            }
        };
        if !concluded {
            runtime.probing.tried_row(row.id);
            self.release(&row).await;
        }
    }

    async fn release(&self, row: &Claimed) {
        if let Err(error) = self.store.release(&[row.id], &self.owner).await {
            tracing::warn!(%error, delivery = row.id, "cannot give a claimed row back; it is due again when its lease ends");
        }
    }
}
