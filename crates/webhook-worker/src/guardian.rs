//! Keeps the breakers: hears what outcomes mean, decides by [`Breaker::step`], writes what was
//! decided by compare-and-set, and opens or shuts the gates. An operator's word in the tables
//! always wins; a step that no longer fits them is dropped.

mod notice;
mod probe;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use webhook_model::{State, UtcTime, topics};
use webhook_store::{BreakerPhase, Store, SubscriptionView};

use crate::{
    Counters,
    announcer::Announcements,
    breaker::{Action, Breaker, Input, Policy},
    runtime::Directory,
    schedule::jitter,
};

pub(crate) use notice::{Notice, Probed};

/// Notices that may wait; each comes from a committed outcome, which the windows bound.
const QUEUE: usize = 4_096;

/// A pause is written down again only when it ends this much later: every answer moves it a little.
const PAUSE_STEP: Duration = Duration::from_secs(1);

struct Ward {
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
    counters: Arc<Counters>,
    wards: BTreeMap<String, Ward>,
}

impl Guardian {
    pub(crate) fn new(
        store: Store,
        announcements: Announcements,
        directory: Directory,
        policy: Policy,
        reload: Arc<Notify>,
        owner: String,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            store,
            announcements,
            directory,
            policy,
            reload,
            owner,
            counters,
            wards: BTreeMap::new(),
        }
    }

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
        let due = |ward: &Ward| match ward.breaker {
            Breaker::Tripped { probe_at, .. } => probe_at,
            Breaker::Probing { .. } => ward.renew_at,
            Breaker::Healthy | Breaker::Paused => None,
        };
        self.wards.values().filter_map(due).min()
    }

    async fn tick(&mut self) {
        let uuids: Vec<String> = self.wards.keys().cloned().collect();
        for uuid in uuids {
            self.renew(&uuid).await;
            self.step(&uuid, Input::Tick, String::new()).await;
        }
    }

    async fn hear(&mut self, notice: Notice) {
        match notice {
            Notice::Reloaded(views) => self.reloaded(&views),
            Notice::Paused { uuid, epoch, until } => self.pause(&uuid, epoch, until).await,
            Notice::Failures { uuid, epoch, count } => {
                let reason = format!("{count} failed deliveries in a row");
                self.step_at(&uuid, epoch, Input::Failures(count), reason)
                    .await;
            }
            Notice::Gone { uuid, epoch, error } => {
                self.step_at(&uuid, epoch, Input::Gone, error).await;
            }
            Notice::Probed {
                uuid,
                epoch,
                result,
            } => match result {
                Probed::Succeeded => {
                    self.step_at(&uuid, epoch, Input::ProbeSucceeded, String::new())
                        .await;
                }
                Probed::Failed { gone, error } => {
                    self.step_at(&uuid, epoch, Input::ProbeFailed { gone }, error)
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
        let mut before = std::mem::take(&mut self.wards);
        for view in views {
            let uuid = view.subscription.uuid.clone();
            let ward = before.remove(&uuid);
            let renew_at = ward.as_ref().and_then(|ward| ward.renew_at);
            let breaker = match ward {
                Some(ward) if ward.epoch == view.epoch => unless_told(ward.breaker, view),
                ward => self.read(ward.map(|ward| ward.breaker), view),
            };
            if let Some(runtime) = self.directory.get(&uuid) {
                match breaker {
                    Breaker::Healthy => runtime.gate.open(),
                    Breaker::Tripped { .. } | Breaker::Paused => runtime.gate.shut(),
                    Breaker::Probing { .. } => {}
                }
            }
            let ward = Ward {
                breaker,
                epoch: view.epoch,
                name: view.subscription.name.clone(),
                renew_at,
                paused_until: view.pause_until,
            };
            self.wards.insert(uuid, ward);
        }
    }

    /// The breaker of a subscription that is new, or was changed by somebody.
    fn read(&self, before: Option<Breaker>, view: &SubscriptionView) -> Breaker {
        let input = match view.subscription.state {
            State::Active => Input::Enabled,
            State::Paused => Input::Disabled,
            State::Tripped { at } => return tripped(view, at, &self.policy),
        };
        let before = before.unwrap_or(Breaker::Healthy);
        before.step(input, &self.policy, UtcTime::now(), jitter()).0
    }

    /// As [`Guardian::step`], unless the subscription changed since what is reported began.
    async fn step_at(&mut self, uuid: &str, epoch: i64, input: Input, reason: String) {
        if self.wards.get(uuid).is_some_and(|ward| ward.epoch == epoch) {
            self.step(uuid, input, reason).await;
        } else {
            tracing::debug!(subscription = %uuid, epoch, ?input, "outcome of an older version, not counted");
        }
    }

    async fn step(&mut self, uuid: &str, input: Input, reason: String) {
        let Some(ward) = self.wards.get_mut(uuid) else {
            return;
        };
        let now = UtcTime::now();
        let (next, action) = ward.breaker.step(input, &self.policy, now, jitter());
        let (epoch, name) = (ward.epoch, ward.name.clone());
        let written = match action {
            Action::Nothing => Ok(true),
            Action::Probe => {
                if !self.claim(uuid, epoch).await {
                    return self.defer(uuid, now);
                }
                crate::failpoints::crash_point!(PROBING);
                Ok(true)
            }
            Action::Trip { probe_at } => {
                self.shut(uuid);
                self.store.trip(uuid, epoch, &reason, probe_at).await
            }
            Action::Wait { probe_at } => {
                self.shut(uuid);
                self.store
                    .probe_failed(uuid, epoch, &reason, probe_at)
                    .await
            }
            Action::Recover => {
                crate::failpoints::crash_point!(PROBED);
                self.store.recover(uuid, epoch).await
            }
        };
        match written {
            Ok(true) => {
                if let Some(ward) = self.wards.get_mut(uuid) {
                    ward.breaker = next;
                }
                let failures = match input {
                    Input::Failures(count) => Some(count),
                    _ => None,
                };
                self.act(uuid, &name, action, &reason, failures);
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
    async fn pause(&mut self, uuid: &str, epoch: i64, until: UtcTime) {
        let news = |ward: &&mut Ward| {
            ward.epoch == epoch && ward.paused_until.is_none_or(|it| until > it + PAUSE_STEP)
        };
        let Some(ward) = self.wards.get_mut(uuid).filter(news) else {
            return;
        };
        match self.store.pause_until(uuid, epoch, until).await {
            Ok(_) => ward.paused_until = Some(until),
            Err(error) => {
                tracing::warn!(%error, subscription = %uuid, "cannot write down the pause that the receiver asked for; it holds in this process alone");
            }
        }
    }

    /// Without its row the breaker goes on with what is safe: a trip waits for the next failure, a
    /// recovery for the next probe.
    fn unwritten(&mut self, uuid: &str, action: Action, next: Breaker, now: UtcTime) {
        let Some(ward) = self.wards.get_mut(uuid) else {
            return;
        };
        match action {
            Action::Trip { .. } => {
                if let Some(runtime) = self.directory.get(uuid) {
                    runtime.gate.open();
                }
            }
            Action::Recover => {
                let failed = Input::ProbeFailed { gone: false };
                ward.breaker = ward.breaker.step(failed, &self.policy, now, jitter()).0;
            }
            Action::Wait { .. } | Action::Nothing | Action::Probe => ward.breaker = next,
        }
    }

    fn act(&self, uuid: &str, name: &str, action: Action, reason: &str, failures: Option<u32>) {
        let Some(runtime) = self.directory.get(uuid) else {
            return;
        };
        match action {
            Action::Nothing => {}
            Action::Probe => runtime.gate.offer_probe(),
            Action::Wait { probe_at: Some(_) } => {}
            Action::Wait { probe_at: None } => {
                tracing::warn!(subscription = %uuid, name, reason, "given up: it is left to the operator to switch it on again");
            }
            Action::Trip { probe_at } => {
                crate::failpoints::crash_point!(TRIPPED);
                self.counters.tripped();
                tracing::warn!(subscription = %uuid, name, reason, "tripped: switched off until a probe succeeds");
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
                runtime.gate.open();
                let reason = "a probe succeeded";
                let said = json!({"subscription": uuid, "name": name, "reason": reason});
                self.announcements
                    .say(topics::RECOVERED, "recovered", &said);
                self.reload.notify_one();
            }
        }
    }

    fn shut(&self, uuid: &str) {
        if let Some(runtime) = self.directory.get(uuid) {
            runtime.gate.shut();
        }
    }
}

/// What this worker knows itself, unless another one has done something about it since.
fn unless_told(breaker: Breaker, view: &SubscriptionView) -> Breaker {
    match breaker {
        Breaker::Tripped {
            failed_probes,
            since,
            ..
        } if view.breaker.trips > failed_probes => Breaker::Tripped {
            probe_at: view.breaker.probe_at,
            failed_probes: view.breaker.trips,
            since,
        },
        other => other,
    }
}

/// A tripped breaker as a restarted worker finds it. A row that DECNET tripped itself has no phase
/// of ours; it gets a probe like any other.
fn tripped(view: &SubscriptionView, at: UtcTime, policy: &Policy) -> Breaker {
    Breaker::Tripped {
        probe_at: match view.breaker.phase {
            BreakerPhase::Tripped | BreakerPhase::Probing => view.breaker.probe_at,
            BreakerPhase::Healthy => Some(at + policy.after(0, 1.0)),
        },
        failed_probes: view.breaker.trips,
        since: view.breaker.failing_since.unwrap_or(at),
    }
}

#[cfg(test)]
mod tests;
