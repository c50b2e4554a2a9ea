//! A subscription as answers show it: contract §2's fields, then this project's own.

use std::{cmp::Ordering, collections::BTreeMap};

use serde::Serialize;
use utoipa::ToSchema;
use webhook_bus::Bus;
use webhook_model::{Secret, Settings, UtcTime};
use webhook_store::{BrokenSubscription, Standing};

use super::{broken::faults, input::REDACTED};

/// A subscription. It has a secret, which only the answer to its create shows.
#[derive(Serialize, ToSchema)]
#[schema(as = Subscription)]
pub(crate) struct SubscriptionBody {
    #[schema(example = "0f8fad5b-d9cb-469f-a165-70867728950e")]
    uuid: String,
    #[schema(example = "siem")]
    name: String,
    /// Normalised by the WHATWG rules; `***` stands for a user name and a password.
    #[schema(example = "https://siem.example/hooks/decnet", format = "uri")]
    url: String,
    /// Simple events are expanded into it.
    #[schema(example = json!(["attacker.>", "canary.>"]))]
    topic_patterns: Vec<String>,
    /// Whether it gets events.
    #[schema(example = true)]
    enabled: bool,
    /// Failed deliveries since the last success.
    #[schema(example = 0)]
    consecutive_failures: u32,
    #[schema(required = true, value_type = Option<String>, format = DateTime, example = "2026-04-24T12:00:00.000000Z")]
    last_success_at: Option<UtcTime>,
    #[schema(required = true, value_type = Option<String>, format = DateTime, example = json!(null))]
    last_failure_at: Option<UtcTime>,
    #[schema(required = true, example = json!(null))]
    last_error: Option<String>,
    /// Set while the circuit breaker holds it back.
    #[schema(required = true, value_type = Option<String>, format = DateTime, example = json!(null))]
    auto_disabled_at: Option<UtcTime>,
    #[schema(value_type = String, format = DateTime, example = "2026-04-24T11:59:00.000000Z")]
    created_at: UtcTime,
    #[schema(value_type = String, format = DateTime, example = "2026-04-24T11:59:00.000000Z")]
    updated_at: UtcTime,
    /// Each begins with its kind: `bad_name:` (one that DECNET stored), `insecure_url:`, `unverifiable_secret:`, `uncovered_pattern:`,
    /// `bad_pattern:` (a member of the list that DECNET stored and that is no pattern), `broken_field:`
    /// (a field that cannot be read, shown empty; nothing is delivered until a change supplies it), and
    /// where a URL was entered `unresolved_host:`.
    #[schema(example = json!([]))]
    warnings: Vec<String>,
    /// `active`, `paused` (by an operator) or `tripped` (by the circuit breaker).
    #[schema(value_type = StateName, example = "active")]
    state: &'static str,
    /// Until when the receiver asked to be left alone (`Retry-After`): nothing goes out before. Null
    /// when that is over.
    #[schema(required = true, value_type = Option<String>, format = DateTime, example = json!(null))]
    paused_until: Option<UtcTime>,
    /// When a tripped one is probed next; null when it is not tripped, or waits for an operator.
    #[schema(required = true, value_type = Option<String>, format = DateTime, example = json!(null))]
    next_probe_at: Option<UtcTime>,
    /// Most deliveries that are worked on at the same time.
    #[schema(example = 64)]
    max_in_flight: u32,
    /// Most attempts a second; 0 is unlimited.
    #[schema(example = 0)]
    rate_per_second: u32,
    /// How many attempts may go at once after a quiet time; 0 is one second's worth.
    #[schema(example = 0)]
    burst: u32,
    /// Whether events go out one by one in the order they were published.
    #[schema(example = false)]
    ordered: bool,
    /// Time-out of one attempt.
    #[schema(example = 10)]
    timeout_seconds: u32,
    /// Seconds after which a failed delivery is tried again.
    #[schema(example = json!([30, 120, 600, 1800, 3600, 10800, 21600, 43200]))]
    redelivery_schedule: Vec<u32>,
    /// Sent along with every delivery. Each value is shown as `***`.
    #[schema(value_type = BTreeMap<String, String>, example = json!({"authorization": "***"}))]
    headers: BTreeMap<String, &'static str>,
}

/// The three states.
#[derive(ToSchema)]
#[schema(as = State, rename_all = "lowercase")]
#[expect(
    dead_code,
    reason = "documents webhook_model::State, which knows no OpenAPI"
)]
pub(crate) enum StateName {
    Active,
    Paused,
    Tripped,
}

/// A new subscription with its secret. No later answer shows it.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedSubscription {
    #[serde(flatten)]
    subscription: SubscriptionBody,
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=")]
    secret: String,
}

/// A changed subscription.
#[derive(Serialize, ToSchema)]
pub(crate) struct PatchedSubscription {
    #[serde(flatten)]
    subscription: SubscriptionBody,
    /// Events that pausing it dropped: published, asked for, not delivered. 0 when the change did
    /// not pause it, null when the bus could not count them.
    #[schema(required = true, example = 0)]
    dropped_events: Option<u64>,
}

impl SubscriptionBody {
    pub(super) fn new(standing: &Standing, bus: &Bus) -> Self {
        let subscription = &standing.subscription;
        let settings = &subscription.settings;
        Self {
            uuid: subscription.uuid.clone(),
            name: subscription.name.clone(),
            url: subscription.url.as_str().to_owned(),
            topic_patterns: subscription
                .topic_patterns
                .iter()
                .map(|pattern| pattern.as_str().to_owned())
                .collect(),
            enabled: subscription.state.enabled(),
            consecutive_failures: subscription.consecutive_failures,
            last_success_at: subscription.last_success_at,
            last_failure_at: subscription.last_failure_at,
            last_error: subscription.last_error.clone(),
            auto_disabled_at: subscription.state.auto_disabled_at(),
            created_at: subscription.created_at,
            updated_at: subscription.updated_at,
            warnings: subscription.warnings(|it| bus.carries(it), &bus.carried()),
            state: subscription.state.as_str(),
            paused_until: standing.paused_until,
            next_probe_at: standing.next_probe_at,
            max_in_flight: settings.max_in_flight(),
            rate_per_second: settings.rate_per_second(),
            burst: settings.burst().unwrap_or(0),
            ordered: settings.ordered(),
            timeout_seconds: settings.timeout_seconds(),
            redelivery_schedule: settings.redelivery_schedule().to_vec(),
            headers: headers(settings),
        }
    }

    /// One that cannot be read, as far as it can.
    pub(super) fn broken(row: &BrokenSubscription) -> Self {
        let settings = &row.settings;
        Self {
            uuid: row.uuid.clone(),
            name: row.name.clone(),
            url: row.url.clone(),
            topic_patterns: (row.topic_patterns.iter())
                .map(|pattern| pattern.as_str().to_owned())
                .collect(),
            enabled: row.state.enabled(),
            consecutive_failures: row.consecutive_failures,
            last_success_at: row.last_success_at,
            last_failure_at: row.last_failure_at,
            last_error: row.last_error.clone(),
            auto_disabled_at: row.state.auto_disabled_at(),
            created_at: row.created_at,
            updated_at: row.updated_at,
            warnings: (faults(row).iter())
                .map(|fault| format!("broken_field: {fault}"))
                .collect(),
            state: row.state.as_str(),
            paused_until: None,
            next_probe_at: None,
            max_in_flight: settings.max_in_flight(),
            rate_per_second: settings.rate_per_second(),
            burst: settings.burst().unwrap_or(0),
            ordered: settings.ordered(),
            timeout_seconds: settings.timeout_seconds(),
            redelivery_schedule: settings.redelivery_schedule().to_vec(),
            headers: headers(settings),
        }
    }

    /// The order of the list.
    pub(super) fn by_creation(&self, other: &Self) -> Ordering {
        (self.created_at, &self.uuid).cmp(&(other.created_at, &other.uuid))
    }
}

fn headers(settings: &Settings) -> BTreeMap<String, &'static str> {
    (settings.headers().iter())
        .map(|header| (header.name().to_owned(), REDACTED))
        .collect()
}

impl SubscriptionBody {
    /// With what is known of this moment alone.
    fn warning(mut self, warning: Option<String>) -> Self {
        self.warnings.extend(warning);
        self
    }
}

impl CreatedSubscription {
    pub(super) fn new(
        standing: &Standing,
        secret: &Secret,
        bus: &Bus,
        warning: Option<String>,
    ) -> Self {
        Self {
            subscription: SubscriptionBody::new(standing, bus).warning(warning),
            secret: secret.expose().to_owned(),
        }
    }
}

impl PatchedSubscription {
    pub(super) fn new(
        standing: &Standing,
        dropped_events: Option<u64>,
        bus: &Bus,
        warning: Option<String>,
    ) -> Self {
        Self {
            subscription: SubscriptionBody::new(standing, bus).warning(warning),
            dropped_events,
        }
    }
}
