//! Durable buses that events travel on. Knows nothing of receivers, subscriptions or databases.
//!
//! ```
//! use webhook_bus::{Bus, ConsumerSpec, Journal, JournalConfig, Publication, Role};
//! use webhook_model::{Event, Payload, Topic, TopicPattern};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("journal.db");
//! let bus = Bus::from(Journal::open(JournalConfig::new(path, Role::Worker)).await?);
//! let position = bus.position().await?;
//!
//! let topic = Topic::parse("attacker.observed")?;
//! let event = Event::new(topic.clone(), "observed", Payload::parse(r#"{"ip":"192.0.2.7"}"#)?);
//! let publication = Publication { topic, bytes: event.envelope(), dedup: None };
//! // Returns once the event is on the disk.
//! bus.publish(vec![publication]).await?;
//!
//! let mut consumer = bus
//!     .consume(ConsumerSpec {
//!         name: "siem".into(),
//!         filter: TopicPattern::parse("attacker.>")?,
//!         incarnation: position.incarnation,
//!         start_seq: position.next_seq,
//!         window: 64,
//!     })
//!     .await?;
//! consumer.ready(None).await?;
//! let messages = consumer.take(64).await?;
//! assert_eq!(messages[0].event()?.id, event.id);
//! consumer.acker().ack(messages[0].seq).await;
//! bus.close().await?;
//! # Ok(())
//! # }
//! ```

mod bus;
mod consumer;
mod error;
#[cfg(feature = "failpoints")]
pub mod failpoints;
#[cfg(not(feature = "failpoints"))]
mod failpoints;
mod feed;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod jetstream;
mod journal;
mod message;
mod publication;
mod socket;
mod watch;

pub use bus::{Bus, BusStatus, Crowded, Position};
pub use consumer::{Acker, Consumer, ConsumerSpec, Ready};
pub use error::{BusError, Cause};
pub use feed::{Begin, BrokerFeed, FeedConfig, FeedCounts, FeedStatus};
pub use jetstream::{Hidden, JetStream, JetStreamConfig, NatsLogin};
pub use journal::{Gap, Journal, JournalConfig, JournalCopy, JournalLock, Role, check_journal};
pub use message::Message;
pub use publication::{Publication, dedup_key};
pub use socket::{BusServer, SocketConfig, SocketCounts, serve_socket};
pub use watch::Watch;
