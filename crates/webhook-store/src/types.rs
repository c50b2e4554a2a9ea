//! What goes in and out of the store. Plain data: every rule is where it is applied.

use std::time::Duration;

use bytes::Bytes;
use webhook_model::{
    DeliveryStatus, EndpointUrl, Filter, Secret, Settings, Subscription, SubscriptionName,
    TopicPattern, UtcTime,
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
    /// How deliveries are made.
    pub settings: Settings,
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
    /// All settings anew.
    pub settings: Option<SettingsChange>,
    /// `true` on a paused or tripped subscription makes it active with a clean slate, `false`
    /// pauses it. Anything else changes nothing.
    pub enabled: Option<bool>,
}

/// Settings are stored as a whole, so a change of some is made from all that were read.
#[derive(Debug, Clone)]
pub struct SettingsChange {
    /// Those that were read. When others were stored since, nothing is written:
    /// [`StoreError::SettingsChanged`](crate::StoreError::SettingsChanged).
    pub from: Settings,
    /// What they are to be.
    pub to: Settings,
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

impl Pair {
    /// What its consumer is called on a bus that other deployments may use, too.
    pub fn consumer_name(&self, deployment_id: &str) -> String {
        format!("{deployment_id}-{}", self.id)
    }
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
    /// Where its breaker stands.
    pub breaker: BreakerState,
    /// Until when its receiver asked to be left alone (`Retry-After`); past ones may stay.
    pub pause_until: Option<UtcTime>,
    /// The highest sequence number that was sent before its turn came on the bus: up to it, a
    /// message may have been recorded already.
    pub ahead_seq: Option<u64>,
}

/// One subscription as people want to see it.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The row.
    pub subscription: Subscription,
    /// Until when its receiver asked to be left alone (`Retry-After`), while that is to come.
    pub paused_until: Option<UtcTime>,
    /// When a tripped one is probed next; `None` when it is left to the operator.
    pub next_probe_at: Option<UtcTime>,
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
    /// Subscriptions whose live pairs do not fit their row, or whose url or secret is another than
    /// was seen last, because DECNET wrote or deleted it:
    /// call [`Store::sync_pairs`](crate::Store::sync_pairs) for each, then read again.
    pub out_of_step: Vec<String>,
    /// Rows that an earlier version saw, with what they look like: hand them to
    /// [`Store::mark`](crate::Store::mark), so that a change by DECNET shows from now on.
    pub unmarked: Vec<(String, String)>,
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
    /// Attempts so far, of all rounds.
    pub attempts: u32,
    /// Redelivery rounds so far; 0 for what comes from the bus.
    pub round: u32,
    /// The attempts of this round that failed, as the log keeps them.
    pub failed_attempts: Vec<AttemptRecord>,
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
    /// When the next round is due; for `retrying`, at once if absent.
    pub next_attempt_at: Option<UtcTime>,
    /// The subscription's epoch when the round began.
    pub epoch: i64,
    /// Whether the subscription's next events wait until this one is delivered or given up. Only
    /// said of what is retrying; such a row is no redelivery, see
    /// [`Store::head`](crate::Store::head).
    pub in_order: bool,
    /// Whether it counts for `consecutive_failures` and `last_*`. An undecodable message does not:
    /// it says nothing about the receiver. With `round` above 0, false still shows a failure in
    /// `last_*`, and a success still counts in full.
    pub counts: bool,
}

/// One attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// When it began.
    pub at: UtcTime,
    /// The answer's status, if there was one.
    pub status_code: Option<u16>,
    /// How long it took.
    pub duration: Duration,
    /// What went wrong.
    pub error: Option<String>,
    /// The beginning of the answer; the first 1 KiB is kept.
    pub answer: Bytes,
}

/// A subscription whose failures a batch raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureCount {
    /// The subscription's uuid.
    pub subscription: String,
    /// Its epoch, as [`Store::trip`](crate::Store::trip) wants it.
    pub epoch: i64,
    /// Failures in a row, as of this batch.
    pub consecutive_failures: u32,
}

/// Where the breaker of a subscription stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BreakerState {
    /// What the row says.
    pub phase: BreakerPhase,
    /// When to probe next. `None` while healthy, or when it is left to the operator.
    pub probe_at: Option<UtcTime>,
    /// Turns of probing that failed since it tripped, or since the endpoint fell silent or spoke.
    pub trips: u32,
    /// Since when it has been tripped.
    pub failing_since: Option<UtcTime>,
    /// Whether the endpoint answers while it is tripped.
    pub answers: bool,
    /// Since when a tripped endpoint has not answered.
    pub silent_since: Option<UtcTime>,
}

/// What the breaker writes where it switches a subscription off.
#[derive(Debug, Clone, Copy)]
pub struct Trip<'a> {
    /// The last failure, for `last_error`; what is there stays if absent.
    pub cause: Option<&'a str>,
    /// When to probe first; never if absent.
    pub probe_at: Option<UtcTime>,
    /// Whether the endpoint answers.
    pub answers: bool,
}

/// What it writes after a turn of probing that brought no 2xx.
#[derive(Debug, Clone, Copy)]
pub struct FailedTurn<'a> {
    /// What the last attempt came to, for `last_error`; empty where there was nothing to try, which
    /// leaves that as it is.
    pub error: &'a str,
    /// When to probe next. `None` gives up: the subscription waits for its operator.
    pub next_probe_at: Option<UtcTime>,
    /// Turns that failed so far.
    pub turns: u32,
    /// Whether the endpoint answered.
    pub answers: bool,
    /// Since when it has not.
    pub silent_since: Option<UtcTime>,
}

/// The delivery that an `ordered` subscription's next events wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its row.
    pub id: i64,
    /// How long until it is due, by the database's clock.
    pub due_in: Duration,
    /// Whether somebody is trying it.
    pub is_leased: bool,
}

/// What became of giving a delivery up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipOutcome {
    /// It is a dead letter.
    Skipped,
    /// There is no such delivery.
    NotFound,
    /// It has arrived, or is a dead letter already.
    NotWaiting,
    /// Somebody is trying it at this moment.
    BeingTried,
}

/// What became of acknowledging a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcknowledgeOutcome {
    /// It is acknowledged, now or since earlier.
    Acknowledged,
    /// There is no such delivery.
    NotFound,
    /// It is no dead letter.
    NotDead,
}

/// What the breaker does with a subscription.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum BreakerPhase {
    /// Nothing (also for a paused one).
    #[default]
    Healthy,
    /// It holds deliveries back.
    Tripped,
    /// It holds them back, and some worker has a lease to probe.
    Probing,
}

/// A subscription with deliveries to be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The subscription's uuid.
    pub subscription: String,
    /// How many are due; no further than 1,000 is counted.
    pub due: u64,
    /// Since when the first one is.
    pub earliest: UtcTime,
}

/// A delivery to be tried again, leased to the caller. [`Store::record`](crate::Store::record)
/// with a later outcome ends the lease, as does [`Store::release`](crate::Store::release).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The row.
    pub id: i64,
    /// With `seq` the key of its next [`DeliveryRecord`].
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
    /// Its body. None was kept if the row was recorded without.
    pub body: Option<Bytes>,
    /// Redelivery rounds so far.
    pub round: u32,
    /// Attempts so far.
    pub attempts: u32,
    /// When its first outcome was recorded.
    pub created_at: UtcTime,
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
    /// Dead letters that nobody has acknowledged.
    pub dead: u64,
    /// Those that somebody has.
    pub dead_acknowledged: u64,
    /// When the oldest delivery that is to be tried again had its first outcome.
    pub oldest_retrying: Option<UtcTime>,
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
    /// DECNET lets this user do nothing before the password was changed.
    pub must_change_password: bool,
}
