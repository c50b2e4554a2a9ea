//! Works off replay jobs: puts dead letters back into the redelivery queue, and queues delivered
//! events once more with their bodies from the bus. Each step moves the job's cursor and the rows
//! in one transaction, so a restart goes on where it was.

use std::{collections::HashMap, time::Duration};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use webhook_bus::Bus;
use webhook_model::{DeliveryStatus, UtcTime};
use webhook_store::{Candidate, DeliveryRecord, Replay, ReplayStep, Store, StoreError};

/// Time between two looks for jobs, or for room in a full queue.
const TICK: Duration = Duration::from_secs(1);
/// A job's lease; a step takes well under a second.
const LEASE: Duration = Duration::from_secs(60);
/// Delivered events that one step looks at.
const STEP: u64 = 200;

pub(crate) struct Replays {
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) incarnation: String,
    pub(crate) owner: String,
}

impl Replays {
    /// Works until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.work(&stop).await {
                tracing::warn!(%error, "cannot go on with a replay; trying again");
            }
        }
    }

    /// Steps until there is no job, or no room for more.
    async fn work(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        while !stop.is_cancelled() {
            let Some(job) = self.store.claim_replay(&self.owner, LEASE).await? else {
                return Ok(());
            };
            let step = match job.status {
                DeliveryStatus::Delivered => self.delivered(&job).await?,
                DeliveryStatus::Dead | DeliveryStatus::Retrying => {
                    self.store
                        .advance_dead_letters(&job.id, &self.owner)
                        .await?
                }
            };
            match step {
                ReplayStep::Moved | ReplayStep::Done => {}
                ReplayStep::Full | ReplayStep::Lost => return Ok(()),
            }
        }
        Ok(())
    }

    async fn delivered(&self, job: &Replay) -> Result<ReplayStep, StoreError> {
        let candidates = self.store.replay_candidates(&job.id, STEP).await?;
        let Some(last) = candidates.last() else {
            return self
                .store
                .advance_replay(job, &self.owner, None, &[], 0)
                .await;
        };
        let wanted: Vec<&Candidate> = candidates.iter().filter(|it| it.matches).collect();
        let upto = Some(last.cursor);
        let bodies = match self.bodies(&wanted).await {
            Ok(bodies) => bodies,
            Err(error) => {
                tracing::warn!(%error, replay = %job.id, "cannot read events back from the bus; trying again");
                return Ok(ReplayStep::Full);
            }
        };
        let records: Vec<DeliveryRecord> = wanted
            .iter()
            .filter_map(|candidate| bodies.get(&candidate.seq).map(|body| (candidate, body)))
            .map(|(candidate, body)| record(job, candidate, body.clone()))
            .collect();
        let unavailable = (wanted.len() - records.len()) as u64;
        self.store
            .advance_replay(job, &self.owner, upto, &records, unavailable)
            .await
    }

    /// The bodies that the bus still has. What another bus counted is gone with it.
    async fn bodies(
        &self,
        wanted: &[&Candidate],
    ) -> Result<HashMap<u64, bytes::Bytes>, webhook_bus::BusError> {
        let seqs: Vec<u64> = wanted
            .iter()
            .filter(|candidate| candidate.incarnation == self.incarnation)
            .map(|candidate| candidate.seq)
            .collect();
        let (mut bodies, mut rest) = (HashMap::new(), seqs.as_slice());
        while !rest.is_empty() {
            let (found, came) = self.bus.fetch(rest).await?;
            bodies.extend(
                found
                    .into_iter()
                    .map(|message| (message.seq, message.body())),
            );
            rest = &rest[came.max(1).min(rest.len())..];
        }
        Ok(bodies)
    }
}

/// A delivery of its own: the job stands in for the pair.
fn record(job: &Replay, candidate: &Candidate, body: bytes::Bytes) -> DeliveryRecord {
    let now = UtcTime::now();
    DeliveryRecord {
        pair_id: job.id.clone(),
        seq: candidate.seq,
        incarnation: candidate.incarnation.clone(),
        subscription: job.subscription.clone(),
        event_id: candidate.event_id.clone(),
        topic: candidate.topic.clone(),
        kind: candidate.kind.clone(),
        status: DeliveryStatus::Retrying,
        attempts: 0,
        status_code: None,
        error: None,
        duration: Duration::ZERO,
        body: Some(body),
        at: now,
        next_attempt_at: Some(now),
        round: 0,
        in_order: false,
        epoch: 0,
        counts: false,
        failed_attempts: Vec::new(),
    }
}
