//! One message's way to its recorded outcome, whether it comes off the bus or out of its row.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use webhook_bus::Acker;
use webhook_delivery::{Attempt, DeliveryClient, LocalFault, Outcome, RetryPolicy, Round};
use webhook_model::{DeliveryStatus, UtcTime};
use webhook_store::{AttemptRecord, DeliveryRecord};

use crate::{
    counters::Counters,
    guardian::{Notice, Probed},
    in_hand::InHand,
    job::Job,
    judge::{Circumstances, Ended, Judgement, Rounds, held_back, judge},
    local::{self, LocalFaults},
    pause::Pauses,
    prober::probe,
    recorder::{self, Recorder, Release},
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
    pub(crate) faults: Arc<LocalFaults>,
    /// Failed rounds in a row that put the endpoint in doubt.
    pub(crate) threshold: u32,
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
    /// Whether the event stays where it is, as if nothing had been tried.
    pub(crate) fn waits(&self) -> bool {
        self.judgement.waits
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.round.attempts.len() as u32
    }

    pub(crate) fn error(&self) -> String {
        let last = self.round.attempts.last();
        last.and_then(|attempt| attempt.error.clone())
            .unwrap_or_default()
    }

    /// What the breaker hears of it as a probe.
    pub(crate) fn probed(&self) -> Probed {
        let not_before = self.judgement.pause.map(|pause| UtcTime::now() + pause);
        match self.round.endpoint() {
            Some(endpoint) => Probed::Ended {
                probe: probe(endpoint, not_before),
                error: self.error(),
            },
            None => Probed::Released,
        }
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
        let mut pauses = Pauses::new(local::LONGEST_PAUSE);
        let (began, round) = loop {
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
            let Outcome::Ourselves(fault) = round.outcome else {
                break (began, round);
            };
            self.local_fault(fault, round.attempts.last());
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(pauses.next_pause()) => {}
            }
        };
        let judgement = match self.judge(job, runtime, &began, &round, probes) {
            Some(judgement) => judgement,
            None if stop.is_cancelled() => return None,
            None => held_back(job.rounds, UtcTime::now()),
        };
        if let Some(success) = judgement.success {
            runtime.window.report(success);
        }
        let finished = Finished {
            round,
            judgement,
            began,
        };
        if let Some(pause) = judgement.pause {
            runtime.gate.pause(pause);
            self.tell(Notice::Paused {
                uuid: runtime.uuid.clone(),
                epoch: finished.began.epoch,
                until: UtcTime::now() + pause,
                error: finished.error(),
            })
            .await;
        }
        Some(finished)
    }

    fn judge(
        &self,
        job: &Job,
        runtime: &Runtime,
        began: &Current,
        round: &Round,
        probes: bool,
    ) -> Option<Judgement> {
        let now = runtime.current();
        let first = job.rounds == Rounds::First && !probes;
        let failed = first && matches!(round.outcome, Outcome::Final | Outcome::Exhausted);
        let streak = runtime.streak.after(round.is_delivered(), failed);
        let in_doubt = streak > self.threshold && !runtime.gate.is_well();
        // One 410 is enough to know.
        let gone_before = round.outcome == Outcome::Gone && runtime.streak.gone_before();
        let judged = judge(
            Ended {
                outcome: round.outcome,
                endpoint: round.endpoint(),
            },
            Circumstances {
                rounds: job.rounds,
                stale: now.epoch != began.epoch,
                probes,
                doubtful: first && (in_doubt || gone_before),
                head_since: job.head_since,
            },
            &now.settings,
            UtcTime::now(),
            jitter(),
        );
        if let (Some(judgement), Some(endpoint)) = (&judged, round.endpoint())
            && judgement.counts
        {
            let last = round.attempts.last();
            let error = last.and_then(|attempt| attempt.error.clone());
            runtime.streak.note(endpoint, error);
        }
        judged
    }

    /// Counts what failed on this side, and tells the operator.
    pub(crate) fn local_fault(&self, fault: LocalFault, attempt: Option<&Attempt>) {
        self.counters.local_fault();
        self.faults.tell(fault, attempt);
    }

    /// Tells the breaker what a probe came to, and records that unless the event is to wait as if
    /// nothing had been tried. False when it is: then the caller gives it back.
    pub(crate) async fn conclude_probe(
        &self,
        job: &Job,
        runtime: &Arc<Runtime>,
        played: Option<Finished>,
        release: Release,
    ) -> bool {
        match played {
            Some(finished) if !finished.waits() => {
                let notice = Notice::Probed {
                    uuid: runtime.uuid.clone(),
                    epoch: runtime.probing.epoch(),
                    result: finished.probed(),
                };
                self.record(job, runtime, finished, release, None, Some(notice))
                    .await;
                true
            }
            played => {
                let result = played.map_or(Probed::Released, |finished| finished.probed());
                self.tell_probed(runtime, result).await;
                false
            }
        }
    }

    /// Tells the breaker what the probe that it offered came to.
    pub(crate) async fn tell_probed(&self, runtime: &Runtime, result: Probed) {
        let notice = Notice::Probed {
            uuid: runtime.uuid.clone(),
            epoch: runtime.probing.epoch(),
            result,
        };
        self.tell(notice).await;
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
            .record(recorder::Outcome {
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
        match self.dispatch.round(&job, &self.runtime, &self.stop).await {
            Some(finished) => self.finish(&job, finished).await,
            None => self.in_hand.remove(job.seq),
        }
    }

    async fn finish(self, job: &Job, finished: Finished) {
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
                None,
            )
            .await;
    }

    /// Records what was never sent.
    pub(crate) async fn record(self, record: DeliveryRecord) {
        let release = Release::Message {
            acker: self.acker,
            in_hand: self.in_hand,
        };
        let outcome = recorder::Outcome {
            permit: Some(self.permit),
            ..recorder::Outcome::of(record, release)
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
        in_order: began.settings.ordered()
            && (job.rounds == Rounds::First || job.head_since.is_some()),
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
