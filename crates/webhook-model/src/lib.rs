//! Pure data of a webhook egress, and the rules that make it valid. No I/O.
//!
//! Everything is parsed once into a type that cannot hold a wrong value:
//!
//! ```
//! use webhook_model::{Event, Payload, Topic, TopicPattern};
//!
//! let topic = Topic::parse("attacker.observed")?;
//! assert!(TopicPattern::parse("attacker.>")?.matches(&topic));
//!
//! let event = Event::new(topic, "observed", Payload::parse(r#"{"ip":"192.0.2.7"}"#)?);
//! assert!(event.body().starts_with(br#"{"id":""#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decode;
mod delivery;
mod disjoint;
mod double;
mod endpoint;
mod event;
mod field;
mod heartbeat;
mod id;
mod json;
mod pattern;
mod payload;
mod secret;
mod settings;
mod simple;
mod subscription;
mod time;
mod timestamp;
mod topic;
pub mod topics;

pub use decode::{MAX_EVENT_BYTES, Place, Undecodable};
pub use delivery::{DeliveryStatus, UnknownStatus};
pub use disjoint::{Filter, disjoint, joint};
pub use endpoint::{EndpointUrl, HostError, MAX_URL_CHARS, UrlError};
pub use event::Event;
pub use field::FieldError;
pub use heartbeat::Heartbeat;
pub use id::{EventId, IdError};
pub use pattern::{PatternError, TopicPattern};
pub use payload::{MAX_JSON_DEPTH, Payload, PayloadError};
pub use secret::{Secret, SecretError};
pub use settings::{Header, Settings, SettingsError};
pub use simple::{SimpleEvent, UnknownSimpleEvent, merge_patterns};
pub use subscription::{
    MAX_NAME_CHARS, NameError, State, Subscription, SubscriptionName, validate_patterns,
};
pub use time::{TimeError, UtcTime};
pub use timestamp::{Timestamp, TimestampError};
pub use topic::{MAX_TOPIC_BYTES, MAX_TOPIC_TOKENS, Topic, TopicError};
