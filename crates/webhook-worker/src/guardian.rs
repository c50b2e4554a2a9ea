//! Keeps the breakers: hears what outcomes mean, decides by [`Breaker::step`], writes what was
//! decided by compare-and-set, and opens or shuts the gates. An operator's word in the tables
//! always wins, whoever wrote it: where row and breaker disagree about one version of a
//! subscription, the row is right. A step that no longer fits them is dropped.

mod notice;
mod probe;
mod table;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use webhook_model::{UtcTime, topics};
use webhook_store::{FailedTurn, Store, SubscriptionView, Trip};

use crate::{
    Counters,
    announcer::Announcements,
    breaker::{Action, Breaker, CONTROL_STANDS, Candidate, Input, Manner, Phase, Policy, Probe},
    prober::{Ask, Question},
    runtime::{Directory, Runtime},
    schedule::jitter,
};

use table::{read, unless_told};

pub(crate) use notice::{Notice, Probed};

/// Notices that may wait; each comes from a committed outcome, which the windows bound.
const QUEUE: usize = 4_096;

/// A pause is written down again only when it ends this much later: every answer moves it a little.
const PAUSE_STEP: Duration = Duration::from_secs(1);
/// The shortest pause that is worth a line in the log: shorter ones are how a receiver paces us.
const TOLD_PAUSE: Duration = Duration::from_secs(10);
/// Wait before the next turn where a recovery could not be written.
const UNWRITTEN_PAUSE: Duration = Duration::from_secs(5);

pub(crate) struct Ward {
    breaker: Breaker,
    epoch: i64,
    name: String,
    /// When the lease of its probe is to be renewed.
    renew_at: Option<UtcTime>,
    /// The pause as it is written down.
    paused_until: Option<UtcTime>,
}

/// The queue's two ends.
pub(crate) fn channel() -> (mpsc::Sender<Notice>, mpsc::Receiver<Notice>) {
    mpsc::channel(QUEUE)
}

/// The task.
pub(crate) struct Guardian {
    pub(crate) store: Store,
    pub(crate) announcements: Announcements,
    pub(crate) directory: Directory,
    pub(crate) policy: Policy,
    pub(crate) reload: Arc<Notify>,
    /// This worker's name on its leases.
    pub(crate) owner: String,
    pub(crate) counters: Arc<Counters>,
    /// Where endpoints are asked.
    pub(crate) questions: mpsc::Sender<Question>,
    pub(crate) wards: Wards,
}

/// The breakers by their subscriptions' uuids.
#[derive(Default)]
pub(crate) struct Wards(BTreeMap<String, Ward>);

impl Guardian {
    /// Works until `shutdown`, then goes on listening until every sender is gone, so that nobody
    /// who reports an outcome waits for it.
    pub(crate) async fn run(
        mut self,
        mut notices: mpsc::Receiver<Notice>,
        shutdown: CancellationToken,
    ) {
        loop {
            let next = self.next_due();
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep(at.since(UtcTime::now())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                notice = notices.recv() => match notice {
                    Some(notice) => self.hear(notice).await,
                    None => return,
                },
                () = due, if !shutdown.is_cancelled() => self.tick().await,
            }
        }
    }

    fn next_due(&self) -> Option<UtcTime> {
        let due = |ward: &Ward| match ward.breaker.phase {
            Phase::Tripped { probe_at, .. } => probe_at,
            Phase::Probing { .. } => ward.renew_at,
            Phase::Healthy | Phase::Checking | Phase::Paused => None,
        };
        self.wards.0.values().filter_map(due).min()
    }

    async fn tick(&mut self) {
        let uuids: Vec<String> = self.wards.0.keys().cloned().collect();
        for uuid in uuids {
            self.renew(&uuid).await;
            self.step(&uuid, Input::Tick, String::new()).await;
        }
    }

    async fn hear(&mut self, notice: Notice) {
        match notice {
            Notice::Reloaded(views) => self.reloaded(&views),
            Notice::Paused {
                uuid,
                epoch,
                until,
                error,
            } => self.pause(&uuid, epoch, until, &error).await,
            Notice::Failures { uuid, epoch, count } => {
                let last = self.directory.get(&uuid).and_then(|it| it.streak.last());
                let (endpoint, cause) = last.unzip();
                let manner = match endpoint {
                    Some(endpoint) if endpoint.answered() => Manner::Answers,
                    _ => Manner::Silent,
                };
                let cause = cause.flatten().unwrap_or_default();
                self.step_at(&uuid, epoch, Input::Failures { count, manner }, cause)
                    .await;
            }
            Notice::Gone { uuid, epoch, error } => {
                self.step_at(&uuid, epoch, Input::Gone, error).await;
            }
            Notice::Controlled {
                uuid,
                epoch,
                result,
            } => {
                let (probe, error) = match result {
                    Probed::Ended { probe, error } => (probe, error),
                    Probed::Released => (Probe::Nothing, String::new()),
                };
                // What tripped it is told; that the ping fared no better says the same again.
                let last = self.directory.get(&uuid).and_then(|it| it.streak.last());
                let cause = last.and_then(|(_, error)| error).unwrap_or(error);
                self.step_at(&uuid, epoch, Input::Controlled(probe), cause)
                    .await;
            }
            Notice::Probed {
                uuid,
                epoch,
                result,
            } => match result {
                Probed::Ended { probe, error } => {
                    self.step_at(&uuid, epoch, Input::Probed(probe), error)
                        .await;
                }
                Probed::Released => {
                    self.step_at(&uuid, epoch, Input::ProbeReleased, String::new())
                        .await;
                }
            },
        }
    }

    /// The tables are the truth; only a probe that is on its way is known to nobody else.
    fn reloaded(&mut self, views: &[SubscriptionView]) {
        let mut before = std::mem::take(&mut self.wards.0);
        for view in views {
            let uuid = view.subscription.uuid.clone();
            let ward = before.remove(&uuid);
            if let Some(ward) = ward.as_ref().filter(|ward| ward.epoch > view.epoch) {
                // Read before what this worker wrote itself; the next look brings that.
                let ward = Ward {
                    name: ward.name.clone(),
                    ..*ward
                };
                self.wards.0.insert(uuid, ward);
                continue;
            }
            let renew_at = ward.as_ref().and_then(|ward| ward.renew_at);
            let breaker = match &ward {
                Some(ward) if ward.epoch == view.epoch => unless_told(ward.breaker, view),
                _ => read(view),
            };
            if let Some(runtime) = self.directory.get(&uuid) {
                match breaker.phase {
                    Phase::Healthy => runtime.gate.open(),
                    Phase::Tripped { .. } | Phase::Paused => runtime.gate.shut(),
                    Phase::Checking | Phase::Probing { .. } => {}
                }
            }
            let ward = Ward {
                breaker,
                epoch: view.epoch,
                name: view.subscription.name.clone(),
                renew_at,
                paused_until: view.pause_until,
            };
            self.wards.0.insert(uuid, ward);
        }
    }

    /// As [`Guardian::step`], unless the subscription changed since what is reported began.
    async fn step_at(&mut self, uuid: &str, epoch: i64, input: Input, reason: String) {
        if self
            .wards
            .0
            .get(uuid)
            .is_some_and(|ward| ward.epoch == epoch)
        {
            self.step(uuid, input, reason).await;
        } else {
            tracing::debug!(subscription = %uuid, epoch, ?input, "outcome of an older version, not counted");
        }
    }

    async fn step(&mut self, uuid: &str, input: Input, reason: String) {
        let Some(ward) = self.wards.0.get_mut(uuid) else {
            return;
        };
        let now = UtcTime::now();
        let (next, action) = ward.breaker.step(input, &self.policy, now, jitter());
        let (epoch, name) = (ward.epoch, ward.name.clone());
        // A step that bumps the epoch in the table.
        let mut bumps = 0;
        let written = match action {
            Action::Nothing | Action::Check | Action::Next(_) => Ok(true),
            Action::Probe(_) => {
                if !self.claim(uuid, epoch).await {
                    return self.defer(uuid, now);
                }
                crate::failpoints::crash_point!(PROBING);
                Ok(true)
            }
            Action::Clear => self.store.reset_failures(uuid, epoch).await.map(|()| true),
            Action::Trip { probe_at, outage } => {
                bumps = 1;
                self.shut(uuid);
                let trip = Trip {
                    cause: Some(reason.as_str()).filter(|cause| !cause.is_empty()),
                    probe_at,
                    answers: outage.manner == Manner::Answers,
                };
                self.store.trip(uuid, epoch, trip).await
            }
            Action::Wait { probe_at, outage } => {
                self.shut(uuid);
                let turn = FailedTurn {
                    error: &reason,
                    next_probe_at: probe_at,
                    turns: outage.turns,
                    answers: outage.manner == Manner::Answers,
                    silent_since: outage.silent_since,
                };
                self.store.probe_failed(uuid, epoch, turn).await
            }
            Action::Recover => {
                bumps = 1;
                crate::failpoints::crash_point!(PROBED);
                self.store.recover(uuid, epoch).await
            }
        };
        match written {
            Ok(true) => {
                if let Some(ward) = self.wards.0.get_mut(uuid) {
                    ward.breaker = next;
                    ward.epoch += bumps;
                }
                let failures = match input {
                    Input::Failures { count, .. } => Some(count),
                    _ => None,
                };
                self.act(uuid, epoch + bumps, &name, action, &reason, failures)
                    .await;
            }
            // Somebody changed the row meanwhile; the reload that follows brings what holds now.
            Ok(false) => self.reload.notify_one(),
            Err(error) => {
                tracing::warn!(%error, subscription = %uuid, ?action, "cannot write what the breaker decided");
                self.unwritten(uuid, action, next, now);
            }
        }
    }

    /// Writes down that the receiver wants to be left alone, for the others and for a restart.
    async fn pause(&mut self, uuid: &str, epoch: i64, until: UtcTime, error: &str) {
        let news = |ward: &&mut Ward| {
            ward.epoch == epoch && ward.paused_until.is_none_or(|it| until > it + PAUSE_STEP)
        };
        let Some(ward) = self.wards.0.get_mut(uuid).filter(news) else {
            return;
        };
        let now = UtcTime::now();
        let begins = ward.paused_until.is_none_or(|it| it <= now);
        if begins && until.since(now) >= TOLD_PAUSE {
            tracing::warn!(
                subscription = %uuid, name = ward.name, answer = error, until = %until.rfc3339(),
                "the receiver asked to be left alone: nothing is sent to it until then"
            );
        }
        match self.store.pause_until(uuid, epoch, until).await {
            Ok(_) => ward.paused_until = Some(until),
            Err(error) => {
                tracing::warn!(%error, subscription = %uuid, "cannot write down the pause that the receiver asked for; it holds in this process alone");
            }
        }
    }

    /// Without its row the breaker goes on with what is safe: a trip waits for the next failure, a
    /// recovery for the next turn.
    fn unwritten(&mut self, uuid: &str, action: Action, next: Breaker, now: UtcTime) {
        let Some(ward) = self.wards.0.get_mut(uuid) else {
            return;
        };
        match action {
            Action::Trip { .. } | Action::Clear => {
                ward.breaker.phase = Phase::Healthy;
                if let Some(runtime) = self.directory.get(uuid) {
                    runtime.gate.open();
                }
            }
            Action::Recover => ward.breaker = ward.breaker.deferred(now + UNWRITTEN_PAUSE),
            Action::Wait { .. }
            | Action::Nothing
            | Action::Check
            | Action::Probe(_)
            | Action::Next(_) => ward.breaker = next,
        }
    }

    async fn act(
        &self,
        uuid: &str,
        epoch: i64,
        name: &str,
        action: Action,
        reason: &str,
        failures: Option<u32>,
    ) {
        let Some(runtime) = self.directory.get(uuid) else {
            return;
        };
        match action {
            Action::Nothing => {}
            Action::Check => {
                runtime.gate.check();
                self.ask(uuid, epoch, Ask::Control).await;
            }
            Action::Clear => {
                tracing::info!(subscription = %uuid, name, reason, "the endpoint takes the test ping: what it refuses is the events' fault, and it stays on");
                runtime.streak.reset();
                runtime.gate.well(CONTROL_STANDS);
                runtime.gate.open();
            }
            Action::Probe(candidate) => {
                runtime.probing.begin(epoch);
                self.try_candidate(&runtime, epoch, candidate).await;
            }
            Action::Next(candidate) => self.try_candidate(&runtime, epoch, candidate).await,
            Action::Wait {
                probe_at: Some(_), ..
            } => {}
            Action::Wait { probe_at: None, .. } => {
                tracing::warn!(subscription = %uuid, name, reason, "given up: it is left to the operator to switch it on again");
            }
            Action::Trip { probe_at, outage } => {
                crate::failpoints::crash_point!(TRIPPED);
                self.counters.tripped();
                let until = match probe_at {
                    Some(_) => "a probe succeeds",
                    None => "an operator switches it on",
                };
                tracing::warn!(
                    subscription = %uuid, name, reason,
                    answers = outage.manner == Manner::Answers,
                    probe_at = probe_at.map(|at| at.rfc3339()),
                    "tripped: switched off until {until}"
                );
                let said = json!({
                    "subscription": uuid,
                    "name": name,
                    "reason": reason,
                    "consecutive_failures": failures,
                    "probe_at": probe_at,
                });
                self.announcements.say(topics::TRIPPED, "tripped", &said);
                self.reload.notify_one();
            }
            Action::Recover => {
                crate::failpoints::crash_point!(RECOVERED);
                self.counters.recovered();
                tracing::info!(subscription = %uuid, name, "recovered: its backlog follows");
                runtime.window.restart();
                runtime.streak.reset();
                runtime.gate.unpause();
                runtime.gate.well(CONTROL_STANDS);
                runtime.gate.open();
                let reason = "a probe succeeded";
                let said = json!({"subscription": uuid, "name": name, "reason": reason});
                self.announcements
                    .say(topics::RECOVERED, "recovered", &said);
                self.reload.notify_one();
            }
        }
    }

    /// Has one candidate of a turn tried.
    async fn try_candidate(&self, runtime: &Runtime, epoch: i64, candidate: Candidate) {
        match candidate {
            Candidate::Ping => self.ask(&runtime.uuid, epoch, Ask::Ping).await,
            Candidate::Newest => self.ask(&runtime.uuid, epoch, Ask::Newest).await,
            Candidate::Oldest => {
                let phase = self.wards.0.get(&runtime.uuid).map(|it| it.breaker.phase);
                let rows_first =
                    matches!(phase, Some(Phase::Probing { outage, .. }) if outage.rows_first());
                // Where the order counts, its head is the one candidate.
                let ordered = runtime.current().settings.ordered();
                runtime.gate.offer_probe(rows_first && !ordered);
            }
        }
    }

    async fn ask(&self, uuid: &str, epoch: i64, ask: Ask) {
        let question = Question {
            uuid: uuid.to_owned(),
            epoch,
            ask,
        };
        // The prober ends with the order to stop, and nobody waits for an answer then.
        let _ = self.questions.send(question).await;
    }

    fn shut(&self, uuid: &str) {
        if let Some(runtime) = self.directory.get(uuid) {
            runtime.gate.shut();
        }
    }
}

#[cfg(test)]
mod tests;
