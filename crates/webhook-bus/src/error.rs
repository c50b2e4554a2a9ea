use std::{error::Error, path::PathBuf, sync::Arc};

use webhook_model::MAX_EVENT_BYTES;

/// What lies below a [`BusError`]. Shared, because one failed commit answers many publishers.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why a bus did not do what it was asked to. Texts say what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BusError {
    /// Another process is the journal's worker.
    #[error(
        "another worker runs on the journal {}; stop it first (several workers at once need a NATS bus)",
        .0.display()
    )]
    Locked(PathBuf),
    /// A file that cannot be made or opened.
    #[error("cannot open {}; check that its directory exists and may be written", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: Cause,
    },
    /// The journal's tables come from a newer version.
    #[error(
        "the journal {} has schema {found}, newer than {known}, the newest this version knows; install the version that wrote it",
        path.display()
    )]
    NewerSchema {
        /// Which journal.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest that is understood.
        known: i64,
    },
    /// SQLite failed.
    #[error("cannot {doing} the journal {}; {advice}", path.display())]
    Journal {
        /// `read`, `write`, `open`.
        doing: &'static str,
        /// Which journal.
        path: PathBuf,
        /// What may mend it.
        advice: &'static str,
        /// SQLite's own words.
        source: Cause,
    },
    /// Too little free disk to take more events; what is there is reserved for acknowledgements.
    #[error(
        "the disk of {} has {free} bytes free, less than the {least} that must stay free; make room to publish again",
        path.display()
    )]
    DiskLow {
        /// Which journal.
        path: PathBuf,
        /// Free bytes.
        free: u64,
        /// What publishing leaves alone.
        least: u64,
    },
    /// An event over the limit.
    #[error("event has {0} bytes; at most {MAX_EVENT_BYTES} are taken")]
    TooLarge(usize),
    /// Nobody made a consumer of that name, or it was ended.
    #[error("the bus has no consumer {0:?}")]
    NoConsumer(String),
    /// The consumer is in use by another task.
    #[error("consumer {0:?} is open already")]
    ConsumerOpen(String),
    /// A consumer's filter is fixed when it is made.
    #[error("consumer {name:?} was made with filter {stored}, not {asked}")]
    FilterChanged {
        /// Which consumer.
        name: String,
        /// What it was made with.
        stored: String,
        /// What was asked for now.
        asked: String,
    },
    /// Only the process with the journal's lock serves consumers.
    #[error("only the journal's worker serves consumers")]
    NotTheWorker,
    /// The bus was closed.
    #[error("the bus is closed")]
    Closed,
    /// The socket cannot be served.
    #[error("cannot serve the bus socket {}; choose another path with embedded:///path", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: Cause,
    },
    /// Another program listens on the socket.
    #[error(
        "another program listens on the bus socket {}; stop it, or choose another path with embedded:///path",
        .0.display()
    )]
    SocketInUse(PathBuf),
}

impl BusError {
    /// Whether the same call may succeed later, because only a connection is missing.
    pub fn is_connection(&self) -> bool {
        false
    }
}
