//! The task behind an open consumer: asks the server for as many messages as are likely to be taken
//! next, keeps the server patient about those in hand, and finds its way back after outages.

mod task;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    core::Core,
    held::{Delivery, Held},
    outbox::Word,
};
use crate::{BusError, ConsumerSpec, journal::lock};
use task::Task;

/// Most messages asked for ahead of their being taken: what one round trip fetches for a fast
/// consumer.
const MOST_AHEAD: usize = 64;
/// How long a question stays with the server, which answers it as messages come.
const ASK: Duration = Duration::from_secs(30);
/// After so long without a sign the question counts as lost.
const SILENCE: Duration = Duration::from_secs(11);
/// What was fetched but is not asked for any more goes back to the server after this time, for
/// other processes.
const IDLE: Duration = Duration::from_secs(5);

/// A consumer that is open in this process.
#[derive(Debug)]
pub(super) struct Pull {
    pub(super) core: Arc<Core>,
    spec: ConsumerSpec,
    incarnation: Arc<str>,
    state: Mutex<State>,
    /// For those who wait for messages.
    pub(super) wake: Notify,
    /// For the task.
    nudge: Notify,
    shut: CancellationToken,
    ended: CancellationToken,
}

#[derive(Debug)]
struct State {
    held: Held,
    window: u32,
    /// How many were taken at once lately: so many are fetched ahead.
    ahead: usize,
    /// Who waits for messages.
    callers: usize,
    last_call: Instant,
    /// The end that the caller waits to come past.
    end: Option<u64>,
    question: Option<Question>,
    not_before: Instant,
    /// The consumer is gone from the server though it is to come to its end here.
    gone: bool,
    failure: Option<BusError>,
}

/// What the server was asked for.
#[derive(Debug)]
struct Question {
    number: u64,
    left: usize,
    asked: Instant,
    heard: Instant,
}

/// What a caller finds.
pub(super) enum Found {
    Message(u64),
    Nothing,
    Gone,
}

impl Pull {
    pub(super) fn new(core: Arc<Core>, spec: ConsumerSpec, incarnation: &str) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            core,
            incarnation: incarnation.into(),
            state: Mutex::new(State {
                held: Held::default(),
                window: spec.window,
                ahead: 1,
                callers: 0,
                last_call: now,
                end: None,
                question: None,
                not_before: now,
                gone: false,
                failure: None,
            }),
            spec,
            wake: Notify::new(),
            nudge: Notify::new(),
            shut: CancellationToken::new(),
            ended: CancellationToken::new(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    pub(super) fn filter(&self) -> &str {
        self.spec.filter.as_str()
    }

    pub(super) fn start(&self) -> u64 {
        self.spec.start_seq
    }

    pub(super) fn incarnation(&self) -> &str {
        &self.incarnation
    }

    pub(super) fn is_open(&self) -> bool {
        !self.shut.is_cancelled()
    }

    pub(super) fn shut(&self) {
        self.shut.cancel();
        self.wake.notify_waiters();
    }

    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Forgets what the server was asked, and asks anew.
    pub(super) fn ask_again(&self) {
        lock(&self.state).question = None;
        self.nudge.notify_one();
    }

    /// Somebody waits for messages, until the answer is dropped.
    pub(super) fn call(&self, end: Option<u64>) -> Call<'_> {
        let mut state = lock(&self.state);
        state.callers += 1;
        state.end = end;
        state.last_call = Instant::now();
        drop(state);
        self.nudge.notify_one();
        Call(self)
    }

    pub(super) fn first(&self) -> Result<Found, BusError> {
        if !self.is_open() {
            return Err(BusError::Closed);
        }
        let state = lock(&self.state);
        if let Some(error) = &state.failure {
            return Err(error.clone());
        }
        Ok(match state.held.first() {
            Some(seq) => Found::Message(seq),
            None if state.gone => Found::Gone,
            None => Found::Nothing,
        })
    }

    /// Until when a question that was just asked deserves to be waited for.
    pub(super) fn fresh_until(&self, patience: Duration) -> Instant {
        let state = lock(&self.state);
        let asked = state.question.as_ref().map(|it| it.asked);
        asked.unwrap_or_else(Instant::now) + patience
    }

    pub(super) fn take(&self, max: usize) -> Result<Vec<Delivery>, BusError> {
        let mut state = lock(&self.state);
        if let Some(error) = &state.failure {
            return Err(error.clone());
        }
        state.ahead = max.clamp(1, MOST_AHEAD);
        let taken = state.held.take(max);
        drop(state);
        self.nudge.notify_one();
        Ok(taken)
    }

    pub(super) fn release(&self, seq: u64) {
        lock(&self.state).held.release(seq);
        self.wake.notify_waiters();
    }

    pub(super) fn ack(&self, seq: u64) {
        let reply = lock(&self.state).held.ack(seq);
        if let Some(reply) = reply {
            self.core.outbox.say(reply, Word::Ack);
            // A consumer of one may ask for the next.
            self.nudge.notify_one();
        }
    }

    /// Whether it was acknowledged here lately.
    pub(super) fn has_acked(&self, seq: u64) -> bool {
        lock(&self.state).held.has_acked(seq)
    }

    pub(super) fn set_window(&self, window: u32) {
        lock(&self.state).window = window;
        self.nudge.notify_one();
    }

    /// Runs until the consumer is shut. What waits goes back to the server then.
    pub(super) async fn run(self: Arc<Self>) {
        Task::new(&self).run().await;
        self.give_back();
        let ended = self.ended.clone();
        // It may be the last that has it: then this gives back what is out.
        drop(self);
        ended.cancel();
    }

    fn give_back(&self) {
        let replies = lock(&self.state).held.give_back();
        for reply in replies {
            self.core.outbox.say(reply, Word::Nak);
        }
    }

    /// What to make again of a consumer that the server has no more; none if it is only to come to
    /// its end, since then another process has seen that and removed it.
    fn to_make_again(&self) -> Option<ConsumerSpec> {
        let mut state = lock(&self.state);
        if state.failure.is_some() {
            return None;
        }
        if state.end.is_some() {
            state.gone = true;
            self.wake.notify_waiters();
            return None;
        }
        Some(ConsumerSpec {
            window: state.window,
            ..self.spec.clone()
        })
    }

    /// Nothing more comes, and this is why.
    pub(super) fn fail(&self, error: BusError) {
        lock(&self.state).failure = Some(error);
        self.wake.notify_waiters();
    }
}

impl Drop for Pull {
    /// Nobody is left who could acknowledge what is out.
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        for reply in state.held.abandon() {
            self.core.outbox.say(reply, Word::Nak);
        }
    }
}

/// Somebody who waits.
pub(super) struct Call<'a>(&'a Pull);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.callers -= 1;
        state.last_call = Instant::now();
    }
}

impl State {
    /// How many messages to ask for now; 0 for none.
    fn wanted(&self, now: Instant) -> usize {
        let idle = self.callers == 0 && now >= self.last_call + IDLE;
        let beyond = self.gone || self.failure.is_some();
        if self.question.is_some() || idle || beyond || now < self.not_before {
            return 0;
        }
        let waiting = self.held.waiting();
        if self.window <= 1 {
            return usize::from(self.held.len() == 0);
        }
        if waiting > self.ahead / 2 {
            return 0;
        }
        self.ahead - waiting
    }

    /// When to look again though nothing happens.
    fn next_look(&self, now: Instant) -> Instant {
        let mut next = now + ASK;
        if let Some(question) = &self.question {
            next = next.min(question.heard + SILENCE);
        } else if now < self.not_before {
            next = next.min(self.not_before);
        }
        if self.callers == 0 && (self.held.waiting() > 0 || self.question.is_some()) {
            next = next.min(self.last_call + IDLE);
        }
        next
    }
}
