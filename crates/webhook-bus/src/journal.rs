//! The embedded bus: an SQLite file that every process appends to and one process serves.
//!
//! Publishers and consumers talk to one writer thread through a bounded queue; readers have
//! connections of their own; the hub hands new events from the writer to consumers and watches
//! without the disk in between.

mod bell;
mod command;
mod config;
mod consumer;
mod copy;
mod cursor;
mod feed;
mod follower;
mod group;
mod hub;
mod open_file;
pub(crate) mod queries;
mod ranges;
mod retention;
mod ring;
mod schema;
mod shared;
mod space;
mod tail;
mod trie;
mod watch;
mod writer;

use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use webhook_model::{Filter, MAX_EVENT_BYTES, TopicPattern, UtcTime};

use crate::{
    BusError, BusStatus, Consumer, ConsumerSpec, Message, Position, Publication, Watch,
    message::Origin,
};
use bell::{Bell, Listener};
use command::{Command, Intake, Publish};
use hub::Hub;
use open_file::OpenFile;
use retention::Retention;
use ring::Ring;
pub(crate) use shared::lock;
use space::Space;
use writer::Writer;

pub use config::{Gap, JournalConfig, Role};
pub(crate) use consumer::{JournalAcker, JournalConsumer};
pub use copy::{JournalCopy, JournalLock, check_journal};

pub(crate) use follower::Follower;
pub(crate) use hub::{Fed, Search, Step};
pub(crate) use shared::{Hold, Shared};
pub(crate) use watch::JournalWatch;

/// A durable bus in an SQLite file of its own. Clones share it.
#[derive(Debug, Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    role: Role,
    shared: Arc<Shared>,
    intake: Intake,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// The worker's.
    bell: Mutex<Option<Listener>>,
    /// The worker's lock, held until the writer has ended.
    lock: Mutex<Option<File>>,
}

impl Journal {
    /// Opens the journal, or makes it. A worker takes its lock, and fails if another one has it.
    pub async fn open(config: JournalConfig) -> Result<Self, BusError> {
        let opened = tokio::task::spawn_blocking(move || Inner::open(config)).await;
        let inner = opened.map_err(|_| BusError::Closed)??;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    pub(crate) async fn publish(&self, batch: Vec<Publication>) -> Result<Vec<u64>, BusError> {
        self.publish_from(batch, None).await
    }

    pub(crate) async fn publish_from(
        &self,
        batch: Vec<Publication>,
        origin: Option<Origin>,
    ) -> Result<Vec<u64>, BusError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(large) = batch.iter().find(|it| it.bytes.len() > MAX_EVENT_BYTES) {
            return Err(BusError::TooLarge(large.bytes.len()));
        }
        let publish = |reply| {
            Command::Publish(Publish {
                batch,
                origin,
                reply,
            })
        };
        self.inner.intake.ask(publish).await
    }

    /// Read from the disk, so that what other processes published counts.
    pub(crate) async fn position(&self) -> Result<Position, BusError> {
        let head = self.inner.shared.read(queries::head).await?;
        Ok(Position {
            incarnation: self.inner.shared.incarnation.to_string(),
            next_seq: head + 1,
        })
    }

    pub(crate) async fn consume(&self, spec: ConsumerSpec) -> Result<Consumer, BusError> {
        if self.inner.role != Role::Worker {
            return Err(BusError::NotTheWorker);
        }
        self.inner
            .intake
            .ask(|reply| Command::Consume { spec, reply })
            .await
    }

    pub(crate) async fn end(&self, name: &str) -> Result<(), BusError> {
        let name = name.to_owned();
        self.inner
            .intake
            .ask(|reply| Command::End { name, reply })
            .await
    }

    pub(crate) async fn pending(&self, name: &str, filter: &Filter) -> Result<u64, BusError> {
        let shared = &self.inner.shared;
        let wanted = name.to_owned();
        let row = shared
            .read(move |connection| queries::consumer(connection, &wanted))
            .await?;
        let row = row.ok_or_else(|| BusError::NoConsumer(name.to_owned()))?;
        // What was acknowledged here may not be on the disk yet.
        let known = shared.hub().up_to_date(row.id);
        let acked = Arc::new(known.unwrap_or_else(|| row.saved.acked()));
        let (mut count, mut after) = (0, Some(acked.floor()));
        while let Some(from) = after {
            let (acked, filter) = (acked.clone(), filter.clone());
            let (found, next) = shared
                .read(move |connection| queries::pending(connection, &acked, &filter, from))
                .await?;
            count += found;
            after = next;
        }
        Ok(count)
    }

    pub(crate) async fn watch(&self, pattern: &TopicPattern) -> Result<Watch, BusError> {
        let pattern = pattern.clone();
        self.inner
            .intake
            .ask(|reply| Command::Watch { pattern, reply })
            .await
    }

    pub(crate) async fn recent(
        &self,
        pattern: &TopicPattern,
        since: UtcTime,
    ) -> Result<Vec<Message>, BusError> {
        let (shared, pattern) = (&self.inner.shared, pattern.clone());
        let found = shared
            .read(move |connection| queries::recent(connection, &pattern, since))
            .await?;
        let message = |stored: queries::Stored| Message::new(stored.entry(shared), false);
        Ok(found.into_iter().map(message).collect())
    }

    pub(crate) async fn newest(&self, filter: &Filter) -> Result<Option<Message>, BusError> {
        let (shared, filter) = (&self.inner.shared, filter.clone());
        let found = shared
            .read(move |connection| queries::newest(connection, &filter))
            .await?;
        Ok(found.map(|stored| Message::new(stored.entry(shared), false)))
    }

    pub(crate) async fn fetch(&self, seqs: &[u64]) -> Result<(Vec<Message>, usize), BusError> {
        let (shared, seqs) = (&self.inner.shared, seqs.to_vec());
        let read = shared
            .read(move |connection| queries::fetch(connection, &seqs))
            .await?;
        let came = read.len();
        let found = read.into_iter().filter_map(|(_, stored)| stored);
        let message = |stored: queries::Stored| Message::new(stored.entry(shared), false);
        Ok((found.map(message).collect(), came))
    }

    pub(crate) async fn status(&self) -> BusStatus {
        let shared = &self.inner.shared;
        let position = self.position().await;
        let refusing = match &position {
            Ok(_) => shared.refusing(),
            Err(error) => Some(error.to_string()),
        };
        let head = position.map_or(0, |it| it.next_seq - 1);
        BusStatus {
            kind: "journal",
            head,
            free_bytes: shared.space.free(shared.directory()),
            lag: self.lag(head).await,
            incarnation: shared.incarnation.to_string(),
            bytes: occupied(&shared.path),
            refusing,
        }
    }

    /// Known where the consumers are: an appender sees what was written of them, which for idle ones
    /// is old.
    async fn lag(&self, head: u64) -> Option<u64> {
        if self.inner.role != Role::Worker {
            return None;
        }
        let shared = &self.inner.shared;
        let saved = shared.read(queries::floors).await.ok()?;
        let mut hub = shared.hub();
        let floors = saved.into_iter().map(|(id, floor)| {
            hub.up_to_date(id)
                .map_or(floor, |acked| acked.floor().max(floor))
        });
        Some(floors.min().map_or(0, |floor| head.saturating_sub(floor)))
    }

    pub(crate) async fn flush(&self) -> Result<(), BusError> {
        self.inner
            .intake
            .ask(|reply| Command::Flush { reply })
            .await
    }

    pub(crate) async fn close(self) -> Result<(), BusError> {
        let flushed = match self.flush().await {
            // Somebody else has closed it.
            Err(BusError::Closed) => Ok(()),
            other => other,
        };
        self.inner.shared.close_readers().await;
        let inner = self.inner;
        let joined = tokio::task::spawn_blocking(move || inner.stop()).await;
        flushed.and(joined.map_err(|_| BusError::Closed))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// Has new events come into the ring as long as the answer lives.
    pub(crate) async fn hold(&self) -> Result<Hold, BusError> {
        self.inner.intake.ask(|reply| Command::Hold { reply }).await
    }

    /// Has the writer run `probe`, and returns what it gives.
    #[cfg(test)]
    async fn probe<T: Send + 'static>(
        &self,
        probe: impl FnOnce(&mut Writer) -> T + Send + 'static,
    ) -> T {
        let command = |reply: command::Reply<T>| {
            let run = |writer: &mut Writer| drop(reply.send(Ok(probe(writer))));
            Command::Probe(command::Probe(Box::new(run)))
        };
        self.inner.intake.ask(command).await.unwrap()
    }
}

impl Inner {
    fn open(config: JournalConfig) -> Result<Self, BusError> {
        let lock = match config.role {
            Role::Worker => Some(worker_lock(&config.path)?),
            Role::Appender => None,
        };
        let (connection, incarnation) = schema::open(&config.path)?;
        let file = OpenFile::at(&config.path).map_err(|error| BusError::File {
            path: config.path.clone(),
            source: Arc::new(error),
        })?;
        let ring = Ring::new(config.ring_events, config.ring_bytes);
        let space = Space::new(config.min_free_bytes);
        let shared = Shared::new(config.path, file, &incarnation, space, Hub::new(ring));
        let shared = Arc::new(shared);
        let retention = (config.role == Role::Worker)
            .then(|| Retention::new(config.retention, config.max_bytes, config.gaps));
        let (intake, commands) = Intake::new();
        let (bell, listener) = match config.role {
            Role::Appender => (Some(Bell::new(&shared.path)), None),
            Role::Worker => (None, listen(&shared.path, intake.clone())),
        };
        let writer = Writer::new(connection, shared.clone(), commands, bell, retention);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| BusError::File {
                path: shared.path.clone(),
                source: Arc::new(error),
            })?;
        Ok(Self {
            role: config.role,
            shared,
            intake,
            writer: Mutex::new(Some(thread)),
            bell: Mutex::new(listener),
            lock: Mutex::new(lock),
        })
    }

    /// Ends the writer, and waits until it has.
    fn stop(&self) {
        // It holds the way to the writer, too.
        *lock(&self.bell) = None;
        let writer = lock(&self.writer).take();
        if let Some(writer) = writer {
            self.intake.close();
            if writer.join().is_err() {
                tracing::error!("the journal's writer panicked");
            }
        }
        *lock(&self.lock) = None;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Without it, e.g. because the path is too long for a socket, appends are noticed a little later.
fn listen(journal: &Path, intake: Intake) -> Option<Listener> {
    let listener = Listener::start(journal, move || intake.look());
    listener
        .inspect_err(|error| {
            tracing::debug!(%error, "other processes cannot tell of what they append");
        })
        .ok()
}

/// One worker serves a journal; the lock goes with its process, however that ends.
fn worker_lock(journal: &Path) -> Result<File, BusError> {
    let path = journal.with_extension("lock");
    let wrong = |error: std::io::Error| BusError::File {
        path: path.clone(),
        source: Arc::new(error),
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(wrong)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BusError::Locked(journal.to_owned())),
        Err(TryLockError::Error(error)) => Err(wrong(error)),
    }
}

/// What the file and its log occupy.
fn occupied(path: &Path) -> u64 {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    [path.to_owned(), PathBuf::from(log)]
        .iter()
        .filter_map(|file| std::fs::metadata(file).ok())
        .map(|it| it.len())
        .sum()
}

#[cfg(test)]
mod tests;
