//! What every task of one subscription shares while the worker runs.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use http::{HeaderName, HeaderValue};
use tokio_util::sync::CancellationToken;
use webhook_delivery::{Attempt, Endpoint, EndpointVerdict, Interruption, RoundHooks};
use webhook_model::{Settings, State, Subscription, UtcTime};
use webhook_store::{Pair, SubscriptionView};

use crate::{
    SubscriptionTotals,
    counters::Outcomes,
    crew::Share,
    gate::Gate,
    pace::{Pace, Rate},
    probing::Probing,
    slots::{Slot, Slots},
    window::Window,
};

/// The settings an attempt is made with.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) name: Arc<str>,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) settings: Arc<Settings>,
    /// Counts the subscription's changes; outcomes carry it.
    pub(crate) epoch: i64,
    /// This worker's part of the rate limit; none is unlimited.
    rate: Option<Rate>,
    state: State,
    /// Its live pairs.
    pub(crate) pairs: Arc<[Pair]>,
    /// Up to this sequence number a message may have been sent before its turn.
    pub(crate) ahead_seq: u64,
    /// When the breaker probes next.
    next_probe_at: Option<UtcTime>,
}

impl Current {
    fn new(view: &SubscriptionView, share: Share) -> Self {
        let subscription = &view.subscription;
        let settings = &subscription.settings;
        let burst = settings.burst().unwrap_or(settings.rate_per_second());
        Self {
            name: subscription.name.as_str().into(),
            endpoint: Arc::new(endpoint(subscription)),
            settings: Arc::new(subscription.settings.clone()),
            epoch: view.epoch,
            rate: match settings.rate_per_second() {
                0 => None,
                // What is in hand may end where nothing new may begin.
                rate => Rate::new(share.of(rate).max(1), Some(share.of(burst).max(1))),
            },
            state: subscription.state,
            pairs: view.pairs.clone().into(),
            ahead_seq: view.ahead_seq.unwrap_or(0),
            next_probe_at: view.breaker.probe_at,
        }
    }
}

fn endpoint(subscription: &Subscription) -> Endpoint {
    let settings = &subscription.settings;
    let headers = settings.headers().iter().filter_map(|header| {
        let name = HeaderName::from_bytes(header.name().as_bytes()).ok()?;
        let mut value = HeaderValue::from_str(header.value().expose()).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    });
    Endpoint {
        timeout: Some(Duration::from_secs(u64::from(settings.timeout_seconds()))),
        headers: headers.collect(),
        ..Endpoint::new(subscription.url.clone(), subscription.secret.clone())
    }
}

/// One subscription at run time.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) uuid: String,
    pub(crate) window: Window,
    pub(crate) slots: Slots,
    pub(crate) gate: Gate,
    pub(crate) outcomes: Outcomes,
    pub(crate) streak: Streak,
    pub(crate) probing: Probing,
    pace: Pace,
    current: RwLock<Current>,
}

impl Runtime {
    pub(crate) fn new(view: &SubscriptionView, share: Share, slots: Slots) -> Self {
        let runtime = Self {
            uuid: view.subscription.uuid.clone(),
            window: Window::new(width(&view.subscription.settings, share)),
            slots,
            gate: Gate::default(),
            outcomes: Outcomes::default(),
            streak: Streak::default(),
            probing: Probing::default(),
            pace: Pace::default(),
            current: RwLock::new(Current::new(view, share)),
        };
        runtime.hold_back(view);
        runtime
    }

    /// Shut or paused at once, before anybody may pass; opening is the guardian's.
    fn hold_back(&self, view: &SubscriptionView) {
        if view.subscription.state != State::Active && self.gate.is_open() {
            self.gate.shut();
        }
        let now = UtcTime::now();
        match view.pause_until {
            Some(until) if until > now => self.gate.pause(until.since(now)),
            _ => {}
        }
    }

    /// The settings as last reloaded.
    pub(crate) fn current(&self) -> Current {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes over a changed row, or a changed share. Attempts in flight keep what they began with.
    pub(crate) fn update(&self, view: &SubscriptionView, share: Share) {
        if self.current().epoch != view.epoch {
            // What the receiver asked for, it asked as it was before; so it answered.
            self.gate.unpause();
            self.streak.reset();
        }
        self.hold_back(view);
        self.window
            .set_max(width(&view.subscription.settings, share));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Current::new(view, share);
    }
}

/// Failed rounds in a row as this worker saw them, and how the last of them ended. The table counts
/// for all workers; this is what is known before the commit.
#[derive(Debug, Default)]
pub(crate) struct Streak(Mutex<Failed>);

#[derive(Debug, Default)]
struct Failed {
    count: u32,
    gone: bool,
    last: Option<(EndpointVerdict, Option<String>)>,
}

impl Streak {
    /// The streak after a round.
    pub(crate) fn after(&self, delivered: bool, failed: bool) -> u32 {
        let mut streak = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if delivered {
            (streak.count, streak.gone) = (0, false);
        } else if failed {
            streak.count = streak.count.saturating_add(1);
        }
        streak.count
    }

    /// Notes a 410; whether it is not the first one.
    pub(crate) fn gone_before(&self) -> bool {
        let mut streak = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut streak.gone, true)
    }

    /// Notes how a failure ended.
    pub(crate) fn note(&self, endpoint: EndpointVerdict, error: Option<String>) {
        if endpoint != EndpointVerdict::Takes {
            let mut streak = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            streak.last = Some((endpoint, error));
        }
    }

    /// How the last failure ended.
    pub(crate) fn last(&self) -> Option<(EndpointVerdict, Option<String>)> {
        let streak = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        streak.last.clone()
    }

    /// Begins anew.
    pub(crate) fn reset(&self) {
        let mut streak = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (streak.count, streak.gone) = (0, false);
    }
}

/// How many messages may be in hand here: one in all where the order counts, and none where the
/// rate limit leaves this worker nothing.
fn width(settings: &Settings, share: Share) -> usize {
    if settings.rate_per_second() > 0 && share.of(settings.rate_per_second()) == 0 {
        return 0;
    }
    share.of(in_all(settings)) as usize
}

/// How many messages may be in hand over all workers.
pub(crate) fn in_all(settings: &Settings) -> u32 {
    if settings.ordered() {
        1
    } else {
        settings.max_in_flight()
    }
}

/// Admits the attempts of one round: at the subscription's pace, into a slot, with its settings as
/// they are then.
pub(crate) struct Admission {
    pub(crate) runtime: Arc<Runtime>,
    /// Passes whatever the gate holds back.
    pub(crate) probes: bool,
    /// Ends pauses and lets nothing new begin.
    pub(crate) stop: CancellationToken,
}

impl RoundHooks for Admission {
    type Permit = Slot;

    async fn admit(&self) -> Option<(Arc<Endpoint>, Slot)> {
        let admitted = async {
            loop {
                if !self.probes && !self.runtime.gate.resumed().await {
                    return None;
                }
                self.runtime.pace.turn(self.runtime.current().rate).await;
                let slot = self.runtime.slots.acquire().await;
                // It may have been shut while this one waited for its turn.
                if self.probes || self.runtime.gate.is_open() {
                    return Some((self.runtime.current().endpoint, slot));
                }
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            admitted = admitted => admitted,
        }
    }

    async fn interrupted(&self, last: &Attempt) -> Interruption {
        let gate = &self.runtime.gate;
        let answered = last
            .verdict
            .endpoint()
            .is_some_and(EndpointVerdict::answered);
        let held = async {
            if self.probes {
                std::future::pending().await
            } else {
                gate.held().await;
            }
        };
        // The endpoint is well, so it is the event: it gives way to those behind it.
        let found_well = async {
            if answered {
                gate.found_well().await;
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Interruption::Stop,
            () = held => Interruption::Stop,
            () = found_well => Interruption::GiveUp,
        }
    }
}

/// The running subscriptions by uuid. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Directory(Arc<RwLock<BTreeMap<String, Arc<Runtime>>>>);

impl Directory {
    pub(crate) fn get(&self, uuid: &str) -> Option<Arc<Runtime>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(uuid)
            .cloned()
    }

    /// Forgets them all.
    pub(crate) fn clear(&self) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// What each of them stands at.
    pub(crate) fn totals(&self) -> Vec<SubscriptionTotals> {
        let runtimes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let totals = runtimes.values().map(|runtime| {
            let current = runtime.current();
            SubscriptionTotals {
                uuid: runtime.uuid.clone(),
                name: current.name,
                state: current.state,
                outcomes: runtime.outcomes.totals(),
                in_hand: runtime.window.in_hand(),
                paused_for: runtime.gate.paused_for(),
                next_probe_at: current.next_probe_at,
            }
        });
        totals.collect()
    }

    /// Those whose probe is offered to the rows: for `patience` nobody with an event of the bus took
    /// it, or it is the rows' turn.
    pub(crate) fn offering_probes(&self, patience: Duration) -> Vec<Arc<Runtime>> {
        let runtimes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let offering = runtimes
            .values()
            .filter(|runtime| runtime.gate.offers_rows(patience));
        offering.cloned().collect()
    }

    /// Takes over what was read: known subscriptions go on with their windows and gates.
    pub(crate) fn update(
        &self,
        views: &[SubscriptionView],
        share: Share,
        slots: impl Fn() -> Slots,
    ) {
        let mut runtimes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *runtimes);
        for view in views {
            let uuid = view.subscription.uuid.clone();
            let runtime = match before.remove(&uuid) {
                Some(runtime) => {
                    runtime.update(view, share);
                    runtime
                }
                None => Arc::new(Runtime::new(view, share, slots())),
            };
            runtimes.insert(uuid, runtime);
        }
    }
}
