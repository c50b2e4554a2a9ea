//! What a list of deliveries may be asked for.

use webhook_model::{DeliveryStatus, TopicPattern, UtcTime};
use webhook_store::{Cursor, DeliveryFilter};

use crate::{fields::Fields, problem::Problem};

/// Rows of a page when nobody says how many (contract §2).
const DEFAULT_LIMIT: u64 = 50;
const MAX_LIMIT: u64 = 500;

/// A page to be read.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) filter: DeliveryFilter,
    pub(super) cursor: Option<Cursor>,
    pub(super) limit: u64,
}

/// Reads a query string.
pub(super) fn read(query: &str) -> Result<Query, Problem> {
    let mut fields = Fields::query(query);
    let filter = DeliveryFilter {
        subscription: fields.text("subscription", id),
        status: fields.text("status", str::parse::<DeliveryStatus>),
        topic: fields.text("topic", TopicPattern::parse),
        event_id: fields.text("event_id", id),
        error: fields.text("error", id),
        since: fields.text("since", UtcTime::parse_sql),
        until: fields.text("until", UtcTime::parse_sql),
        acknowledged: fields.text("acknowledged", flag),
    };
    let limit = fields.text("limit", limit);
    let cursor = fields.text("cursor", str::parse::<Cursor>);
    fields.finish()?;
    Ok(Query {
        filter,
        cursor,
        limit: limit.unwrap_or(DEFAULT_LIMIT),
    })
}

/// Dead letters that something is to be done with.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    pub(crate) filter: DeliveryFilter,
    /// Those alone whose subscription is gone.
    pub(crate) orphans: bool,
}

/// Reads the query string of a purge or an acknowledgement. Either is for dead letters alone, and
/// that has to be said.
pub(crate) fn dead_letters(query: &str) -> Result<DeadLetters, Problem> {
    let mut fields = Fields::query(query);
    let _dead = fields.required_text("status", |text| match text {
        "dead" => Ok(()),
        _ => Err("must be dead: no other deliveries are removed or acknowledged"),
    });
    let filter = DeliveryFilter {
        subscription: fields.text("subscription", id),
        status: Some(DeliveryStatus::Dead),
        topic: fields.text("topic", TopicPattern::parse),
        event_id: fields.text("event_id", id),
        error: fields.text("error", id),
        since: fields.text("since", UtcTime::parse_sql),
        until: fields.text("until", UtcTime::parse_sql),
        acknowledged: fields.text("acknowledged", flag),
    };
    let orphans = fields.text("orphans", flag);
    fields.finish()?;
    Ok(DeadLetters {
        filter,
        orphans: orphans.unwrap_or(false),
    })
}

fn flag(text: &str) -> Result<bool, &'static str> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false"),
    }
}

/// Any text but what no database can hold.
pub(crate) fn id(text: &str) -> Result<String, &'static str> {
    if text.contains('\0') {
        return Err("contains a NUL character");
    }
    Ok(text.to_owned())
}

fn limit(text: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| format!("must be a whole number from 1 to {MAX_LIMIT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_and_empty_parameters_do_not_matter() {
        for text in [
            "",
            "&&",
            "subscription=&status=&topic=&event_id=&error=&since=&until=&acknowledged=&limit=&cursor=",
        ] {
            let query = read(text).unwrap();
            assert_eq!(query.filter, DeliveryFilter::default(), "{text}");
            assert_eq!((query.limit, query.cursor), (50, None));
        }
    }

    #[test]
    fn what_is_for_dead_letters_says_so() {
        let read = dead_letters("status=dead&subscription=s&orphans=true").unwrap();
        assert_eq!(read.filter.status, Some(DeliveryStatus::Dead));
        assert!(read.orphans && read.filter.subscription.as_deref() == Some("s"));
        for wrong in [
            "",
            "status=retrying",
            "status=dead&orphans=yes",
            "status=dead&acknowledged=1",
            "status=dead&limit=1",
        ] {
            assert!(dead_letters(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn everything_is_decoded() {
        let query = read("topic=attacker.%3E&status=dead&since=2026-04-24T12%3A00%3A00%2B02:00&event_id=a%2Bb+c&error=http%20503&limit=500&cursor=7-3").unwrap();
        assert_eq!(query.filter.topic.unwrap().as_str(), "attacker.>");
        assert_eq!(query.filter.status, Some(DeliveryStatus::Dead));
        let since = query.filter.since.unwrap().rfc3339();
        assert_eq!(since, "2026-04-24T10:00:00.000000Z");
        assert_eq!(query.filter.event_id.as_deref(), Some("a+b c"));
        assert_eq!(query.filter.error.as_deref(), Some("http 503"));
        assert_eq!(
            (query.limit, query.cursor.unwrap().to_string()),
            (500, "7-3".to_owned())
        );
    }
}
