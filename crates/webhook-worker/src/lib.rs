//! The worker: takes events off a bus and delivers them to the subscriptions of a store.
//!
//! ```no_run
//! # async fn example(
//! #     store: webhook_store::Store,
//! #     bus: webhook_bus::Bus,
//! #     delivery: webhook_delivery::DeliveryClient,
//! # ) -> Result<(), webhook_worker::WorkerError> {
//! use webhook_worker::{WorkerConfig, WorkerDeps, WorkerStatus, run};
//!
//! let deps = WorkerDeps { store, bus, delivery, gaps: None, fed: None };
//! let shutdown = tokio_util::sync::CancellationToken::new();
//! let report = run(deps, WorkerConfig::default(), WorkerStatus::default(), shutdown).await?;
//! println!("{report}");
//! # Ok(())
//! # }
//! ```

mod announcer;
mod breaker;
mod config;
mod counters;
mod crew;
mod dead;
mod error;
#[cfg(feature = "failpoints")]
pub mod failpoints;
#[cfg(not(feature = "failpoints"))]
mod failpoints;
mod freshness;
mod gate;
mod guardian;
mod heartbeat;
mod housekeeping;
mod in_hand;
mod in_step;
mod job;
mod judge;
mod local;
mod opening;
mod pace;
mod pair;
mod pause;
mod plan;
mod prober;
mod probing;
mod recorder;
mod redelivery;
mod replay;
mod run;
mod runtime;
mod schedule;
mod send;
mod session;
#[cfg(test)]
mod simulation;
mod slots;
mod status;
mod supervisor;
mod tasks;
mod timings;
mod union;
mod window;

pub use config::WorkerConfig;
pub use counters::{ATTEMPT_RESULTS, Counters, OutcomeTotals, Totals};
pub use error::WorkerError;
pub use run::{DrainReport, WorkerDeps, run};
pub use status::{Phase, SubscriptionTotals, WorkerStatus};
pub use timings::Timings;
pub use union::feed_patterns;
