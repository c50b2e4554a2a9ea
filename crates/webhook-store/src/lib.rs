//! Subscriptions, their pairs and the delivery log in a database (SQLite or PostgreSQL).
//!
//! Works beside DECNET in DECNET's own database: `webhook_subscriptions` keeps DECNET's columns,
//! everything else lives in tables of this crate, keyed by the subscription's uuid. It knows no
//! bus and no HTTP: places on the bus come in as [`Position`]s, outcomes as [`DeliveryRecord`]s.
//!
//! ```
//! use webhook_model::{EndpointUrl, Secret, Settings, SubscriptionName, TopicPattern};
//! use webhook_store::{DatabaseConfig, NewSubscription, Position, Store};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let folder = tempfile::tempdir()?;
//! let url = format!("sqlite://{}/decnet.db", folder.path().display());
//! let store = Store::open(&DatabaseConfig::new(url)).await?;
//!
//! let new = NewSubscription {
//!     name: SubscriptionName::parse("siem")?,
//!     url: EndpointUrl::parse("https://siem.example/hook")?,
//!     secret: Secret::generate(),
//!     topic_patterns: vec![TopicPattern::parse("attacker.>")?],
//!     settings: Settings::default(),
//!     enabled: true,
//! };
//! // Read from the bus just before: the subscription gets everything from event 7 on.
//! let position = Position { incarnation: "journal-1".into(), next_seq: 7 };
//! let subscription = store.create(new, &position).await?;
//!
//! let snapshot = store.snapshot().await?;
//! assert_eq!(snapshot.subscriptions[0].subscription.uuid, subscription.uuid);
//! assert_eq!(snapshot.subscriptions[0].pairs[0].start_seq, 7);
//! # store.close().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # Ok::<(), std::io::Error>(())
//! ```

mod accounts;
mod backend;
mod breaker;
mod config;
mod connect;
mod copy;
mod counts;
mod dead_letters;
mod entities;
mod error;
#[cfg(feature = "failpoints")]
pub mod failpoints;
#[cfg(not(feature = "failpoints"))]
mod failpoints;
mod failures;
mod fingerprint;
mod gaps;
mod head;
mod log;
mod migrations;
mod pairs;
mod places;
mod record;
mod redelivery;
mod replays;
mod restore;
mod retention;
mod room;
mod session;
mod settings;
mod snapshot;
mod standing;
mod store;
mod subscriptions;
mod tokens;
mod types;
mod workers;

pub use config::DatabaseConfig;
pub use copy::{check_database, copy_database, database_file};
pub use dead_letters::{DeadBodies, DeadBytes, Dropped};
pub use error::StoreError;
pub use gaps::Gap;
pub use log::{
    Cursor, CursorError, DeliveryDetail, DeliveryFilter, DeliveryRow, Page, RetryOutcome,
};
pub use replays::{Candidate, NewReplay, Replay, ReplaySource, ReplayState, ReplayStep};
pub use restore::{has_tables_of_decnet, restore_tables};
pub use standing::Standings;
pub use store::Store;
pub use subscriptions::{BrokenSubscription, Met};
pub use tokens::TokenRow;
pub use types::{
    AcknowledgeOutcome, AttemptRecord, BadRow, BreakerPhase, BreakerState, Claimed, Counts,
    DeliveryRecord, Due, FailedTurn, FailureCount, Head, NewSubscription, Pair, Patched, Position,
    SettingsChange, SkipOutcome, Snapshot, Standing, SubscriptionPatch, SubscriptionView, Trip,
    UserRow,
};
pub use workers::{Beat, Roll, WORKER_PATIENCE, Worker};
