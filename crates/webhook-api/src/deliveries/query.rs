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

/// What is to be removed.
#[derive(Debug)]
pub(super) struct Purge {
    pub(super) filter: DeliveryFilter,
    /// Those alone whose subscription is gone.
    pub(super) orphans: bool,
}

/// Reads the query string of a purge. Only dead letters are removed, and that has to be said.
pub(super) fn purge(query: &str) -> Result<Purge, Problem> {
    let mut fields = Fields::query(query);
    let _dead = fields.required_text("status", |text| match text {
        "dead" => Ok(()),
        _ => Err("must be dead: nothing else can be removed"),
    });
    let filter = DeliveryFilter {
        subscription: fields.text("subscription", id),
        status: Some(DeliveryStatus::Dead),
        topic: fields.text("topic", TopicPattern::parse),
        event_id: fields.text("event_id", id),
        error: fields.text("error", id),
        since: fields.text("since", UtcTime::parse_sql),
        until: fields.text("until", UtcTime::parse_sql),
    };
    let orphans = fields.text("orphans", |text| match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false"),
    });
    fields.finish()?;
    Ok(Purge {
        filter,
        orphans: orphans.unwrap_or(false),
    })
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
            "subscription=&status=&topic=&event_id=&error=&since=&until=&limit=&cursor=",
        ] {
            let query = read(text).unwrap();
            assert_eq!(query.filter, DeliveryFilter::default(), "{text}");
            assert_eq!((query.limit, query.cursor), (50, None));
        }
    }

    #[test]
    fn a_purge_says_that_it_is_of_dead_letters() {
        let read = purge("status=dead&subscription=s&orphans=true").unwrap();
        assert_eq!(read.filter.status, Some(DeliveryStatus::Dead));
        assert!(read.orphans && read.filter.subscription.as_deref() == Some("s"));
        for wrong in [
            "",
            "status=retrying",
            "status=dead&orphans=yes",
            "status=dead&limit=1",
        ] {
            assert!(purge(wrong).is_err(), "{wrong}");
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
