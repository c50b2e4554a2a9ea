use webhook_bus::BusError;
use webhook_store::StoreError;

/// Why a worker did not start, or ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Two workers would send everything twice.
    #[error(
        "another webhook worker is alive on this bus (its last heartbeat came {seconds_ago} s ago); stop it, or start with --takeover"
    )]
    ForeignWorker {
        /// How old its last heartbeat is.
        seconds_ago: u64,
    },
    /// The bus failed in a way that waiting does not mend.
    #[error("bus: {0}")]
    Bus(#[from] BusError),
    /// The database failed in a way that waiting does not mend.
    #[error("database: {0}")]
    Store(#[from] StoreError),
    /// A task ended that nobody had told to.
    #[error(
        "the worker's task {task} ended by itself; the worker stops, and what it had not recorded is delivered after a restart"
    )]
    TaskEnded {
        /// Its name.
        task: &'static str,
    },
    /// A task panicked.
    #[error(
        "the worker's task {task} panicked ({said}); the worker stops, and what it had not recorded is delivered after a restart"
    )]
    TaskPanicked {
        /// Its name.
        task: &'static str,
        /// With what words.
        said: String,
    },
}

impl WorkerError {
    /// Whether it passes by itself once the bus or the database is back.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Bus(error) => error.is_connection(),
            Self::Store(error) => error.is_connection(),
            Self::ForeignWorker { .. } | Self::TaskEnded { .. } | Self::TaskPanicked { .. } => {
                false
            }
        }
    }
}
