//! The HTTP API: subscriptions, test pings, publishing, the delivery log, health, metrics, and the OpenAPI document.
//!
//! It decides who may ask and whether a request makes sense; what then happens is up to the store,
//! the bus and the delivery client. It knows nothing of how events get from the bus to a receiver.
//!
//! ```no_run
//! use tokio_util::sync::CancellationToken;
//! use webhook_api::{ApiConfig, ApiDeps, ApiServer, tokens::JwtSecret};
//!
//! # async fn example(deps: ApiDeps) -> Result<(), webhook_api::ApiError> {
//! let secret = JwtSecret::parse("0123456789abcdef0123456789abcdef")?;
//! let server = ApiServer::bind(ApiConfig::new(secret), deps).await?;
//! println!("listening on http://{}", server.addr());
//! server.run(CancellationToken::new()).await
//! # }
//! ```

mod acknowledging;
mod api;
mod auth;
mod backlog;
mod bearers;
mod body;
mod callers;
mod config;
mod connections;
mod cors;
mod deliveries;
mod error;
mod events;
mod fields;
mod first_token;
mod health;
mod limit;
mod metrics;
mod openapi;
mod other_worker;
mod probe;
mod problem;
mod publishers;
mod replays;
mod routes;
mod server;
mod stats;
mod status;
mod subscriptions;
mod together;
pub mod tokens;
mod troubles;
mod worker;

pub use api::ApiDeps;
pub use backlog::{Waiting, waiting};
pub use config::ApiConfig;
pub use connections::ConnectionLimits;
pub use error::ApiError;
pub use first_token::FirstToken;
pub use metrics::Scrape;
pub use openapi::openapi;
pub use probe::ProbeServer;
pub use publishers::PublishQuota;
pub use server::ApiServer;
pub use stats::{Answered, ApiStats, ConnectionCounts};
pub use worker::{WorkerHere, WorkerReport};
