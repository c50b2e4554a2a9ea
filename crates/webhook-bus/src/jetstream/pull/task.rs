use async_nats::{Message as Reply, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, timeout};
use webhook_model::Topic;

use super::{ASK, IDLE, Pull, Question, SILENCE};
use crate::{
    BusError,
    jetstream::{
        consumer::server_config,
        held::{Arrival, Delivery},
        outbox::Word,
        place::Place,
    },
    journal::lock,
    message::Entry,
};

/// How often the server says that it still knows of the question, when nothing comes.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Pause after a refused question.
const REFUSED: Duration = Duration::from_millis(250);
/// Most bytes asked for ahead, so that large messages do not add up.
const AHEAD_BYTES: usize = 4 << 20;
/// Longest wait for a server to confirm that it sends no more.
const LEAVING: Duration = Duration::from_secs(1);
/// Progress is told so many times within the server's patience.
const PROGRESS: u32 = 3;

/// The moving parts of the task.
pub(super) struct Task<'a> {
    pull: &'a Pull,
    inbox: String,
    messages: Option<Subscriber>,
    number: u64,
    /// Whether to look what became of the consumer.
    doubtful: bool,
}

impl<'a> Task<'a> {
    pub(super) fn new(pull: &'a Pull) -> Self {
        Self {
            pull,
            inbox: String::new(),
            messages: None,
            number: 0,
            doubtful: false,
        }
    }

    /// Until the consumer is shut.
    pub(super) async fn run(&mut self) {
        self.fetch().await;
        let _ = timeout(LEAVING, self.leave()).await;
    }

    /// Takes what the server had sent already, so that it is given back with the rest: else nobody
    /// had it until the server's patience ends.
    async fn leave(&mut self) {
        let Some(mut messages) = self.messages.take() else {
            return;
        };
        if !self.pull.core.link.is_up() || messages.drain().await.is_err() {
            return;
        }
        while let Some(message) = messages.next().await {
            self.arrived(message);
        }
    }

    async fn fetch(&mut self) {
        let pull = self.pull;
        let mut returns = pull.core.returns.subscribe();
        let mut progress = tokio::time::interval(pull.core.config.ack_wait / PROGRESS);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.doubtful {
                tokio::select! {
                    () = pull.shut.cancelled() => return,
                    () = self.verify() => {}
                }
            }
            self.ask().await;
            let next_look = lock(&pull.state).next_look(Instant::now());
            tokio::select! {
                biased;
                () = pull.shut.cancelled() => return,
                _ = progress.tick() => self.say_progress(),
                message = next(&mut self.messages) => match message {
                    Some(message) => self.arrived(message),
                    None => self.messages = None,
                },
                () = pull.nudge.notified() => {}
                changed = returns.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.returned();
                }
                () = tokio::time::sleep_until(next_look) => self.look(),
            }
        }
    }

    /// Asks for messages if any are wanted.
    async fn ask(&mut self) {
        let core = &self.pull.core;
        let batch = lock(&self.pull.state).wanted(Instant::now());
        if batch == 0 || !core.link.is_up() {
            return;
        }
        let Some(client) = self.subscribe().await else {
            self.pause();
            return;
        };
        self.number += 1;
        let wanted = json!({
            "batch": batch,
            "max_bytes": AHEAD_BYTES,
            "expires": nanos(ASK),
            "idle_heartbeat": nanos(HEARTBEAT),
        });
        let subject = format!(
            "$JS.API.CONSUMER.MSG.NEXT.{}.{}",
            core.config.stream,
            self.pull.name()
        );
        let now = Instant::now();
        lock(&self.pull.state).question = Some(Question {
            number: self.number,
            left: batch,
            asked: now,
            heard: now,
        });
        let reply = format!("{}.{}", self.inbox, self.number);
        let sent = client.publish_with_reply(subject, reply, Bytes::from(wanted.to_string()));
        if sent.await.is_err() {
            lock(&self.pull.state).question = None;
            self.pause();
        }
    }

    async fn subscribe(&mut self) -> Option<async_nats::Client> {
        let client = self.pull.core.link.client.clone();
        if self.messages.is_none() {
            self.inbox = client.new_inbox();
            let subject = format!("{}.*", self.inbox);
            self.messages = Some(client.subscribe(subject).await.ok()?);
        }
        Some(client)
    }

    fn pause(&self) {
        lock(&self.pull.state).not_before = Instant::now() + REFUSED;
    }

    fn arrived(&mut self, message: Reply) {
        let place = message.reply.as_deref().and_then(Place::of);
        match (message.status, place) {
            (None, Some(place)) => self.message(message, place),
            (Some(status), _) => self.said(&message, status.as_u16()),
            (None, None) => {}
        }
    }

    fn message(&self, message: Reply, place: Place) {
        let pull = self.pull;
        let reply = message.reply.unwrap_or_else(|| Subject::from_static(""));
        let now = Instant::now();
        let mut state = lock(&pull.state);
        if let Some(question) = &mut state.question {
            question.heard = now;
            question.left = question.left.saturating_sub(1);
            if question.left == 0 {
                state.question = None;
            }
        }
        let topic = match Topic::parse(&message.subject) {
            Ok(topic) => topic,
            Err(error) => {
                tracing::warn!(seq = place.seq, %error, "skipping a message of the stream");
                pull.core.outbox.say(reply, Word::Ack);
                return;
            }
        };
        let incarnation = pull.incarnation.clone();
        let entry = Entry::new(
            place.seq,
            topic,
            message.payload,
            place.at,
            None,
            incarnation,
        );
        let delivery = Delivery {
            entry: Arc::new(entry),
            reply: reply.clone(),
            redelivered: place.delivered > 1,
        };
        let arrival = state.held.arrive(delivery);
        drop(state);
        match arrival {
            Arrival::Waits => pull.wake.notify_waiters(),
            Arrival::InHand => {}
            Arrival::AckAgain => pull.core.outbox.say(reply, Word::Ack),
        }
    }

    /// A status instead of a message.
    fn said(&mut self, message: &Reply, status: u16) {
        let number = message
            .subject
            .rsplit('.')
            .next()
            .and_then(|it| it.parse().ok());
        let mut state = lock(&self.pull.state);
        let Some(question) = &mut state.question else {
            return;
        };
        if number != Some(question.number) {
            return;
        }
        if status == 100 {
            question.heard = Instant::now();
            return;
        }
        state.question = None;
        let says = message.description.as_deref().unwrap_or_default();
        match status {
            // It expired, or was filled by bytes.
            404 | 408 => {}
            409 if says.contains("MaxBytes") || says.contains("Leadership Change") => {}
            409 if !says.contains("Consumer Deleted") => {
                drop(state);
                self.pause();
            }
            // Deleted, or nobody answers for it.
            _ => {
                drop(state);
                self.pause();
                self.doubtful = true;
            }
        }
    }

    /// The connection was away; the server has forgotten the question, if it is the same at all.
    fn returned(&mut self) {
        let now = self.pull.core.incarnation();
        if let Some(now) = now.filter(|it| *it != *self.pull.incarnation) {
            self.recreated(now);
            return;
        }
        let mut state = lock(&self.pull.state);
        state.question = None;
        let acknowledged = state.held.acknowledged();
        drop(state);
        // A server that was killed may not have kept the last of them.
        for reply in acknowledged {
            self.pull.core.outbox.say(reply, Word::Ack);
        }
    }

    fn recreated(&self, now: String) {
        self.pull.fail(BusError::Recreated {
            stream: self.pull.core.config.stream.clone(),
            was: self.pull.incarnation.to_string(),
            now,
        });
    }

    /// The time has come for something.
    fn look(&mut self) {
        let now = Instant::now();
        let mut state = lock(&self.pull.state);
        if (state.question.as_ref()).is_some_and(|it| now >= it.heard + SILENCE) {
            state.question = None;
            self.doubtful = true;
        }
        if state.callers == 0 && now >= state.last_call + IDLE {
            // Without interest in their answers, the server forgets questions.
            state.question = None;
            drop(state);
            self.messages = None;
            self.pull.give_back();
        }
    }

    fn say_progress(&self) {
        let core = &self.pull.core;
        if !core.link.is_up() {
            return;
        }
        let replies = lock(&self.pull.state).held.replies();
        for reply in replies {
            core.outbox.say(reply, Word::Progress);
        }
    }

    /// Finds out what became of the consumer: it is there, or it was deleted and is made again, or
    /// the stream is another one.
    async fn verify(&mut self) {
        match self.mend().await {
            Ok(()) => self.doubtful = false,
            Err(error) => {
                tracing::debug!(%error, consumer = self.pull.name(), "cannot look after a consumer now");
                tokio::time::sleep(REFUSED).await;
            }
        }
    }

    async fn mend(&self) -> Result<(), BusError> {
        let (core, name) = (&self.pull.core, self.pull.name());
        if core.consumer(name).await?.is_some() {
            return Ok(());
        }
        let stream = core.stream().await?;
        if stream.incarnation != *self.pull.incarnation {
            self.recreated(stream.incarnation);
            return Ok(());
        }
        let Some(spec) = self.pull.to_make_again() else {
            return Ok(());
        };
        tracing::warn!(
            consumer = name,
            "a consumer was deleted; making it again from its start"
        );
        core.put_consumer(server_config(core, &spec))
            .await
            .map(drop)
    }
}

/// The next message; never without a subscription.
async fn next(messages: &mut Option<Subscriber>) -> Option<Reply> {
    match messages {
        Some(messages) => messages.next().await,
        None => std::future::pending().await,
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
