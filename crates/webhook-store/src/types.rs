//! What goes in and out of the store. Plain data: every rule is where it is applied.

use std::time::Duration;

use bytes::Bytes;
use webhook_model::{
    DeliveryStatus, EndpointUrl, Filter, Secret, Subscription, SubscriptionName, TopicPattern,
    UtcTime,
};

/// A place on the bus: the next event gets `next_seq` of `incarnation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Names the stream or journal; another one after it was recreated.
    pub incarnation: String,
    /// The sequence number that the next event will get.
    pub next_seq: u64,
}

/// A subscription to be created.
#[derive(Debug, Clone)]
pub struct NewSubscription {
    /// Unique, case-sensitive.
    pub name: SubscriptionName,
    /// Where events go.
    pub url: EndpointUrl,
    /// What they are signed with.
    pub secret: Secret,
    /// At least one.
    pub topic_patterns: Vec<TopicPattern>,
    /// Active, or paused from the start.
    pub enabled: bool,
}

/// What to change of a subscription; `None` leaves a field alone.
#[derive(Debug, Clone, Default)]
pub struct SubscriptionPatch {
    /// A new name.
    pub name: Option<SubscriptionName>,
    /// A new endpoint.
    pub url: Option<EndpointUrl>,
    /// A new secret.
    pub secret: Option<Secret>,
    /// The whole new list, at least one.
    pub topic_patterns: Option<Vec<TopicPattern>>,
    /// `true` on a paused or tripped subscription makes it active with a clean slate, `false`
    /// pauses it. Anything else changes nothing.
    pub enabled: Option<bool>,
}

/// What a patch led to.
#[derive(Debug, Clone)]
pub struct Patched {
    /// As it is now.
    pub subscription: Subscription,
    /// Whether anything was written.
    pub changed: bool,
    /// The pairs that this patch ended. Those without `drain` drop what they had not delivered.
    pub ended: Vec<Pair>,
}

/// One bus consumer of one subscription, as the table remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// A uuid.
    pub id: String,
    /// The subscription's uuid.
    pub subscription: String,
    /// What it delivers.
    pub filter: Filter,
    /// The bus that `start_seq` and `end_seq` count on.
    pub incarnation: String,
    /// The first sequence number that belongs to it.
    pub start_seq: u64,
    /// The last one; `None` while the pair is live.
    pub end_seq: Option<u64>,
    /// Whether an ended pair still delivers up to `end_seq`. Pausing and deleting say no.
    pub drain: bool,
}

/// One subscription as a worker needs it.
#[derive(Debug, Clone)]
pub struct SubscriptionView {
    /// The row.
    pub subscription: Subscription,
    /// Counts its changes. Outcomes carry it; older ones are not counted.
    pub epoch: i64,
    /// Its live pairs.
    pub pairs: Vec<Pair>,
}

/// A row that was skipped.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BadRow {
    /// Which.
    pub uuid: String,
    /// Why.
    pub reason: String,
}

/// Everything a worker runs by, read at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The value of [`Store::config_version`](crate::Store::config_version) at that moment.
    pub version: i64,
    /// Every row that can be read, paused ones too, by `created_at`.
    pub subscriptions: Vec<SubscriptionView>,
    /// Pairs that ended and were not forgotten yet.
    pub ended: Vec<Pair>,
    /// Rows that cannot be read. Their pairs are left as they are and appear nowhere here.
    pub skipped: Vec<BadRow>,
    /// Subscriptions whose live pairs do not fit their row, because DECNET wrote or deleted it:
    /// call [`Store::sync_pairs`](crate::Store::sync_pairs) for each, then read again.
    pub out_of_step: Vec<String>,
}

/// The outcome of one delivery.
#[derive(Debug, Clone)]
pub struct DeliveryRecord {
    /// With `seq` the key.
    pub pair_id: String,
    /// The event's place on the bus.
    pub seq: u64,
    /// The bus that `seq` counts on.
    pub incarnation: String,
    /// The subscription's uuid.
    pub subscription: String,
    /// The event's id.
    pub event_id: String,
    /// Its topic.
    pub topic: String,
    /// Its type.
    pub kind: String,
    /// Where the delivery stands.
    pub status: DeliveryStatus,
    /// Attempts so far.
    pub attempts: u32,
    /// The last answer's status.
    pub status_code: Option<u16>,
    /// The last failure.
    pub error: Option<String>,
    /// How long the last attempt took.
    pub duration: Duration,
    /// The event's body, kept for what is not delivered.
    pub body: Option<Bytes>,
    /// When the delivery came to this.
    pub at: UtcTime,
    /// When the next round is due; for `retrying`.
    pub next_attempt_at: Option<UtcTime>,
    /// The subscription's epoch when the round began.
    pub epoch: i64,
    /// Whether it says something about the receiver, i.e. counts for `consecutive_failures` and
    /// `last_*`. An undecodable message does not.
    pub counts: bool,
}

/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Subscriptions that get events.
    pub active: u64,
    /// Subscriptions that an operator switched off.
    pub paused: u64,
    /// Subscriptions that the breaker switched off.
    pub tripped: u64,
    /// Deliveries that are to be tried again.
    pub retrying: u64,
    /// Dead letters.
    pub dead: u64,
}

/// A row of DECNET's table `users`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRow {
    /// The login name.
    pub username: String,
    /// `admin` or `viewer`, as DECNET wrote it.
    pub role: String,
    /// Tokens issued before are void.
    pub tokens_valid_from: Option<UtcTime>,
}
