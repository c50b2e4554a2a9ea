//! What the tests of the webhook crates share: receivers that misbehave on demand, an HMAC check
//! that knows nothing of the code under test, a reconciler, builders.
//!
//! ```
//! use std::time::Duration;
//! use webhook_testkit::{Behaviour, Receiver};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let receiver = Receiver::start(Behaviour::first(2, Behaviour::status(503), Behaviour::ok())).await;
//! receiver.trust("0123456789abcdef");
//! // … deliver to receiver.url() …
//! # receiver.post_raw("/hook", &[], b"{}").await;
//! let got = receiver.wait_for(1, Duration::from_secs(5)).await;
//! assert_eq!(got[0].answered, Some(503));
//! # }
//! ```

mod broker;
mod build;
mod decnet_worker;
mod mariadb;
mod master;
mod nats;
mod postgres;
mod process;
mod receiver;
mod reconcile;
mod scratch;
mod signature;
mod soak;
pub mod tools;

pub use broker::{Broker, Published};
pub use build::{event, free_port, temp_dir};
pub use decnet_worker::{DecnetWorker, Pace, Reloading};
pub use mariadb::MariaDb;
pub use master::{DECNET_SCHEMA, DecnetMaster, tree};
pub use nats::{NatsAccount, NatsCluster, NatsServer, nats_certificates};
pub use postgres::Postgres;
pub use receiver::{
    Behaviour, Builder, Certificate, Decide, End, Log, Received, Receiver, self_signed,
};
pub use reconcile::{Reconciler, Report};
pub use signature::Signatures;
pub use soak::{long_or_short, soak};
