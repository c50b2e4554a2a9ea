use std::{path::PathBuf, time::Duration};

use tokio::sync::mpsc;

/// What a process does with the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Publishes and watches.
    Appender,
    /// Serves consumers and the socket, and runs retention; one process at a time.
    Worker,
}

/// How to open a journal.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// The SQLite file; its lock lies beside it.
    pub path: PathBuf,
    /// What this process does with it.
    pub role: Role,
    /// Publishing is refused below this much free disk, in bytes; the rest belongs to
    /// acknowledgements and retention. 256 MiB.
    pub min_free_bytes: u64,
    /// How long events stay. 7 days.
    pub retention: Duration,
    /// How much the events may occupy, in bytes, before the oldest go early. 8 GiB.
    pub max_bytes: u64,
    /// Most recent events kept in memory. 65,536.
    pub ring_events: usize,
    /// Most memory for them, in bytes, decoded. 32 MiB.
    pub ring_bytes: usize,
    /// Who is told when retention takes what a consumer had not acknowledged. None: only the log.
    pub gaps: Option<mpsc::Sender<Gap>>,
}

impl JournalConfig {
    /// The defaults named at each field.
    pub fn new(path: impl Into<PathBuf>, role: Role) -> Self {
        Self {
            path: path.into(),
            role,
            min_free_bytes: 256 << 20,
            retention: Duration::from_secs(7 * 24 * 3600),
            max_bytes: 8 << 30,
            ring_events: 65_536,
            ring_bytes: 32 << 20,
            gaps: None,
        }
    }
}

/// Events that retention took before a consumer had acknowledged them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Whose they were.
    pub consumer: String,
    /// The first of them.
    pub from: u64,
    /// The last of them.
    pub to: u64,
    /// How many. Where they were gone before the consumer was first opened, nobody knows how many
    /// of them it would have got: then it is all that lay between.
    pub count: u64,
}
