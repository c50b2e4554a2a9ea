use webhook_model::{Filter, TopicPattern, UtcTime, topics};

use crate::{BusError, Consumer, ConsumerSpec, JetStream, Journal, Message, Publication, Watch};

/// The bus of a deployment. An enum, not a trait object: there are few, and all are ours.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Bus {
    /// The embedded journal.
    Journal(Journal),
    /// A stream on NATS.
    JetStream(JetStream),
}

impl From<JetStream> for Bus {
    fn from(jetstream: JetStream) -> Self {
        Self::JetStream(jetstream)
    }
}

impl From<Journal> for Bus {
    fn from(journal: Journal) -> Self {
        Self::Journal(journal)
    }
}

/// Where a bus stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Names the journal or stream; a recreated one has another.
    pub incarnation: String,
    /// The sequence number that the next publication gets at the earliest.
    pub next_seq: u64,
}

/// What an operator wants to know of a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusStatus {
    /// `journal` or `jetstream`.
    pub kind: &'static str,
    /// Sequence number of the newest message; 0 when there was none yet.
    pub head: u64,
    /// Names the journal or stream.
    pub incarnation: String,
    /// What it occupies on the disk.
    pub bytes: u64,
    /// What is free on its disk, where that is known.
    pub free_bytes: Option<u64>,
    /// Sequence numbers between the newest message and what the slowest consumer has let go of;
    /// none where that is not known.
    pub lag: Option<u64>,
    /// Why publishing is refused at present.
    pub refusing: Option<String>,
}

/// A journal that is full of events that are not delivered: what is published now costs the oldest
/// of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowded {
    /// What the events may occupy.
    pub max_bytes: u64,
    /// No event below this is left.
    pub oldest: u64,
}

impl Bus {
    /// Publishes the batch, and returns the sequence numbers once the bus has taken responsibility.
    /// A publication that the bus already has keeps its old number.
    ///
    /// The journal takes all of a batch or nothing. JetStream takes messages one by one: when this
    /// fails, some of the batch may be in, and after a time-out nobody knows. Publishing the same
    /// batch again mends either: within two minutes what is in already is recognised by
    /// [`Publication::dedup`].
    pub async fn publish(&self, batch: Vec<Publication>) -> Result<Vec<u64>, BusError> {
        match self {
            Self::Journal(journal) => journal.publish(batch).await,
            Self::JetStream(jetstream) => jetstream.publish(batch).await,
        }
    }

    /// Where the bus stands now. Publications that were answered before are below it.
    pub async fn position(&self) -> Result<Position, BusError> {
        match self {
            Self::Journal(journal) => journal.position().await,
            Self::JetStream(jetstream) => jetstream.position().await,
        }
    }

    /// Opens the durable consumer of that name, or makes it.
    pub async fn consume(&self, spec: ConsumerSpec) -> Result<Consumer, BusError> {
        crate::failpoints::crash_point!(OPENING, Err(crate::failpoints::silence()));
        match self {
            Self::Journal(journal) => journal.consume(spec).await,
            Self::JetStream(jetstream) => jetstream.consume(spec).await,
        }
    }

    /// Removes the durable consumer of that name; nothing happens if there is none.
    pub async fn end(&self, name: &str) -> Result<(), BusError> {
        crate::failpoints::crash_point!(ENDING, Err(crate::failpoints::silence()));
        match self {
            Self::Journal(journal) => journal.end(name).await,
            Self::JetStream(jetstream) => jetstream.end(name).await,
        }
    }

    /// How many messages that match `filter` the consumer has not acknowledged. NATS counts by the
    /// consumer's own filter, which may be a wider one: there it is the most that it can be.
    pub async fn pending(&self, name: &str, filter: &Filter) -> Result<u64, BusError> {
        match self {
            Self::Journal(journal) => journal.pending(name, filter).await,
            Self::JetStream(jetstream) => jetstream.pending(name).await,
        }
    }

    /// New messages only, from every process; in force when this returns.
    pub async fn watch(&self, pattern: &TopicPattern) -> Result<Watch, BusError> {
        match self {
            Self::Journal(journal) => journal.watch(pattern).await,
            Self::JetStream(jetstream) => jetstream.watch(pattern).await,
        }
    }

    /// The newest messages that match and came at or after `since`, oldest first. Meant for rare
    /// topics such as heartbeats: it looks back over a bounded number of messages.
    pub async fn recent(
        &self,
        pattern: &TopicPattern,
        since: UtcTime,
    ) -> Result<Vec<Message>, BusError> {
        match self {
            Self::Journal(journal) => journal.recent(pattern, since).await,
            Self::JetStream(jetstream) => jetstream.recent(pattern, since).await,
        }
    }

    /// The newest message that matches, of those that are retained; the embedded bus looks back
    /// over a bounded number of them. Consumers are not touched.
    pub async fn newest(&self, filter: &Filter) -> Result<Option<Message>, BusError> {
        let newest = match self {
            Self::Journal(journal) => journal.newest(filter).await?,
            Self::JetStream(jetstream) => jetstream.newest(filter).await?,
        };
        Ok(newest.filter(|message| filter.matches(&message.topic)))
    }

    /// Reads the messages of these sequence numbers that the bus still retains, in the order asked
    /// for. For how many it came is told by the number returned; ask again for the rest.
    pub async fn fetch(&self, seqs: &[u64]) -> Result<(Vec<Message>, usize), BusError> {
        match self {
            Self::Journal(journal) => journal.fetch(seqs).await,
            Self::JetStream(jetstream) => jetstream.fetch(seqs).await,
        }
    }

    /// Whether the bus carries any topic of the pattern.
    pub fn carries(&self, pattern: &TopicPattern) -> bool {
        match self {
            Self::Journal(_) => {
                let root = pattern.tokens().next().unwrap_or_default();
                matches!(root, "*" | ">") || topics::ROOTS.contains(&root)
            }
            Self::JetStream(jetstream) => jetstream.carries(pattern),
        }
    }

    /// What the bus carries, in words that follow "topics".
    pub fn carried(&self) -> String {
        match self {
            Self::Journal(_) => format!("begin with {}", topics::ROOTS.join(", ")),
            Self::JetStream(jetstream) => {
                let subjects = jetstream.subjects();
                let all: Vec<&str> = subjects.iter().map(TopicPattern::as_str).collect();
                format!("are those of {}", all.join(", "))
            }
        }
    }

    /// Fails where the journal's file was moved away since it was opened.
    pub fn still_there(&self) -> Result<(), BusError> {
        match self {
            Self::Journal(journal) => journal.shared().still_there(),
            Self::JetStream(_) => Ok(()),
        }
    }

    /// Whether undelivered events have to give way, as of the last half minute. Known of a journal,
    /// to the process whose worker serves it; a server's own retention tells nobody.
    pub fn crowded(&self) -> Option<Crowded> {
        match self {
            Self::Journal(journal) => journal.shared().crowded(),
            Self::JetStream(_) => None,
        }
    }

    /// What an operator wants to know.
    pub async fn status(&self) -> BusStatus {
        match self {
            Self::Journal(journal) => journal.status().await,
            Self::JetStream(jetstream) => jetstream.status().await,
        }
    }

    /// Returns once everything acknowledged so far is on the disk.
    pub async fn flush(&self) -> Result<(), BusError> {
        match self {
            Self::Journal(journal) => journal.flush().await,
            Self::JetStream(jetstream) => jetstream.flush().await,
        }
    }

    /// Flushes and closes, for all clones and consumers.
    pub async fn close(self) -> Result<(), BusError> {
        match self {
            Self::Journal(journal) => journal.close().await,
            Self::JetStream(jetstream) => jetstream.close().await,
        }
    }
}
