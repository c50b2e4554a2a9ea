//! One client: its publications go to the journal, the journal's events to it.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BytesMut};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixStream, unix::OwnedWriteHalf},
    sync::{Semaphore, mpsc},
};
use tokio_util::sync::CancellationToken;
use webhook_model::Topic;

use super::{
    clients::{Client, Trusted},
    complaints::Complaints,
    frame::{Frame, FrameError, is_json, write_event},
    journalling::{BATCH, Journalling, Queued},
    reading::Frames,
    share::Budget,
};
use crate::{
    Journal, Publication,
    journal::Follower,
    message::{Entry, Origin},
};

/// Most patterns of a connection. DECNET's own clients use a handful.
const PATTERNS: usize = 1_024;
/// Most bytes of a connection's publications that are not journalled yet; then it is not read. Their
/// number is bounded by [`BATCH`].
const UNJOURNALLED_BYTES: usize = 1 << 20;
/// How long a client may go without reading anything while there is something for it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// What is written at once. An event may exceed it.
const WRITE_BYTES: usize = 64 << 10;
/// Most events fetched from the ring at once.
const FETCH: usize = 64;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) journal: Journal,
    pub(super) stream: UnixStream,
    pub(super) origin: Origin,
    pub(super) client: Arc<Client>,
    pub(super) budget: Budget,
    pub(super) trusted: Trusted,
    pub(super) complaints: Arc<Complaints>,
    pub(super) shutdown: CancellationToken,
}

/// Why a connection ended.
#[derive(Debug)]
enum End {
    /// The client went, or we go, or another client needs its place.
    Orderly,
    /// The client does not keep to the protocol.
    Malformed(FrameError),
    TooManyPatterns,
    /// The client does not read.
    Stuck,
}

/// Why nothing more is written.
#[derive(Debug)]
enum Mute {
    /// The client cannot be written to. What it sent before can still be read.
    Gone,
    Stuck,
    Closed,
}

impl Connection {
    /// Serves the client until it goes, breaks the protocol, or `shutdown`. What it published in
    /// full is journalled when this returns.
    pub(super) async fn run(self) {
        let follower = Follower::new(self.journal.shared(), Some(self.origin));
        let (queue, queued) = mpsc::channel(BATCH);
        let (read, mut write) = self.stream.into_split();
        let journal = Journalling {
            journal: self.journal,
            origin: self.origin,
            from: "the bus socket",
            complaints: &self.complaints,
            shutdown: &self.shutdown,
        };
        let listening = Listening {
            follower: &follower,
            client: &self.client,
            trusted: &self.trusted,
            complaints: &self.complaints,
            shutdown: &self.shutdown,
        };
        let frames = Frames::new(read, self.budget);
        let talking = async {
            let end = talk(frames, &mut write, listening, queue).await;
            if !matches!(end, End::Orderly) {
                // The client learns at once.
                let _ = write.shutdown().await;
            }
            end
        };
        let (end, ()) = tokio::join!(talking, journal.run(queued));
        // Not before: who says BYE and waits for the end knows that its events are journalled.
        drop(write);
        match end {
            End::Orderly => {}
            End::Malformed(error) => self.complaints.warn(|more| {
                let client = self.client.name();
                tracing::warn!(%error, client, more, "a client of the bus socket broke the protocol");
            }),
            End::TooManyPatterns => self.complaints.warn(|more| {
                tracing::warn!(
                    client = self.client.name(),
                    more,
                    "a client of the bus socket wants more than {PATTERNS} patterns"
                );
            }),
            End::Stuck => self.complaints.warn(|more| {
                tracing::warn!(
                    client = self.client.name(),
                    more,
                    "a client of the bus socket reads nothing for {} s and is cut off",
                    WRITE_TIMEOUT.as_secs()
                );
            }),
        }
    }
}

/// What frames are dealt with by.
#[derive(Clone, Copy)]
struct Listening<'a> {
    follower: &'a Follower,
    client: &'a Client,
    trusted: &'a Trusted,
    complaints: &'a Complaints,
    shutdown: &'a CancellationToken,
}

impl Listening<'_> {
    /// Whether what the client publishes goes to the journal. What is no JSON does: it becomes a dead
    /// letter where it was wanted, so that nothing is dropped in silence.
    fn takes(&self, topic: &Topic, body: &[u8]) -> bool {
        let (client, uid) = (self.client.name(), self.client.uid);
        if !self.trusted.may_publish(topic, uid) {
            self.complaints.warn(|more| {
                tracing::warn!(
                    %topic, client, uid, more,
                    "an event is refused: topics under system.webhook. are for root, for this program's user and for those of --bus-trusted-users"
                );
            });
            return false;
        }
        if !is_json(body) {
            self.complaints.warn(|more| {
                tracing::warn!(
                    %topic, client, uid, more,
                    "a client of the bus socket publishes what is no JSON: it becomes a dead letter of each subscription that it matches"
                );
            });
        }
        true
    }
}

/// Reads and writes until one of them ends the connection.
async fn talk(
    frames: Frames,
    write: &mut OwnedWriteHalf,
    listening: Listening<'_>,
    queue: mpsc::Sender<Queued>,
) -> End {
    let reading = read_frames(frames, listening, queue);
    let writing = write_events(write, listening.follower);
    tokio::pin!(reading, writing);
    tokio::select! {
        end = &mut reading => end,
        mute = &mut writing => match mute {
            Mute::Gone => reading.await,
            Mute::Stuck => End::Stuck,
            Mute::Closed => End::Orderly,
        },
    }
}

async fn read_frames(
    mut frames: Frames,
    listening: Listening<'_>,
    queue: mpsc::Sender<Queued>,
) -> End {
    let Listening {
        follower, client, ..
    } = listening;
    let room = Arc::new(Semaphore::new(UNJOURNALLED_BYTES));
    loop {
        let frame = tokio::select! {
            biased;
            () = listening.shutdown.cancelled() => return End::Orderly,
            () = client.leave.cancelled() => return End::Orderly,
            frame = frames.next() => frame,
        };
        let (frame, share) = match frame {
            Ok(Some(frame)) => frame,
            Ok(None) | Err(FrameError::Broken(_)) => return End::Orderly,
            Err(error) => return End::Malformed(error),
        };
        match frame {
            Frame::Bye => return End::Orderly,
            Frame::Hello(name) => {
                tracing::debug!(name, uid = client.uid, "a client of the bus socket");
                client.is_called(name);
            }
            Frame::Sub(pattern) => {
                client.listens();
                if !follower.subscribe(&pattern, PATTERNS) {
                    return End::TooManyPatterns;
                }
            }
            Frame::Unsub(pattern) => follower.unsubscribe(&pattern),
            Frame::Pub(topic, bytes) => {
                client.spoke();
                if !listening.takes(&topic, &bytes) {
                    continue;
                }
                let size = bytes.len().clamp(1, UNJOURNALLED_BYTES);
                let size = u32::try_from(size).unwrap_or(u32::MAX);
                let Ok(permit) = room.clone().acquire_many_owned(size).await else {
                    return End::Orderly;
                };
                let publication = Publication {
                    topic,
                    bytes,
                    dedup: None,
                };
                if queue.send((publication, permit, share)).await.is_err() {
                    // The journal is closed.
                    return End::Orderly;
                }
            }
        }
    }
}

async fn write_events(write: &mut OwnedWriteHalf, follower: &Follower) -> Mute {
    let mut output = BytesMut::new();
    let mut skipped = 0;
    while let Some(fed) = follower.next(FETCH).await {
        if skipped == 0 && fed.skipped > 0 {
            tracing::warn!(
                skipped = fed.skipped,
                "a client of the bus socket is {} and skips the oldest",
                fed.behind
            );
        }
        skipped = fed.skipped;
        for entry in &fed.entries {
            encode(entry, &mut output);
            if output.len() >= WRITE_BYTES
                && let Err(mute) = flush(write, &mut output).await
            {
                return mute;
            }
        }
        if let Err(mute) = flush(write, &mut output).await {
            return mute;
        }
        // A large event must not occupy its size for ever.
        if output.capacity() > 2 * WRITE_BYTES {
            output = BytesMut::new();
        }
    }
    Mute::Closed
}

fn encode(entry: &Entry, output: &mut BytesMut) {
    let event = match entry.event() {
        Ok(event) => event,
        Err(error) => {
            tracing::debug!(seq = entry.seq, %error, "no envelope for the bus socket");
            return;
        }
    };
    if !write_event(&entry.topic, &event.double_envelope(), output) {
        tracing::warn!(
            seq = entry.seq,
            "an envelope is too large for the bus socket: not sent"
        );
    }
}

/// Writes everything; the client has [`WRITE_TIMEOUT`] to read some of it, again and again.
async fn flush(write: &mut OwnedWriteHalf, output: &mut BytesMut) -> Result<(), Mute> {
    while output.has_remaining() {
        match tokio::time::timeout(WRITE_TIMEOUT, write.write_buf(output)).await {
            Ok(Ok(1..)) => {}
            Ok(_) => return Err(Mute::Gone),
            Err(_) => return Err(Mute::Stuck),
        }
    }
    Ok(())
}
