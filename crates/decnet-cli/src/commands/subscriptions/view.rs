//! Subscriptions as people read them.

use serde::Deserialize;

use crate::output::{self, BOLD};

/// What the API answers. Unknown fields of later servers are ignored.
#[derive(Deserialize)]
pub(super) struct Subscription {
    pub(super) uuid: String,
    pub(super) name: String,
    url: String,
    topic_patterns: Vec<String>,
    enabled: bool,
    consecutive_failures: u64,
    last_success_at: Option<String>,
    last_failure_at: Option<String>,
    last_error: Option<String>,
    auto_disabled_at: Option<String>,
    created_at: String,
    updated_at: String,
    #[serde(default)]
    pub(super) warnings: Vec<String>,
    #[serde(default)]
    pub(super) secret: Option<String>,
}

/// The answer to a test ping.
#[derive(Deserialize)]
pub(super) struct TestResult {
    pub(super) delivered: bool,
    pub(super) status_code: Option<u16>,
    pub(super) error: Option<String>,
}

impl Subscription {
    fn state(&self) -> &'static str {
        match (self.enabled, &self.auto_disabled_at) {
            (true, _) => "active",
            (false, None) => "paused",
            (false, Some(_)) => "tripped",
        }
    }
}

pub(super) fn list(subscriptions: &[Subscription]) -> anyhow::Result<()> {
    let rows = subscriptions
        .iter()
        .map(|subscription| {
            vec![
                subscription.name.clone(),
                subscription.state().into(),
                subscription.url.clone(),
                subscription.topic_patterns.join(" "),
                seconds(subscription.last_success_at.as_deref()),
                subscription.consecutive_failures.to_string(),
                subscription.uuid.clone(),
            ]
        })
        .collect();
    let headings = [
        "NAME",
        "STATE",
        "URL",
        "PATTERNS",
        "LAST SUCCESS",
        "FAILURES IN A ROW",
        "UUID",
    ];
    Ok(output::table(&headings, rows)?)
}

pub(super) fn one(subscription: &Subscription) -> anyhow::Result<()> {
    let failures = subscription.consecutive_failures.to_string();
    let patterns = subscription.topic_patterns.join(" ");
    let created = seconds(Some(&subscription.created_at));
    let updated = seconds(Some(&subscription.updated_at));
    let success = seconds(subscription.last_success_at.as_deref());
    let failure = seconds(subscription.last_failure_at.as_deref());
    for (label, value) in [
        ("name", subscription.name.as_str()),
        ("uuid", &subscription.uuid),
        ("state", subscription.state()),
        ("url", &subscription.url),
        ("patterns", &patterns),
        ("failures in a row", &failures),
        ("last success", &success),
        ("last failure", &failure),
        (
            "last error",
            subscription.last_error.as_deref().unwrap_or("-"),
        ),
        ("created", &created),
        ("updated", &updated),
    ] {
        output::line(format_args!(
            "{BOLD}{label:<18}{BOLD:#} {}",
            output::printable(value)
        ))?;
    }
    for warning in &subscription.warnings {
        output::line(format_args!(
            "{BOLD}{:<18}{BOLD:#} {}",
            "warning",
            output::printable(warning)
        ))?;
    }
    Ok(())
}

/// An RFC 3339 time without its fraction.
fn seconds(time: Option<&str>) -> String {
    let Some(time) = time else { return "-".into() };
    match time.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => time.to_owned(),
    }
}
