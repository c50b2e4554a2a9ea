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
        "the journal {} was made by a newer decnet (schema {found}; this one knows schemas up to {known}); install the newer decnet, or restore a backup made before the upgrade",
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
    /// A journal's copy is not what was written.
    #[error("{} is damaged ({found}); take another copy", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What SQLite found.
        found: String,
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
    /// The journal's file was moved away while it was open.
    #[error(
        "the journal {} was moved away or replaced while it was open; put it back, or restart decnet: until then nothing is published",
        .0.display()
    )]
    Vanished(PathBuf),
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
    /// What the socket takes is promised once it is journalled.
    #[error(
        "the bus socket is served from the embedded journal only; programs publish to NATS itself"
    )]
    SocketWithoutJournal,
    /// A text that names no NATS server; of it only what comes before `://` is shown.
    #[error(
        "{0:?} begins no NATS server; use nats://host:4222 or tls://host:4222, several parted by commas"
    )]
    NatsUrl(String),
    /// No server can be reached.
    #[error("cannot reach NATS at {servers} ({why}); it is tried again until it is there")]
    NatsAway {
        /// Where.
        servers: String,
        /// What the last attempt came to.
        why: String,
    },
    /// A server is there but did not answer. What was asked of it may have been done.
    #[error("NATS at {servers} did not answer in time while {doing}; try again")]
    NatsSilent {
        /// Where.
        servers: String,
        /// What was asked.
        doing: &'static str,
    },
    /// A server answered what makes no sense. What was asked of it may have been done.
    #[error(
        "NATS at {servers} gave an answer that cannot be understood while {doing} ({what}); it is asked again"
    )]
    NatsGarbled {
        /// Where.
        servers: String,
        /// What was asked.
        doing: &'static str,
        /// What is wrong with the answer.
        what: String,
    },
    /// The credentials are wrong.
    #[error("NATS at {servers} does not let us in; {remedy}")]
    NatsLogin {
        /// Where.
        servers: String,
        /// What to check, or to give.
        remedy: &'static str,
        /// The server's words.
        source: Cause,
    },
    /// A credentials file without credentials.
    #[error(
        "the credentials file {} (--nats-creds) cannot be used; it must hold a user's JWT and seed, as `nsc generate creds` writes them",
        path.display()
    )]
    NatsCredentials {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: Cause,
    },
    /// No encrypted connection comes about.
    #[error(
        "no TLS connection to NATS at {servers}; check its certificate authority (--nats-ca), and --nats-cert and --nats-key where it asks who we are"
    )]
    NatsTls {
        /// Where.
        servers: String,
        /// What went wrong.
        source: Cause,
    },
    /// A NATS that has no JetStream.
    #[error(
        "NATS at {0} has no JetStream, which keeps the events: start nats-server with -js, or write `jetstream: enabled` into its configuration; with accounts, enable it for ours"
    )]
    NoJetStream(String),
    /// The stream is not there, and is not ours to make.
    #[error(
        "JetStream has no stream {0}: make it, name another with --nats-stream, or leave out --no-nats-manage-stream"
    )]
    NoStream(String),
    /// A stream that cannot be the bus as it is.
    #[error("JetStream's stream {stream} does not fit: {what}")]
    StreamUnfit {
        /// Which.
        stream: String,
        /// What is missing, and what to do.
        what: String,
    },
    /// JetStream declined; the words are its own.
    #[error("JetStream refused while {doing}: {says}")]
    NatsRefused {
        /// What was asked.
        doing: &'static str,
        /// Its reason.
        says: String,
    },
    /// A topic that no subject of the stream covers.
    #[error(
        "topic {topic} is not on the bus: stream {stream} takes {subjects}; add a subject with --nats-subjects"
    )]
    Uncovered {
        /// The topic.
        topic: String,
        /// The stream.
        stream: String,
        /// What it takes.
        subjects: String,
    },
    /// An event that the server would not take.
    #[error(
        "event has {bytes} bytes with its headers, and this NATS takes {limit}; raise max_payload in its configuration"
    )]
    OverServerLimit {
        /// Its size.
        bytes: usize,
        /// The server's `max_payload`.
        limit: usize,
    },
    /// The stream was deleted and made again: sequence numbers mean other messages now.
    #[error(
        "stream {stream} was recreated ({was} is {now} now); everything that counts on it begins anew"
    )]
    Recreated {
        /// Which.
        stream: String,
        /// What was counted on.
        was: String,
        /// What is there now.
        now: String,
    },
}

impl BusError {
    /// Whether the same call may succeed later, because only a connection is missing, or an answer.
    pub fn is_connection(&self) -> bool {
        matches!(
            self,
            Self::NatsAway { .. } | Self::NatsSilent { .. } | Self::NatsGarbled { .. }
        )
    }
}
