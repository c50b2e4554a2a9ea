//! One worker probes a tripped subscription at a time: the lease of a probe.

use std::{sync::Arc, time::Duration};

use webhook_model::UtcTime;

use super::{Guardian, Ward};
use crate::{breaker::Phase, runtime::Runtime};

/// A probe's lease among several workers: an attempt takes 30 s at most, and its slot some more.
const PROBE_LEASE: Duration = Duration::from_secs(90);
/// Time between two renewals of it, for a probe that waits for something to send.
const PROBE_RENEWAL: Duration = Duration::from_secs(30);
/// Pause before asking again for a probe that another worker has.
const PROBE_ELSEWHERE: Duration = Duration::from_secs(5);
impl Guardian {
    /// Takes the probe, or keeps it; one worker has it at a time. Not for one that may send nothing.
    pub(super) async fn claim(&mut self, uuid: &str, epoch: i64) -> bool {
        let wanted = |runtime: Arc<Runtime>| runtime.window.is_wanted();
        if !self.directory.get(uuid).is_some_and(wanted) {
            return false;
        }
        let claimed = self
            .store
            .claim_probe(uuid, epoch, &self.owner, PROBE_LEASE)
            .await;
        if let Err(error) = &claimed {
            tracing::warn!(%error, subscription = %uuid, "cannot take the lease of a probe; trying again");
        }
        let claimed = claimed.unwrap_or(false);
        if let Some(ward) = self.wards.0.get_mut(uuid).filter(|_| claimed) {
            ward.renew_at = Some(UtcTime::now() + PROBE_RENEWAL);
        }
        claimed
    }

    /// Keeps the lease of a probe that has not come to anything yet. One that is lost before
    /// anybody took the offer is another worker's.
    pub(super) async fn renew(&mut self, uuid: &str) {
        let now = UtcTime::now();
        let due = |ward: &&mut Ward| {
            let probing = matches!(ward.breaker.phase, Phase::Probing { .. });
            probing && ward.renew_at.is_some_and(|at| at <= now)
        };
        let Some(ward) = self.wards.0.get_mut(uuid).filter(due) else {
            return;
        };
        ward.renew_at = Some(now + PROBE_RENEWAL);
        let epoch = ward.epoch;
        if self.claim(uuid, epoch).await {
            return;
        }
        if self
            .directory
            .get(uuid)
            .is_some_and(|it| it.gate.retract_probe())
        {
            self.defer(uuid, now);
        }
    }

    /// Asks again later for a probe that another worker has.
    pub(super) fn defer(&mut self, uuid: &str, now: UtcTime) {
        if let Some(ward) = self.wards.0.get_mut(uuid) {
            ward.breaker = ward.breaker.deferred(now + PROBE_ELSEWHERE);
        }
    }
}
