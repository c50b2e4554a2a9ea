use webhook_model::TopicPattern;

use crate::{
    BusError, Message,
    jetstream::{PullAcker, PullConsumer},
    journal::{JournalAcker, JournalConsumer},
};

/// A durable consumer that is wanted.
#[derive(Debug, Clone)]
pub struct ConsumerSpec {
    /// Unique on the bus.
    pub name: String,
    /// What it gets. Fixed when the consumer is made.
    pub filter: TopicPattern,
    /// The bus that `start_seq` was read from. On another one the consumer starts at the beginning.
    pub incarnation: String,
    /// The first message it may get. Counts only when the consumer is made.
    pub start_seq: u64,
    /// Most messages that wait for their acknowledgement at once, over all processes that share the
    /// consumer. With 1 the next message comes when the last was acknowledged, whoever takes it. A
    /// journal has one worker, which keeps to its own window.
    pub window: u32,
}

/// What [`Consumer::ready`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// There is something to take.
    Available,
    /// Nothing at or below the given end is left to take; on a bus that several processes share,
    /// nothing that any of them has not acknowledged.
    Past,
}

/// An open durable consumer. Dropping it gives everything unacknowledged back to the bus.
#[derive(Debug)]
pub struct Consumer(Inner);

#[derive(Debug)]
enum Inner {
    Journal(JournalConsumer),
    JetStream(PullConsumer),
}

/// Acknowledges messages of one consumer, also after the consumer itself was dropped.
#[derive(Debug, Clone)]
pub struct Acker(Acks);

#[derive(Debug, Clone)]
enum Acks {
    Journal(JournalAcker),
    JetStream(PullAcker),
}

impl Consumer {
    /// Waits until a message can be taken, or until everything up to and including `end` has been
    /// taken. Cancel-safe.
    pub async fn ready(&mut self, end: Option<u64>) -> Result<Ready, BusError> {
        match &mut self.0 {
            Inner::Journal(consumer) => consumer.ready(end).await,
            Inner::JetStream(consumer) => consumer.ready(end).await,
        }
    }

    /// Takes at most `max` messages, in order, without waiting for more; there may be none.
    /// Cancel-safe.
    pub async fn take(&mut self, max: usize) -> Result<Vec<Message>, BusError> {
        crate::failpoints::crash_point!(TAKING, Err(crate::failpoints::silence()));
        match &mut self.0 {
            Inner::Journal(consumer) => consumer.take(max).await,
            Inner::JetStream(consumer) => consumer.take(max).await,
        }
    }

    /// Gives back a message that nobody has started on; it is handed out again, before newer ones.
    pub fn release(&self, seq: u64) {
        match &self.0 {
            Inner::Journal(consumer) => consumer.release(seq),
            Inner::JetStream(consumer) => consumer.release(seq),
        }
    }

    /// What acknowledges this consumer's messages.
    pub fn acker(&self) -> Acker {
        Acker(match &self.0 {
            Inner::Journal(consumer) => Acks::Journal(consumer.acker()),
            Inner::JetStream(consumer) => Acks::JetStream(consumer.acker()),
        })
    }

    /// The newest message when the consumer was opened. Up to here an earlier process may have
    /// handed a message out already.
    pub fn resumed_at(&self) -> u64 {
        match &self.0 {
            Inner::Journal(consumer) => consumer.resumed_at(),
            Inner::JetStream(consumer) => consumer.resumed_at(),
        }
    }

    /// Changes [`ConsumerSpec::window`] of the consumer, for every process that shares it.
    pub async fn set_window(&self, window: u32) -> Result<(), BusError> {
        match &self.0 {
            Inner::Journal(_) => Ok(()),
            Inner::JetStream(consumer) => consumer.set_window(window).await,
        }
    }
}

impl From<JournalConsumer> for Consumer {
    fn from(consumer: JournalConsumer) -> Self {
        Self(Inner::Journal(consumer))
    }
}

impl From<PullConsumer> for Consumer {
    fn from(consumer: PullConsumer) -> Self {
        Self(Inner::JetStream(consumer))
    }
}

impl Acker {
    /// Acknowledges a message: it never comes again. Kept with the next commits, or sent without
    /// waiting for an answer; what a crash or an outage loses of it comes again.
    pub async fn ack(&self, seq: u64) {
        match &self.0 {
            Acks::Journal(acker) => acker.ack(seq),
            Acks::JetStream(acker) => acker.ack(seq),
        }
    }
}
