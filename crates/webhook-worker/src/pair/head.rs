//! Where the order counts, what failed is tried again before anything behind it: it is a row like any
//! other failed delivery, so that it can be seen, retried and skipped, and the pair takes no message
//! while there is one.

use std::time::Duration;

use tokio_util::task::TaskTracker;
use webhook_store::{Claimed, Head};

use super::{LONGEST_PAUSE, PairTask, Step};
use crate::{
    gate::{Asking, Pass},
    job::Job,
    pause::Pauses,
    recorder::Release,
    redelivery::LEASE,
};

/// Longest wait before the row is looked at again: an operator may have retried or skipped it.
const LOOK: Duration = Duration::from_secs(1);

impl PairTask {
    /// What the next message has to wait for, where the order counts.
    pub(super) async fn head(&self) -> Option<Head> {
        let mut pauses = Pauses::new(LONGEST_PAUSE);
        while self.runtime.current().settings.ordered() {
            match self.context.store.head(&self.runtime.uuid).await {
                Ok(head) => return head,
                Err(error) => {
                    if pauses.is_first() {
                        tracing::warn!(%error, subscription = %self.runtime.uuid, "cannot look for the delivery that goes first; trying again");
                    }
                    tokio::time::sleep(pauses.next_pause()).await;
                }
            }
        }
        None
    }

    /// Tries the head once it is due, or as a probe.
    pub(super) async fn try_head(&self, head: Head, deliveries: &TaskTracker) -> Step {
        let gate = &self.runtime.gate;
        if gate.is_open() && (head.is_leased || !head.due_in.is_zero()) {
            let mut orders = self.orders.clone();
            return tokio::select! {
                biased;
                () = self.stop.cancelled() => Step::Stopped,
                _ = orders.changed() => Step::Taken,
                () = tokio::time::sleep(head.due_in.clamp(LOOK / 10, LOOK)) => Step::Taken,
            };
        }
        let ready = async {
            let permit = self.runtime.window.acquire(1).await.pop();
            let confirmed = self.context.freshness.confirm().await;
            permit.filter(|_| confirmed.is_ok())
        };
        let permit = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Step::Stopped,
            permit = ready => permit,
        };
        let (Some(permit), Some(pass)) = (permit, gate.try_enter(Asking::Bus)) else {
            return Step::Taken;
        };
        let Some((row, job)) = self.claim(&head).await else {
            if pass == Pass::Probe {
                gate.offer_probe(false);
            }
            tokio::time::sleep(LOOK / 10).await;
            return Step::Taken;
        };
        let (dispatch, runtime, stop) = (
            self.context.dispatch.clone(),
            self.runtime.clone(),
            self.stop.clone(),
        );
        let (store, owner) = (self.context.store.clone(), self.context.owner.clone());
        deliveries.spawn(async move {
            let concluded = if pass == Pass::Probe {
                let played = dispatch.probe(&job, &runtime, &stop).await;
                dispatch
                    .conclude_probe(&job, &runtime, played, Release::Row)
                    .await
            } else {
                match dispatch.round(&job, &runtime, &stop).await {
                    Some(finished) => {
                        dispatch
                            .record(&job, &runtime, finished, Release::Row, Some(permit), None)
                            .await;
                        return;
                    }
                    None => false,
                }
            };
            if !concluded && let Err(error) = store.release(&[row.id], &owner).await {
                tracing::warn!(%error, delivery = row.id, "cannot give a claimed row back; it is due again when its lease ends");
            }
            drop(permit);
        });
        Step::Taken
    }

    async fn claim(&self, head: &Head) -> Option<(Claimed, Job)> {
        let claimed = self
            .context
            .store
            .claim_head(head.id, &self.context.owner, LEASE)
            .await;
        let row = claimed
            .inspect_err(|error| {
                tracing::warn!(%error, subscription = %self.runtime.uuid, "cannot claim the delivery that goes first; trying again");
            })
            .ok()??;
        let job = Job::from_head(&row)?;
        Some((row, job))
    }
}
