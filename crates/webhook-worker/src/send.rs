//! One message's way to its recorded outcome, whether it comes off the bus or out of its row.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use webhook_bus::Acker;
use webhook_delivery::{DeliveryClient, RetryPolicy, Round};
use webhook_model::{DeliveryStatus, UtcTime};
use webhook_store::{AttemptRecord, DeliveryRecord, Store};

use crate::{
    counters::Counters,
    gate::Pass,
    guardian::{Notice, Probed},
    in_hand::InHand,
    job::Job,
    judge::{Judgement, Rounds, held_back, judge},
    recorder::{Outcome, Recorder, Release},
    redelivery::{failed, probed},
    runtime::{Admission, Current, Runtime},
    schedule::jitter,
    window::WindowPermit,
};

/// What all deliveries of the process share.
#[derive(Clone)]
pub(crate) struct Dispatch {
    pub(crate) client: DeliveryClient,
    pub(crate) recorder: Recorder,
    pub(crate) guardian: mpsc::Sender<Notice>,
    pub(crate) counters: Arc<Counters>,
    /// Ends even what is in flight: the drain deadline has passed.
    pub(crate) cut: CancellationToken,
}

/// A round that came to its end.
pub(crate) struct Finished {
    round: Round,
    judgement: Judgement,
    began: Current,
}

impl Finished {
    pub(crate) fn is_delivered(&self) -> bool {
        self.judgement.status == DeliveryStatus::Delivered
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.judgement.status == DeliveryStatus::Dead
    }

    /// How long the schedule, or the receiver, has it wait.
    pub(crate) fn wait(&self) -> Duration {
        let next = self.judgement.next_attempt_at.unwrap_or_else(UtcTime::now);
        next.since(UtcTime::now())
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.round.attempts.len() as u32
    }

    pub(crate) fn rounds(&self) -> u32 {
        self.judgement.rounds
    }

    pub(crate) fn error(&self) -> String {
        let last = self.round.attempts.last();
        last.and_then(|attempt| attempt.error.clone())
            .unwrap_or_default()
    }

    pub(crate) fn gone(&self) -> bool {
        self.judgement.gone
    }

    /// Whether it was a failed round, and not a pause that the receiver asked for.
    pub(crate) fn counts(&self) -> bool {
        self.judgement.success == Some(false)
    }
}

impl Dispatch {
    /// Plays one round and judges it; none when it was interrupted by the order to stop.
    pub(crate) async fn round(
        &self,
        job: &Job,
        runtime: &Arc<Runtime>,
        stop: &CancellationToken,
    ) -> Option<Finished> {
        self.play(job, runtime, stop, &RetryPolicy::default(), false)
            .await
    }

    /// The one attempt of a probe, past a gate that is shut.
    pub(crate) async fn probe(
        &self,
        job: &Job,
        runtime: &Arc<Runtime>,
        stop: &CancellationToken,
    ) -> Option<Finished> {
        self.play(job, runtime, stop, &RetryPolicy::none(), true)
            .await
    }

    async fn play(
        &self,
        job: &Job,
        runtime: &Arc<Runtime>,
        stop: &CancellationToken,
        policy: &RetryPolicy,
        probes: bool,
    ) -> Option<Finished> {
        let began = runtime.current();
        let admission = Admission {
            runtime: runtime.clone(),
            probes,
            stop: stop.clone(),
        };
        let round = tokio::select! {
            biased;
            () = self.cut.cancelled() => return None,
            round = self.client.deliver_with(&admission, &job.event, policy) => round,
        };
        self.counters.attempts(&round.attempts);
        let now = runtime.current();
        let judged = judge(
            &round.outcome,
            job.rounds,
            now.epoch != began.epoch,
            &now.settings,
            UtcTime::now(),
            jitter(),
        );
        let judgement = match judged {
            Some(judgement) => judgement,
            None if stop.is_cancelled() => return None,
            None => held_back(job.rounds, UtcTime::now()),
        };
        if let Some(success) = judgement.success {
            runtime.window.report(success);
        }
        if let Some(pause) = judgement.pause {
            runtime.gate.pause(pause);
            self.tell(Notice::Paused {
                uuid: runtime.uuid.clone(),
                epoch: began.epoch,
                until: UtcTime::now() + pause,
            })
            .await;
        }
        Some(Finished {
            round,
            judgement,
            began,
        })
    }

    /// Tells the breaker.
    pub(crate) async fn tell(&self, notice: Notice) {
        // The guardian ends after everybody who reports to it.
        let _ = self.guardian.send(notice).await;
    }

    /// Hands the outcome to the recorder, together with what it is to let go of.
    pub(crate) async fn record(
        &self,
        job: &Job,
        runtime: &Runtime,
        finished: Finished,
        release: Release,
        permit: Option<WindowPermit>,
        notice: Option<Notice>,
    ) {
        crate::failpoints::crash_point!(SENT);
        let notice = notice.or_else(|| {
            finished.judgement.gone.then(|| Notice::Gone {
                uuid: runtime.uuid.clone(),
                epoch: finished.began.epoch,
                error: finished.error(),
            })
        });
        let record = record(job, &runtime.uuid, &finished);
        self.recorder
            .record(Outcome {
                record,
                release,
                permit,
                notice,
                arrived: Some(job.arrived),
            })
            .await;
    }
}

/// A message in hand, and everything that is let go of with it.
pub(crate) struct Delivery {
    pub(crate) dispatch: Dispatch,
    pub(crate) store: Store,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) stop: CancellationToken,
    pub(crate) acker: Acker,
    pub(crate) in_hand: InHand,
    pub(crate) permit: WindowPermit,
}

impl Delivery {
    /// Delivers, and records what it came to. One that was interrupted is let go of
    /// unacknowledged; the bus keeps it.
    pub(crate) async fn run(self, job: Job) {
        if self.runtime.current().settings.ordered() {
            return self.run_in_order(job).await;
        }
        match self.dispatch.round(&job, &self.runtime, &self.stop).await {
            Some(finished) => self.finish(&job, finished, None).await,
            None => self.in_hand.remove(job.seq),
        }
    }

    /// Where the order counts, a failure is tried again in place: the next event waits until this
    /// one is delivered or given up.
    async fn run_in_order(self, mut job: Job) {
        loop {
            let pass = tokio::select! {
                biased;
                () = self.stop.cancelled() => return self.in_hand.remove(job.seq),
                pass = self.runtime.gate.enter() => pass,
            };
            let probes = pass == Pass::Probe;
            let epoch = self.runtime.current().epoch;
            let (dispatch, runtime) = (&self.dispatch, &self.runtime);
            let round = if probes {
                dispatch.probe(&job, runtime, &self.stop).await
            } else {
                dispatch.round(&job, runtime, &self.stop).await
            };
            let Some(finished) = round else {
                if probes {
                    let released = probed(&runtime.uuid, epoch, Probed::Released);
                    dispatch.tell(released).await;
                }
                return self.in_hand.remove(job.seq);
            };
            if finished.is_delivered() || (finished.is_dead() && !probes) {
                let success = probes.then(|| probed(&runtime.uuid, epoch, Probed::Succeeded));
                return self.finish(&job, finished, success).await;
            }
            job.attempts += finished.attempts();
            if probes {
                let failed = probed(&runtime.uuid, epoch, failed(&finished));
                dispatch.tell(failed).await;
                continue;
            }
            job.rounds = Rounds::Redelivery(finished.rounds());
            if finished.counts() {
                self.count(epoch, &finished).await;
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return self.in_hand.remove(job.seq),
                () = tokio::time::sleep(finished.wait()) => {}
            }
        }
    }

    /// A failure that leaves no row counts all the same.
    async fn count(&self, epoch: i64, finished: &Finished) {
        let uuid = &self.runtime.uuid;
        let error = finished.error();
        let counted = self
            .store
            .count_failure(uuid, epoch, &error, UtcTime::now())
            .await;
        match counted {
            Ok(Some(failures)) => self.dispatch.tell(Notice::failures(failures)).await,
            // It failed as the subscription was before.
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, subscription = %uuid, "cannot count a failed delivery; the next one counts");
            }
        }
    }

    async fn finish(self, job: &Job, finished: Finished, notice: Option<Notice>) {
        let release = Release::Message {
            acker: self.acker,
            in_hand: self.in_hand,
        };
        self.dispatch
            .record(
                job,
                &self.runtime,
                finished,
                release,
                Some(self.permit),
                notice,
            )
            .await;
    }

    /// Records what was never sent.
    pub(crate) async fn record(self, record: DeliveryRecord) {
        let release = Release::Message {
            acker: self.acker,
            in_hand: self.in_hand,
        };
        let outcome = Outcome {
            permit: Some(self.permit),
            ..Outcome::of(record, release)
        };
        self.dispatch.recorder.record(outcome).await;
    }
}

fn record(job: &Job, subscription: &str, finished: &Finished) -> DeliveryRecord {
    let Finished {
        round,
        judgement,
        began,
    } = finished;
    let last = round.attempts.last();
    let delivered = judgement.status == DeliveryStatus::Delivered;
    DeliveryRecord {
        pair_id: job.pair_id.clone(),
        seq: job.seq,
        incarnation: job.incarnation.clone(),
        subscription: subscription.to_owned(),
        event_id: job.event.id().to_string(),
        topic: job.event.topic().to_string(),
        kind: job.kind.clone(),
        status: judgement.status,
        attempts: job.attempts + finished.attempts(),
        status_code: last.and_then(|attempt| attempt.status),
        error: last.and_then(|attempt| attempt.error.clone()),
        duration: last.map(|attempt| attempt.duration).unwrap_or_default(),
        body: (!delivered).then(|| job.event.body().clone()),
        at: UtcTime::now(),
        next_attempt_at: judgement.next_attempt_at,
        round: judgement.rounds,
        epoch: began.epoch,
        counts: judgement.counts,
        failed_attempts: round
            .attempts
            .iter()
            .filter(|attempt| !attempt.verdict.is_delivered())
            .map(|attempt| AttemptRecord {
                at: attempt.at,
                status_code: attempt.status,
                duration: attempt.duration,
                error: attempt.error.clone(),
                answer: attempt.answer.clone(),
            })
            .collect(),
    }
}
