//! Webhook delivery to embed in any service: sign, guard, POST, classify, retry.
//!
//! Knows events and endpoints, and nothing of buses, databases or web frameworks. One
//! [`DeliveryClient`] holds the pooled connections; the worker of a queue and a "send a test"
//! button share it, so that both behave alike.
//!
//! ```
//! use webhook_delivery::{
//!     DeliveryClient, DeliveryConfig, EgressPolicy, Endpoint, PreparedEvent, RetryPolicy,
//! };
//! use webhook_model::{EndpointUrl, Event, Payload, Secret, Topic};
//!
//! # async fn receiver() -> std::io::Result<(std::net::SocketAddr, tokio::task::JoinHandle<std::io::Result<()>>)> {
//! #     use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! #     let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! #     let addr = listener.local_addr()?;
//! #     let task = tokio::spawn(async move {
//! #         let (mut socket, _) = listener.accept().await?;
//! #         socket.read(&mut [0; 4096]).await?;
//! #         socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await
//! #     });
//! #     Ok((addr, task))
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (receiver, served) = receiver().await?;
//! // Public addresses alone are reached by default; this example's receiver is on loopback.
//! let client = DeliveryClient::new(DeliveryConfig {
//!     egress: EgressPolicy::default().allow_cidrs(vec!["127.0.0.1/32".parse()?]),
//!     ..DeliveryConfig::default()
//! })?;
//! let url = format!("http://{receiver}/hook");
//! let endpoint = Endpoint::new(EndpointUrl::parse(&url)?, Secret::generate());
//!
//! let topic = Topic::parse("attacker.observed")?;
//! let event = Event::new(topic, "observed", Payload::parse(r#"{"ip":"192.0.2.7"}"#)?);
//! let round = client
//!     .deliver(&endpoint, &PreparedEvent::new(&event), &RetryPolicy::default())
//!     .await;
//! assert!(round.is_delivered());
//! assert_eq!(round.attempts[0].status, Some(204));
//! # served.await??;
//! # Ok(())
//! # }
//! ```
//!
//! Receivers check what they got with [`verify::Verifier`].

mod attempt;
mod classify;
mod client;
mod config;
mod dns;
mod egress;
mod endpoint;
mod event;
mod failure;
mod headers;
mod retry_after;
mod retry_policy;
mod round;
mod sign;
mod tls;
mod transport;
mod verdict;
pub mod verify;

pub use attempt::{Attempt, MAX_ANSWER_BYTES, MAX_ERROR_CHARS, MAX_KEPT_ANSWER_BYTES};
pub use classify::classify;
pub use client::DeliveryClient;
pub use config::{BuildError, DeliveryConfig};
pub use dns::HostError;
pub use egress::{EgressPolicy, Refusal};
pub use endpoint::Endpoint;
pub use event::PreparedEvent;
pub use failure::FailureKind;
pub use headers::{
    EVENT_ID, EVENT_TOPIC, SIGNATURE, TIMESTAMP, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP,
    is_custom_header,
};
pub use ipnet::IpNet;
pub use retry_after::{MAX_RETRY_AFTER, parse_retry_after};
pub use retry_policy::{PolicyError, RetryPolicy};
pub use round::{Interruption, Outcome, Round, RoundHooks};
pub use rustls::pki_types::CertificateDer;
pub use sign::{sign, signature, standard_signature};
pub use verdict::{EndpointVerdict, EventVerdict, LocalFault, Verdict};
