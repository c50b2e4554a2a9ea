//! DECNET's socket protocol, the broker's end: what other programs publish is journalled, what is
//! journalled, by whomever, goes to those who subscribed.
//!
//! Who may connect is up to the file's mode and group. Topics under `system.webhook.`, which the worker
//! obeys, are for root, our own user and those configured; what others publish there is refused.
//!
//! The protocol has no acknowledgements, but a client that says BYE and waits for the end of the
//! connection knows that everything it published is journalled.

mod bind;
mod clients;
pub(crate) mod complaints;
mod connection;
mod counts;
pub(crate) mod frame;
pub(crate) mod journalling;
mod reading;
mod share;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at},
};
use tokio_util::sync::CancellationToken;

use crate::{Bus, BusError, Journal, journal::Hold, message::Origin};
use clients::{CONNECTIONS, Client, Clients, Full, Trusted};
use complaints::Complaints;
use connection::Connection;
pub use counts::SocketCounts;
use share::Shares;

/// Pause after the system refused a connection, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time between two looks at whether the socket's file is still there: a program that finds none tries
/// again after about as long.
const FILE_LOOK: Duration = Duration::from_secs(1);

/// Numbers all connections of this process: a connection gets no echo of its own events.
static ORIGINS: AtomicU64 = AtomicU64::new(1);

/// A number that no other connection of this process has.
pub(crate) fn origin() -> Origin {
    Origin(ORIGINS.fetch_add(1, Ordering::Relaxed))
}

/// How to serve the socket.
#[derive(Debug, Clone)]
pub struct SocketConfig {
    /// Where. A stale file there is replaced, a missing directory made.
    pub path: PathBuf,
    /// Permissions. 0660.
    pub mode: u32,
    /// The group that gets the file, where it exists. `decnet`.
    pub group: String,
    /// Users, beside root and our own, whose programs may publish `system.webhook.*`. None.
    pub trusted: Vec<u32>,
}

impl SocketConfig {
    /// The defaults named at each field.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            mode: 0o660,
            group: "decnet".to_owned(),
            trusted: Vec::new(),
        }
    }
}

/// A bound socket.
#[derive(Debug)]
pub struct BusServer {
    journal: Journal,
    listener: UnixListener,
    file: bind::SocketFile,
    config: SocketConfig,
    trusted: Trusted,
    shares: Shares,
    counts: SocketCounts,
    /// Whether it was told that the file is gone and cannot be made again.
    told_gone: bool,
    _hold: Hold,
}

impl BusServer {
    /// Binds the socket; clients can connect when this returns.
    pub async fn bind(bus: &Bus, config: SocketConfig) -> Result<Self, BusError> {
        let Bus::Journal(journal) = bus else {
            return Err(BusError::SocketWithoutJournal);
        };
        let hold = journal.hold().await?;
        let (listener, file) = bind::bind(&config).await?;
        Ok(Self {
            journal: journal.clone(),
            listener,
            file,
            trusted: Trusted::new(&config.trusted),
            shares: Shares::default(),
            counts: SocketCounts::default(),
            told_gone: false,
            config,
            _hold: hold,
        })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// What it counts, also while it runs.
    pub fn counts(&self) -> SocketCounts {
        self.counts.clone()
    }

    /// Serves until `shutdown`, and returns when the last connection has ended: what was received
    /// in full by then is in the journal. A socket file that somebody removed is made again. The
    /// file is removed in the end.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let complaints = Arc::new(Complaints::default());
        let mut connections = JoinSet::new();
        let mut clients = Clients::default();
        let mut looks = interval_at(Instant::now() + FILE_LOOK, FILE_LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = connections.join_next_with_id() => {
                    let task = match ended {
                        Ok((task, ())) => task,
                        Err(error) => {
                            tracing::error!(%error, "serving a client of the bus socket failed");
                            error.id()
                        }
                    };
                    clients.remove(task);
                    continue;
                }
                _ = looks.tick() => {
                    self.keep_file().await;
                    continue;
                }
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    complaints.warn(|more| {
                        tracing::warn!(%error, more, "cannot accept a client of the bus socket");
                    });
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let uid = stream.peer_cred().ok().map(|peer| peer.uid());
            match clients.make_room(uid) {
                Ok(None) => {}
                Ok(Some(other)) => {
                    self.counts.one_gave_way();
                    complaints.warn(|more| {
                        tracing::warn!(
                            client = other.name(),
                            uid = other.uid,
                            more,
                            "a client of the bus socket that said nothing for long, or has others connected, gives way to a new one: {CONNECTIONS} are connected"
                        );
                    });
                    other.leave.cancel();
                }
                Err(Full) => {
                    self.counts.one_refused();
                    complaints.warn(|more| {
                        tracing::warn!(
                            uid,
                            more,
                            "a client of the bus socket was turned away: {CONNECTIONS} are connected"
                        );
                    });
                    continue;
                }
            }
            let client = Client::new(uid);
            let connection = self.connection(stream, client.clone(), &complaints, &shutdown);
            let task = connections.spawn(connection.run());
            clients.add(task.id(), client);
        }
        drop(self.file);
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }

    /// Makes the socket's file again where it is gone. What else lies there now is another program's
    /// business; it is told of, and looked at again.
    async fn keep_file(&mut self) {
        if self.file.is_there() {
            return;
        }
        match bind::listen(&self.config).await {
            Ok((listener, inode)) => {
                self.listener = listener;
                self.file.is_now(inode);
                self.told_gone = false;
                tracing::warn!(
                    path = %self.path().display(),
                    "the bus socket's file was removed; it is there again, and programs can connect"
                );
            }
            Err(error) => {
                if !self.told_gone {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the bus socket's file was removed and cannot be made again: no program can connect; trying again"
                    );
                }
                self.told_gone = true;
            }
        }
    }

    fn connection(
        &self,
        stream: UnixStream,
        client: Arc<Client>,
        complaints: &Arc<Complaints>,
        shutdown: &CancellationToken,
    ) -> Connection {
        Connection {
            journal: self.journal.clone(),
            stream,
            origin: origin(),
            budget: self.shares.of(client.uid),
            client,
            trusted: self.trusted.clone(),
            complaints: complaints.clone(),
            shutdown: shutdown.clone(),
        }
    }
}

/// Binds the socket and serves it until `shutdown`.
pub async fn serve_socket(
    bus: &Bus,
    config: SocketConfig,
    shutdown: CancellationToken,
) -> Result<(), BusError> {
    BusServer::bind(bus, config).await?.run(shutdown).await;
    Ok(())
}

#[cfg(test)]
mod tests;
