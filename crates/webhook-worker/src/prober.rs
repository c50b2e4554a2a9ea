//! Asks an endpoint whether it takes events: with a test ping, or with the newest event that its
//! subscription has on the bus. The breaker says when; it hears what came of it like of any probe.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use webhook_bus::{Bus, Message};
use webhook_delivery::{Attempt, EndpointVerdict, EventVerdict, PreparedEvent, Verdict};
use webhook_model::{Event, UtcTime};
use webhook_store::Store;

use crate::{
    breaker::{Manner, Probe},
    freshness::Freshness,
    guardian::{Notice, Probed},
    job::Job,
    local,
    pause::Pauses,
    recorder::Release,
    runtime::{Directory, Runtime},
    send::Dispatch,
};

/// Questions that may wait: one a subscription at a time is asked.
const QUEUE: usize = 4_096;
/// Who triggers the ping.
const TRIGGERED_BY: &str = "decnet";

/// What is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A test ping before the subscription is switched off.
    Control,
    /// A test ping while it is.
    Ping,
    /// The newest event while it is.
    Newest,
}

/// One question about one version of a subscription.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) uuid: String,
    pub(crate) epoch: i64,
    pub(crate) ask: Ask,
}

/// The queue's two ends.
pub(crate) fn channel() -> (mpsc::Sender<Question>, mpsc::Receiver<Question>) {
    mpsc::channel(QUEUE)
}

/// The task.
#[derive(Clone)]
pub(crate) struct Prober {
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) directory: Directory,
    pub(crate) dispatch: Dispatch,
    pub(crate) freshness: Freshness,
    pub(crate) incarnation: String,
}

impl Prober {
    /// Works until `stop`, and returns when its last attempt has ended.
    pub(crate) async fn run(
        self,
        mut questions: mpsc::Receiver<Question>,
        stop: CancellationToken,
    ) {
        let asking = TaskTracker::new();
        loop {
            let question = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                question = questions.recv() => match question {
                    Some(question) => question,
                    None => break,
                },
            };
            let (this, stop) = (self.clone(), stop.clone());
            asking.spawn(async move { this.ask(question, stop).await });
        }
        asking.close();
        asking.wait().await;
    }

    async fn ask(&self, question: Question, stop: CancellationToken) {
        let Question { uuid, epoch, ask } = question;
        let Some(runtime) = self.directory.get(&uuid) else {
            return;
        };
        let answered = match ask {
            Ask::Control | Ask::Ping => {
                let answered = self.ping(&runtime, &stop).await;
                answered.map_or(Probed::Released, |(probe, error)| Probed::Ended {
                    probe,
                    error,
                })
            }
            Ask::Newest => match self.newest(&runtime, epoch, &stop).await {
                Some(probed) => probed,
                // It is recorded, and told with its commit.
                None => return,
            },
        };
        let notice = if ask == Ask::Control {
            Notice::Controlled {
                uuid,
                epoch,
                result: answered,
            }
        } else {
            Notice::Probed {
                uuid,
                epoch,
                result: answered,
            }
        };
        self.dispatch.tell(notice).await;
    }

    /// One test ping; none when it was cut short.
    async fn ping(&self, runtime: &Runtime, stop: &CancellationToken) -> Option<(Probe, String)> {
        let event = PreparedEvent::new(&Event::test_ping(TRIGGERED_BY));
        let mut pauses = Pauses::new(local::LONGEST_PAUSE);
        let asked = async {
            loop {
                let slot = runtime.slots.acquire().await;
                let endpoint = runtime.current().endpoint;
                let attempt = self.dispatch.client.attempt(&endpoint, &event).await;
                drop(slot);
                if let Some(probe) = self.dispatch.heard(&attempt) {
                    return (probe, attempt.error.unwrap_or_default());
                }
                tokio::time::sleep(pauses.next_pause()).await;
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            asked = asked => Some(asked),
        }
    }

    /// The newest event, sent before its turn. None when what it came to is recorded, and told with
    /// that.
    async fn newest(
        &self,
        runtime: &Arc<Runtime>,
        epoch: i64,
        stop: &CancellationToken,
    ) -> Option<Probed> {
        let nothing = Some(Probed::Ended {
            probe: Probe::Nothing,
            error: String::new(),
        });
        // What is still under way may be it; and where the order counts, nothing goes ahead.
        if runtime.window.in_hand() > 0 || runtime.current().settings.ordered() {
            return nothing;
        }
        let found = match self.find_newest(runtime).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, subscription = %runtime.uuid, "cannot look for the newest event to probe with");
                None
            }
        };
        let Some((pair_id, message)) = found else {
            return nothing;
        };
        // What is no event is a dead letter when its turn comes.
        let Ok(job) = Job::from_message(&message, &pair_id, &self.incarnation, runtime) else {
            return nothing;
        };
        match self
            .store
            .note_ahead(&runtime.uuid, epoch, message.seq)
            .await
        {
            Ok(true) => {}
            Ok(false) => return Some(Probed::Released),
            Err(error) => {
                tracing::warn!(%error, subscription = %runtime.uuid, "cannot note that an event goes ahead; it waits for its turn");
                return nothing;
            }
        }
        let confirmed = tokio::select! {
            biased;
            () = stop.cancelled() => false,
            confirmed = self.freshness.confirm() => confirmed.is_ok(),
        };
        if !confirmed {
            return Some(Probed::Released);
        }
        let Some(finished) = self.dispatch.probe(&job, runtime, stop).await else {
            return Some(Probed::Released);
        };
        let probed = finished.probed();
        if finished.waits() {
            runtime.probing.tried_message(message.seq);
            return Some(probed);
        }
        let notice = Notice::Probed {
            uuid: runtime.uuid.clone(),
            epoch,
            result: probed,
        };
        self.dispatch
            .record(&job, runtime, finished, Release::Row, None, Some(notice))
            .await;
        None
    }

    /// The newest event of all pairs that is not on record yet, and its pair.
    async fn find_newest(
        &self,
        runtime: &Runtime,
    ) -> Result<Option<(String, Message)>, Box<dyn std::error::Error + Send + Sync>> {
        let mut newest: Option<(String, Message)> = None;
        for pair in runtime.current().pairs.iter() {
            let Some(message) = self.bus.newest(&pair.filter).await? else {
                continue;
            };
            let later = newest.as_ref().is_none_or(|(_, it)| it.seq < message.seq);
            if later && message.seq >= pair.start_seq && pair.incarnation == self.incarnation {
                newest = Some((pair.id.clone(), message));
            }
        }
        let Some((_, message)) = &newest else {
            return Ok(None);
        };
        let seqs = [message.seq];
        let seen = self
            .store
            .seen(&runtime.uuid, &self.incarnation, &seqs)
            .await?;
        Ok(newest.filter(|_| seen.is_empty()))
    }
}

impl Dispatch {
    /// What a single attempt tells of its endpoint; nothing where it failed on this side.
    fn heard(&self, attempt: &Attempt) -> Option<Probe> {
        self.counters.attempts(std::slice::from_ref(attempt));
        let (event, endpoint) = match attempt.verdict {
            Verdict::Receiver { event, endpoint } => (event, endpoint),
            Verdict::Ourselves(fault) => {
                self.local_fault(fault, Some(attempt));
                return None;
            }
        };
        let not_before = match event {
            EventVerdict::NotYet { after: Some(after) } => Some(UtcTime::now() + after),
            _ => None,
        };
        Some(probe(endpoint, not_before))
    }
}

/// What an attempt's word of the endpoint is to the breaker.
pub(crate) fn probe(endpoint: EndpointVerdict, not_before: Option<UtcTime>) -> Probe {
    match endpoint {
        EndpointVerdict::Takes => Probe::Taken,
        EndpointVerdict::Gone => Probe::Gone,
        EndpointVerdict::Answers | EndpointVerdict::Objects => Probe::Refused {
            manner: Manner::Answers,
            not_before,
        },
        EndpointVerdict::Silent => Probe::Refused {
            manner: Manner::Silent,
            not_before,
        },
    }
}
