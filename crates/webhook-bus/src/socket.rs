//! DECNET's socket protocol, the broker's end: what other programs publish is journalled, what is
//! journalled, by whomever, goes to those who subscribed.
//!
//! Any topic may be published, those under `system.webhook.` too: DECNET's master publishes
//! `system.webhook.control`. Who may connect is up to the file's mode and group.
//!
//! The protocol has no acknowledgements, but a client that says BYE and waits for the end of the
//! connection knows that everything it published is journalled.

mod bind;
pub(crate) mod complaints;
mod connection;
pub(crate) mod frame;
pub(crate) mod journalling;

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
};
use tokio_util::sync::CancellationToken;

use crate::{Bus, BusError, Journal, journal::Hold, message::Origin};
use complaints::Complaints;
use connection::Connection;

/// Most clients at once. DECNET's workers are some thirty; each client may cost some megabytes
/// while it publishes events of the largest size.
const CONNECTIONS: usize = 64;
/// Pause after the system refused a connection, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
}

impl SocketConfig {
    /// The defaults named at each field.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            mode: 0o660,
            group: "decnet".to_owned(),
        }
    }
}

/// A bound socket.
#[derive(Debug)]
pub struct BusServer {
    journal: Journal,
    listener: UnixListener,
    file: bind::SocketFile,
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
            _hold: hold,
        })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Serves until `shutdown`, and returns when the last connection has ended: what was received
    /// in full by then is in the journal. The socket file is removed.
    pub async fn run(self, shutdown: CancellationToken) {
        let complaints = Arc::new(Complaints::default());
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                // The set is only looked at to forget those that ended.
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) if connections.len() < CONNECTIONS => {
                    let connection = self.connection(stream, &complaints, &shutdown);
                    connections.spawn(connection.run());
                }
                Ok(_) => complaints.warn(|more| {
                    tracing::warn!(
                        more,
                        "a client of the bus socket was turned away: {CONNECTIONS} are connected"
                    );
                }),
                Err(error) => {
                    complaints.warn(|more| {
                        tracing::warn!(%error, more, "cannot accept a client of the bus socket");
                    });
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.file);
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }

    fn connection(
        &self,
        stream: UnixStream,
        complaints: &Arc<Complaints>,
        shutdown: &CancellationToken,
    ) -> Connection {
        Connection::new(
            self.journal.clone(),
            stream,
            origin(),
            complaints.clone(),
            shutdown.clone(),
        )
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
