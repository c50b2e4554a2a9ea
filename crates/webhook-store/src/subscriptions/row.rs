//! One row of DECNET's table, column by column.

use sea_orm::{
    DbBackend, QueryResult, TryGetable,
    sea_query::{Expr, InsertStatement, Order, Query, SelectStatement},
};
use serde_json::Value;
use webhook_model::{EndpointUrl, FieldError, Secret, State, Subscription, TopicPattern, UtcTime};

use super::broken::BrokenSubscription;
use crate::{
    Met, SubscriptionPatch, backend, entities::subscription::WebhookSubscriptions as Column,
    settings, store::WriteTxn,
};

/// How much is shown of a list that is none, and of a member of a list that is no text.
const SHOWN_CHARS: usize = 80;

pub(super) fn select(backend: DbBackend) -> SelectStatement {
    let mut select = Query::select();
    for column in [
        Column::Uuid,
        Column::Name,
        Column::Url,
        Column::Secret,
        Column::TopicPatterns,
        Column::Enabled,
        Column::ConsecutiveFailures,
        Column::LastError,
    ] {
        select.column(column);
    }
    for column in [
        Column::LastSuccessAt,
        Column::LastFailureAt,
        Column::AutoDisabledAt,
        Column::CreatedAt,
        Column::UpdatedAt,
    ] {
        select.expr_as(backend::datetime_text(backend, column), column);
    }
    select
        .from(Column::Table)
        .order_by(Column::Uuid, Order::Asc);
    select
}

pub(super) fn insert(txn: &WriteTxn, subscription: &Subscription) -> InsertStatement {
    let s = subscription;
    let values = [
        (Column::Uuid, Expr::val(&s.uuid)),
        (Column::Name, Expr::val(&s.name)),
        (Column::Url, Expr::val(s.url.expose())),
        (Column::Secret, Expr::val(s.secret.expose())),
        (
            Column::TopicPatterns,
            Expr::val(patterns_text(&s.topic_patterns)),
        ),
        (Column::Enabled, Expr::val(s.state.enabled())),
        (
            Column::ConsecutiveFailures,
            failures(s.consecutive_failures),
        ),
        (Column::LastSuccessAt, txn.datetime(s.last_success_at)),
        (Column::LastFailureAt, txn.datetime(s.last_failure_at)),
        (Column::LastError, Expr::val(s.last_error.clone())),
        (
            Column::AutoDisabledAt,
            txn.datetime(s.state.auto_disabled_at()),
        ),
        (Column::CreatedAt, txn.datetime(Some(s.created_at))),
        (Column::UpdatedAt, txn.datetime(Some(s.updated_at))),
    ];
    let mut insert = Query::insert();
    insert
        .into_table(Column::Table)
        .columns(values.iter().map(|(column, _)| *column))
        .values_panic(values.into_iter().map(|(_, value)| value));
    insert
}

/// The columns in which an operator's change shows, and those that it mends; `updated_at` is not among
/// them.
pub(super) fn changes(txn: &WriteTxn, met: &Met, new: &Subscription) -> Vec<(Column, Expr)> {
    let mut changes = Vec::new();
    let old = &met.subscription;
    if new.name != old.name || met.mends("name") {
        changes.push((Column::Name, Expr::val(&new.name)));
    }
    if new.url != old.url || met.mends("url") {
        changes.push((Column::Url, Expr::val(new.url.expose())));
    }
    if new.secret != old.secret || met.mends("secret") {
        changes.push((Column::Secret, Expr::val(new.secret.expose())));
    }
    if new.topic_patterns != old.topic_patterns
        || new.skipped_patterns != old.skipped_patterns
        || met.mends("topic_patterns")
    {
        changes.push((
            Column::TopicPatterns,
            Expr::val(patterns_text(&new.topic_patterns)),
        ));
    }
    if new.state != old.state || met.mends("enabled") {
        changes.push((Column::Enabled, Expr::val(new.state.enabled())));
        let at = txn.datetime(new.state.auto_disabled_at());
        changes.push((Column::AutoDisabledAt, at));
    }
    if new.consecutive_failures != old.consecutive_failures {
        changes.push((
            Column::ConsecutiveFailures,
            failures(new.consecutive_failures),
        ));
    }
    if new.last_error != old.last_error {
        changes.push((Column::LastError, Expr::val(new.last_error.clone())));
    }
    changes
}

/// Reads a row as `patch` meets it: what cannot be read and is in the patch is taken from there.
/// `stored` are the settings, which have a table of their own.
pub(super) fn decode(
    row: &QueryResult,
    patch: &SubscriptionPatch,
    stored: impl FnOnce(&str) -> Option<settings::Stored>,
) -> Result<Met, Box<BrokenSubscription>> {
    let mut fields = Fields::default();
    // NULL is possible: SQLite lets a text primary key be so.
    let uuid = fields.read("uuid", column::<String>(row, "uuid"));
    let settings = uuid.as_deref().and_then(stored).transpose();
    let settings = fields.read("webhook_settings", settings).flatten();
    let patched = patch.name.as_ref().map(|name| name.as_str().to_owned());
    let name = fields.read_or("name", column::<String>(row, "name"), patched);
    let url = column::<String>(row, "url")
        .and_then(|text| EndpointUrl::parse(&text).map_err(|error| error.to_string()));
    let url = fields.read_or("url", url, patch.url.clone());
    let secret = column(row, "secret")
        .and_then(|text| Secret::stored(text).map_err(|error| error.to_string()));
    let secret = fields.read_or("secret", secret, patch.secret.clone());
    let patterns = column::<String>(row, "topic_patterns").and_then(|text| usable(&text));
    let patched = patch.topic_patterns.clone().map(|list| (list, Vec::new()));
    let patterns = fields.read_or("topic_patterns", patterns, patched);
    let enabled = fields.read_or("enabled", column(row, "enabled"), patch.enabled);
    let mut moment = |name| fields.read(name, optional_time(row, name)).flatten();
    let tripped_at = moment("auto_disabled_at");
    let (last_success_at, last_failure_at) = (moment("last_success_at"), moment("last_failure_at"));
    let created_at = fields.read("created_at", time(row, "created_at"));
    let updated_at = fields.read("updated_at", time(row, "updated_at"));
    let failures = column::<i32>(row, "consecutive_failures");
    let failures = fields.read("consecutive_failures", failures);
    let last_error = column::<Option<String>>(row, "last_error");
    let last_error = fields.read("last_error", last_error).flatten();
    let state = match enabled {
        // What it is to be is written, whatever else the row says.
        Some(enabled) if fields.mended.contains(&"enabled") => State::from_columns(enabled, None),
        Some(enabled) => State::from_columns(enabled, tripped_at),
        None => State::Paused,
    };
    let settings = settings.unwrap_or_default();
    let consecutive_failures = u32::try_from(failures.unwrap_or(0)).unwrap_or(0);
    match (uuid, name, url, secret, patterns, created_at, updated_at) {
        (
            Some(uuid),
            Some(name),
            Some(url),
            Some(secret),
            Some((topic_patterns, skipped_patterns)),
            Some(created_at),
            Some(updated_at),
        ) if fields.faults.is_empty() => Ok(Met {
            subscription: Subscription {
                uuid,
                name,
                url,
                secret,
                topic_patterns,
                skipped_patterns,
                settings,
                state,
                consecutive_failures,
                last_success_at,
                last_failure_at,
                last_error,
                created_at,
                updated_at,
            },
            mended: fields.mended,
        }),
        (uuid, name, url, _, patterns, created_at, updated_at) => {
            Err(Box::new(BrokenSubscription {
                uuid: uuid.unwrap_or_else(|| "(unreadable)".to_owned()),
                name: name.unwrap_or_default(),
                url: url.map_or_else(String::new, |url| url.as_str().to_owned()),
                topic_patterns: patterns.unwrap_or_default().0,
                settings,
                state,
                consecutive_failures,
                last_success_at,
                last_failure_at,
                last_error,
                created_at: created_at.unwrap_or(UtcTime::from_micros(0)),
                updated_at: updated_at.unwrap_or(UtcTime::from_micros(0)),
                faults: fields.faults,
            }))
        }
    }
}

/// What came of the fields read so far.
#[derive(Default)]
struct Fields {
    faults: Vec<FieldError>,
    mended: Vec<&'static str>,
}

impl Fields {
    fn read<T>(&mut self, field: &'static str, read: Result<T, String>) -> Option<T> {
        self.read_or(field, read, None)
    }

    fn read_or<T>(
        &mut self,
        field: &'static str,
        read: Result<T, String>,
        patched: Option<T>,
    ) -> Option<T> {
        match (read, patched) {
            (Ok(value), _) => Some(value),
            (Err(_), Some(value)) => {
                self.mended.push(field);
                Some(value)
            }
            (Err(detail), None) => {
                self.faults.push(FieldError::new(field, detail));
                None
            }
        }
    }
}

/// The patterns of a list that DECNET may have written, and what is wrong with its other members.
fn usable(text: &str) -> Result<(Vec<TopicPattern>, Vec<String>), String> {
    let members: Vec<Value> = serde_json::from_str(text).map_err(|error| {
        let shown: String = text.chars().take(SHOWN_CHARS).collect();
        format!("{shown:?} is no JSON list of patterns: {error}")
    })?;
    let (mut patterns, mut skipped) = (Vec::new(), Vec::new());
    for member in members {
        match member.as_str().map(TopicPattern::parse) {
            Some(Ok(pattern)) => patterns.push(pattern),
            Some(Err(error)) => skipped.push(error.to_string()),
            None => {
                let shown: String = member.to_string().chars().take(SHOWN_CHARS).collect();
                skipped.push(format!("{shown} is no text"));
            }
        }
    }
    Ok((patterns, skipped))
}

/// A JSON list of patterns, every one of them valid.
pub(crate) fn patterns(column: &str, text: &str) -> Result<Vec<TopicPattern>, String> {
    serde_json::from_str::<Vec<String>>(text)
        .map_err(|error| format!("{column}: {error}"))?
        .iter()
        .map(|text| TopicPattern::parse(text).map_err(|error| format!("{column}: {error}")))
        .collect()
}

/// The same as text.
pub(crate) fn patterns_text(patterns: &[TopicPattern]) -> String {
    let texts: Vec<&str> = patterns.iter().map(TopicPattern::as_str).collect();
    serde_json::to_string(&texts).expect("a list of strings is JSON")
}

fn time(row: &QueryResult, name: &str) -> Result<UtcTime, String> {
    optional_time(row, name)?.ok_or_else(|| "is empty".to_owned())
}

fn optional_time(row: &QueryResult, name: &str) -> Result<Option<UtcTime>, String> {
    column::<Option<String>>(row, name)?
        .map(|text| UtcTime::parse_sql(&text))
        .transpose()
        .map_err(|error| error.to_string())
}

/// The driver's own error says what type it found, never the value.
fn column<T: TryGetable>(row: &QueryResult, name: &str) -> Result<T, String> {
    row.try_get("", name)
        .map_err(|error: sea_orm::DbErr| error.to_string())
}

fn failures(count: u32) -> Expr {
    Expr::val(i32::try_from(count).unwrap_or(i32::MAX))
}
