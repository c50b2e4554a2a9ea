//! What the writer is asked to do, and the bounded way in.

use std::sync::{Arc, mpsc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use webhook_model::TopicPattern;

use super::shared::Hold;
use crate::{BusError, Consumer, ConsumerSpec, Publication, Watch, message::Origin};

/// Most bytes that wait for a commit. A commit takes milliseconds; what exceeds this waits with
/// its publisher.
const QUEUE_BYTES: usize = 16 << 20;
/// What a command counts for beside its events: it bounds their number as well.
const COMMAND_BYTES: usize = 1 << 10;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, BusError>>;

#[derive(Debug)]
pub(crate) enum Command {
    Publish(Publish),
    Consume {
        spec: ConsumerSpec,
        reply: Reply<Consumer>,
    },
    End {
        name: String,
        reply: Reply<()>,
    },
    Watch {
        pattern: TopicPattern,
        reply: Reply<Watch>,
    },
    Hold {
        reply: Reply<Hold>,
    },
    Flush {
        reply: Reply<()>,
    },
    /// Another process has appended.
    Look,
    #[cfg(test)]
    Probe(Probe),
    Close,
}

/// What a test does in the writer's place.
#[cfg(test)]
pub(crate) struct Probe(pub(crate) Box<dyn FnOnce(&mut super::writer::Writer) + Send>);

#[cfg(test)]
impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Probe")
    }
}

#[derive(Debug)]
pub(crate) struct Publish {
    pub(crate) batch: Vec<Publication>,
    pub(crate) origin: Option<Origin>,
    pub(crate) reply: Reply<Vec<u64>>,
}

/// The way to the writer. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Intake {
    send: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
}

/// A command with its share of the queue, given back when it has been dealt with.
#[derive(Debug)]
pub(crate) struct Queued {
    command: Command,
    room: Option<OwnedSemaphorePermit>,
}

impl Queued {
    pub(crate) fn split(self) -> (Command, Option<OwnedSemaphorePermit>) {
        (self.command, self.room)
    }
}

impl Intake {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Queued>) {
        let (send, receive) = mpsc::channel();
        let room = Arc::new(Semaphore::new(QUEUE_BYTES));
        (Self { send, room }, receive)
    }

    /// Queues a command and waits for its answer. Once queued it is done, even if nobody waits.
    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, BusError> {
        let (reply, answer) = oneshot::channel();
        let command = command(reply);
        let cost = command.cost().min(QUEUE_BYTES);
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        let room = self.room.clone().acquire_many_owned(cost).await;
        let room = room.map_err(|_| BusError::Closed)?;
        let queued = Queued {
            command,
            room: Some(room),
        };
        self.send.send(queued).map_err(|_| BusError::Closed)?;
        answer.await.map_err(|_| BusError::Closed)?
    }

    /// Has the writer look for what others have appended. One that has so much to do that nothing
    /// fits looks by itself.
    pub(crate) fn look(&self) {
        const COST: u32 = COMMAND_BYTES as u32;
        if let Ok(room) = self.room.clone().try_acquire_many_owned(COST) {
            let queued = Queued {
                command: Command::Look,
                room: Some(room),
            };
            // If it is gone, so is the need.
            let _ = self.send.send(queued);
        }
    }

    /// Tells the writer to finish what is queued and go.
    pub(crate) fn close(&self) {
        let queued = Queued {
            command: Command::Close,
            room: None,
        };
        // If it is gone already, so much the better.
        let _ = self.send.send(queued);
        self.room.close();
    }
}

impl Command {
    fn cost(&self) -> usize {
        match self {
            Self::Publish(publish) => publish.cost(),
            _ => COMMAND_BYTES,
        }
    }
}

impl Publish {
    pub(crate) fn cost(&self) -> usize {
        let bytes: usize = self
            .batch
            .iter()
            .map(|it| it.bytes.len() + COMMAND_BYTES)
            .sum();
        bytes + COMMAND_BYTES
    }
}
