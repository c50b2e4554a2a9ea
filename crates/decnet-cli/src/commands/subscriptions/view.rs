//! Subscriptions as people read them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::settings::schedule_text;
use crate::{outlook::Outlook, output};

/// The narrowest terminal that has room for uuids.
const UUID_FROM_WIDTH: u16 = 140;
/// The column that is there only when a subscription is held back.
const HELD_BACK: usize = 2;
/// Most of a cause in a list; one subscription is shown with all of it.
const CAUSE_CHARS: usize = 60;

/// Most of a list's patterns, in characters: the widest cell is the width of its column in every row.
const PATTERNS_CHARS: usize = 80;

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
    #[serde(default)]
    paused_until: Option<String>,
    #[serde(default)]
    next_probe_at: Option<String>,
    created_at: String,
    updated_at: String,
    #[serde(default)]
    pub(super) warnings: Vec<String>,
    #[serde(default)]
    pub(super) secret: Option<String>,
    /// Events that pausing it dropped, in the answer to a change.
    #[serde(default)]
    pub(super) dropped_events: Option<u64>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(flatten)]
    settings: Option<Settings>,
}

/// How its deliveries are made.
#[derive(Deserialize)]
struct Settings {
    max_in_flight: u64,
    rate_per_second: u64,
    burst: u64,
    ordered: bool,
    timeout_seconds: u64,
    redelivery_schedule: Vec<u64>,
}

/// The answer to a test ping.
#[derive(Deserialize)]
pub(super) struct TestResult {
    pub(super) delivered: bool,
    pub(super) status_code: Option<u16>,
    pub(super) error: Option<String>,
}

impl Subscription {
    fn outlook(&self) -> Outlook<'_> {
        Outlook {
            is_tripped: !self.enabled && self.auto_disabled_at.is_some(),
            paused_until: self.paused_until.as_deref(),
            next_probe_at: self.next_probe_at.as_deref(),
        }
    }

    fn state(&self) -> &'static str {
        match (self.enabled, self.outlook()) {
            (false, outlook) if outlook.is_tripped => "tripped",
            (false, _) => "paused",
            (true, outlook) if outlook.is_waiting() => "waiting",
            (true, _) => "active",
        }
    }

    /// Why it gets nothing at present, and until when.
    fn held_back(&self) -> Option<String> {
        let next = self.outlook().text()?;
        Some(match &self.last_error {
            Some(cause) => format!("{}; {next}", output::short(cause, CAUSE_CHARS)),
            None => next,
        })
    }

    /// Its state, and what comes of it.
    fn state_text(&self) -> String {
        match self.outlook().text() {
            Some(next) => format!("{}; {next}", self.state()),
            None => self.state().to_owned(),
        }
    }
}

pub(super) fn list(subscriptions: &[Subscription]) -> anyhow::Result<()> {
    // The name is as good as the uuid, which would squeeze the rest on a narrow terminal.
    let with_uuid = output::width().is_none_or(|width| width >= UUID_FROM_WIDTH);
    let mut rows: Vec<Vec<String>> = subscriptions
        .iter()
        .map(|subscription| {
            let mut row = vec![
                subscription.name.clone(),
                subscription.state().into(),
                subscription.held_back().unwrap_or("-".into()),
                subscription.url.clone(),
                first_patterns(&subscription.topic_patterns),
                output::moment(subscription.last_success_at.as_deref()),
                subscription.consecutive_failures.to_string(),
            ];
            row.extend(with_uuid.then(|| subscription.uuid.clone()));
            row
        })
        .collect();
    let mut headings = vec![
        "NAME",
        "STATE",
        "HELD BACK",
        "URL",
        "PATTERNS",
        "LAST SUCCESS",
        "FAILED",
        "UUID",
    ];
    if !with_uuid {
        headings.pop();
    }
    // An empty column costs a narrow terminal its width.
    if subscriptions.iter().all(|one| one.held_back().is_none()) {
        headings.remove(HELD_BACK);
        rows.iter_mut().for_each(|row| drop(row.remove(HELD_BACK)));
    }
    Ok(output::table(
        &headings,
        &["NAME", "STATE", "LAST SUCCESS", "UUID"],
        rows,
    )?)
}

/// As many patterns as there is room for, at least one of which the beginning is shown, and how many
/// more there are.
fn first_patterns(patterns: &[String]) -> String {
    let mut text = String::new();
    for (index, pattern) in patterns.iter().enumerate() {
        if index == 0 {
            text = output::short(pattern, PATTERNS_CHARS);
        } else if text.chars().count() + 1 + pattern.chars().count() <= PATTERNS_CHARS {
            text.push(' ');
            text.push_str(pattern);
        } else {
            return format!("{text} … +{}", patterns.len() - index);
        }
    }
    text
}

pub(super) fn one(subscription: &Subscription) -> anyhow::Result<()> {
    let time = |time: Option<&str>| output::seconds(time);
    let mut lines = vec![
        ("name", subscription.name.clone()),
        ("uuid", subscription.uuid.clone()),
        ("state", subscription.state_text()),
        ("url", subscription.url.clone()),
        ("patterns", subscription.topic_patterns.join(" ")),
        (
            "failures in a row",
            subscription.consecutive_failures.to_string(),
        ),
        (
            "last success",
            time(subscription.last_success_at.as_deref()),
        ),
        (
            "last failure",
            time(subscription.last_failure_at.as_deref()),
        ),
        (
            "last error",
            subscription.last_error.clone().unwrap_or("-".into()),
        ),
        ("created", time(Some(&subscription.created_at))),
        ("updated", time(Some(&subscription.updated_at))),
    ];
    if let Some(settings) = &subscription.settings {
        lines.extend(settings.lines());
    }
    for (name, value) in &subscription.headers {
        lines.push(("header", format!("{name}: {value}")));
    }
    for warning in &subscription.warnings {
        lines.push(("warning", warning.clone()));
    }
    for (label, value) in lines {
        output::labelled(label, &value)?;
    }
    Ok(())
}

impl Settings {
    fn lines(&self) -> [(&'static str, String); 5] {
        let rate = match (self.rate_per_second, self.burst) {
            (0, _) => "unlimited".into(),
            (rate, 0) => format!("{rate} attempts a second"),
            (rate, burst) => format!("{rate} attempts a second, {burst} at once"),
        };
        [
            ("max in flight", self.max_in_flight.to_string()),
            ("rate", rate),
            ("ordered", if self.ordered { "yes" } else { "no" }.into()),
            ("timeout", format!("{}s", self.timeout_seconds)),
            ("schedule", schedule_text(&self.redelivery_schedule)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_patterns_is_cut() {
        let named = |count: usize| -> Vec<String> {
            (0..count).map(|n| format!("decky.d{n:03}.state")).collect()
        };
        assert_eq!(first_patterns(&[]), "");
        assert_eq!(
            first_patterns(&named(2)),
            "decky.d000.state decky.d001.state"
        );
        let cut = first_patterns(&named(300));
        assert!(
            cut.starts_with("decky.d000.state decky.d001.state "),
            "{cut}"
        );
        assert!(cut.ends_with(" decky.d003.state … +296"), "{cut}");
        let long = first_patterns(&["x".repeat(500), "a.b".to_owned()]);
        assert_eq!(long, format!("{}… … +1", "x".repeat(PATTERNS_CHARS)));
    }
}
