use std::{io, path::PathBuf};

use sea_orm::{DbErr, RuntimeErr, sqlx};

use crate::{BrokenSubscription, backend};

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No URL of a database that this build speaks.
    #[error(
        "database URL {url:?} is not understood: {reason}; use e.g. sqlite:///var/lib/decnet/decnet.db or postgres://user:password@host/database"
    )]
    Url {
        /// The URL without its password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The SQLite file or its folder cannot be made.
    #[error("cannot create the database file {}; check that this user may write there", path.display())]
    CreateFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The database does not answer.
    #[error("cannot open the database {url}; check DECNET_DATABASE_URL")]
    Open {
        /// The URL without its password.
        url: String,
        /// What the driver says.
        source: DbErr,
    },
    /// The SQLite file was moved away while it was open.
    #[error(
        "the database file {} was moved away or replaced while it was open; put it back, or restart decnet: until then nothing is written",
        .0.display()
    )]
    Vanished(PathBuf),
    /// A server that lacks what we need.
    #[error("the database {url} cannot be used: {reason}")]
    Unsuitable {
        /// The URL without its password.
        url: String,
        /// What it lacks, and what to do.
        reason: String,
    },
    /// An SQLite file that cannot be copied or checked.
    #[error("cannot copy or check the database {}; see whether it exists, can be read, and has room beside it", path.display())]
    Copy {
        /// Which file.
        path: PathBuf,
        /// What the driver says.
        source: DbErr,
    },
    /// A database's copy is not what was written.
    #[error("{} is damaged ({found}); take another copy", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What SQLite found.
        found: String,
    },
    /// A backup's tables cannot be put into an SQLite file.
    #[error("cannot restore into the database {}, which is unchanged; stop every program that uses it", path.display())]
    Restore {
        /// Which file.
        path: PathBuf,
        /// What the driver says.
        source: DbErr,
    },
    /// A newer decnet has been here.
    #[error(
        "the database {database} was migrated by a newer decnet ({}; this one knows migrations up to {known}); install the newer decnet, or restore a backup made before the upgrade",
        unknown.join(", ")
    )]
    NewerSchema {
        /// The URL without its password, or the file.
        database: String,
        /// The migrations that this build does not know.
        unknown: Vec<String>,
        /// The newest that it does.
        known: String,
    },
    /// The database is to be DECNET's, and DECNET has not made its tables yet.
    #[error(
        "the database {0} has no tables of DECNET's yet, and nothing is made in it before them; start DECNET once, or name another database"
    )]
    AwaitsDecnet(String),
    /// DECNET's own table lacks a column.
    #[error(
        "table {table} of this database has no column {column}; start the current DECNET once, so that it brings its tables up to date"
    )]
    ForeignSchema {
        /// The table.
        table: &'static str,
        /// The column.
        column: String,
    },
    /// DECNET's own table cannot hold a value.
    #[error(
        "{column} does not fit into table webhook_subscriptions of this database as DECNET made it: {reason}; shorten it, or widen the column (ALTER TABLE webhook_subscriptions MODIFY {column} VARCHAR(2048) CHARACTER SET utf8mb4 NOT NULL) and restart decnet"
    )]
    NoRoom {
        /// The column, which is also the field of the API.
        column: &'static str,
        /// What is in the way.
        reason: String,
    },
    /// Somebody else changed a subscription's settings meanwhile: read them again.
    #[error(
        "the settings of this webhook were changed by somebody else in the same moment; try again"
    )]
    SettingsChanged,
    /// Names of subscriptions are unique, case-sensitive.
    #[error("a webhook named {0:?} exists already")]
    NameTaken(String),
    /// A subscription without patterns would never get an event.
    #[error("a webhook needs at least one topic pattern")]
    NoPatterns,
    /// A subscription's row cannot be read, e.g. because its URL is none.
    #[error("{0}")]
    Broken(Box<BrokenSubscription>),
    /// A row of another table cannot be read.
    #[error("the row {uuid} of {table} cannot be read: {reason}; correct or delete it")]
    BadRow {
        /// The table.
        table: &'static str,
        /// The row.
        uuid: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A record that no database of ours can hold.
    #[error("delivery {pair_id}/{seq} cannot be stored: {reason}")]
    Unstorable {
        /// Its pair.
        pair_id: String,
        /// Its place on the bus.
        seq: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The database refused.
    #[error(transparent)]
    Database(#[from] DbErr),
}

impl StoreError {
    /// Whether the database is at fault (away, locked, full, read-only) and not the data: the same
    /// call may succeed later. Otherwise a batch contains a row that never will; bisect it.
    pub fn is_connection(&self) -> bool {
        match self {
            Self::CreateFile { .. }
            | Self::Open { .. }
            | Self::Copy { .. }
            | Self::AwaitsDecnet(_)
            | Self::Vanished(_) => true,
            Self::Database(error) => is_connection(error),
            Self::Url { .. }
            | Self::Restore { .. }
            | Self::Damaged { .. }
            | Self::NewerSchema { .. }
            | Self::ForeignSchema { .. }
            | Self::Unsuitable { .. }
            | Self::NoRoom { .. }
            | Self::SettingsChanged
            | Self::NameTaken(_)
            | Self::NoPatterns
            | Self::Broken(_)
            | Self::BadRow { .. }
            | Self::Unstorable { .. } => false,
        }
    }
}

fn is_connection(error: &DbErr) -> bool {
    match error {
        DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => true,
        DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => {
            match error.as_ref() {
                sqlx::Error::Database(error) => !backend::is_row_fault(error.as_ref()),
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::BeginFailed => true,
                _ => false,
            }
        }
        _ => false,
    }
}
