//! One row of DECNET's table, column by column.

use sea_orm::{
    DbBackend, QueryResult, TryGetable,
    sea_query::{Expr, InsertStatement, Order, Query, SelectStatement},
};
use serde_json::Value;
use webhook_model::{EndpointUrl, Secret, Settings, State, Subscription, TopicPattern, UtcTime};

use crate::{
    BadRow, backend, entities::subscription::WebhookSubscriptions as Column, store::WriteTxn,
};

/// How a member of a list that is no text is shown.
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

/// The columns in which an operator's change shows; `updated_at` is not among them.
pub(super) fn changes(
    txn: &WriteTxn,
    old: &Subscription,
    new: &Subscription,
) -> Vec<(Column, Expr)> {
    let mut changes = Vec::new();
    if new.name != old.name {
        changes.push((Column::Name, Expr::val(&new.name)));
    }
    if new.url != old.url {
        changes.push((Column::Url, Expr::val(new.url.expose())));
    }
    if new.secret != old.secret {
        changes.push((Column::Secret, Expr::val(new.secret.expose())));
    }
    if new.topic_patterns != old.topic_patterns || new.skipped_patterns != old.skipped_patterns {
        changes.push((
            Column::TopicPatterns,
            Expr::val(patterns_text(&new.topic_patterns)),
        ));
    }
    if new.state != old.state {
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

/// All but the settings, which have a table of their own.
pub(super) fn decode(row: &QueryResult) -> Result<Subscription, BadRow> {
    // NULL is possible: SQLite lets a text primary key be so.
    let uuid = column::<String>(row, "uuid").map_err(|reason| BadRow {
        uuid: "(unreadable)".to_owned(),
        reason,
    })?;
    fields(row, &uuid).map_err(|reason| BadRow { uuid, reason })
}

fn fields(row: &QueryResult, uuid: &str) -> Result<Subscription, String> {
    let url = EndpointUrl::parse(&column::<String>(row, "url")?)
        .map_err(|error| format!("url: {error}"))?;
    let secret = Secret::stored(column(row, "secret")?).map_err(|error| error.to_string())?;
    let (topic_patterns, skipped_patterns) = usable(&column::<String>(row, "topic_patterns")?)?;
    let failures: i32 = column(row, "consecutive_failures")?;
    let state = State::from_columns(
        column(row, "enabled")?,
        optional_time(row, "auto_disabled_at")?,
    );
    Ok(Subscription {
        uuid: uuid.to_owned(),
        name: column(row, "name")?,
        url,
        secret,
        topic_patterns,
        skipped_patterns,
        settings: Settings::default(),
        state,
        consecutive_failures: u32::try_from(failures).unwrap_or(0),
        last_success_at: optional_time(row, "last_success_at")?,
        last_failure_at: optional_time(row, "last_failure_at")?,
        last_error: column(row, "last_error")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

/// The patterns of a list that DECNET may have written, and what is wrong with its other members.
fn usable(text: &str) -> Result<(Vec<TopicPattern>, Vec<String>), String> {
    let members: Vec<Value> =
        serde_json::from_str(text).map_err(|error| format!("topic_patterns: {error}"))?;
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
    optional_time(row, name)?.ok_or_else(|| format!("{name} is empty"))
}

fn optional_time(row: &QueryResult, name: &str) -> Result<Option<UtcTime>, String> {
    column::<Option<String>>(row, name)?
        .map(|text| UtcTime::parse_sql(&text))
        .transpose()
        .map_err(|error| format!("{name}: {error}"))
}

/// The driver's own error says what type it found, never the value.
fn column<T: TryGetable>(row: &QueryResult, name: &str) -> Result<T, String> {
    row.try_get("", name)
        .map_err(|error| format!("{name}: {error}"))
}

fn failures(count: u32) -> Expr {
    Expr::val(i32::try_from(count).unwrap_or(i32::MAX))
}
