use sea_orm::{ColumnTrait, QueryFilter, Select};
use webhook_model::{DeliveryStatus, Topic, TopicPattern, UtcTime};

use super::DeliveryRow;
use crate::entities::delivery::{self, Column, status_code};

/// Which deliveries are wanted; what is absent does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// The subscription's uuid.
    pub subscription: Option<String>,
    /// Where they stand.
    pub status: Option<DeliveryStatus>,
    /// What their topic matches.
    pub topic: Option<TopicPattern>,
    /// The event's id.
    pub event_id: Option<String>,
    /// A part of their error.
    pub error: Option<String>,
    /// First recorded then or later.
    pub since: Option<UtcTime>,
    /// First recorded before.
    pub until: Option<UtcTime>,
    /// Whether an operator has acknowledged them; of dead letters.
    pub acknowledged: Option<bool>,
}

/// What leads into one of the log's indexes. Never more equalities than one index begins with, or
/// the database may choose another, whose rows it has to sort.
pub(super) enum Lead<'a> {
    Event(&'a str),
    Subscription(&'a str, DeliveryStatus),
    Topic(&'a str),
    Status(DeliveryStatus),
}

impl Lead<'_> {
    pub(super) fn apply(&self, select: Select<delivery::Entity>) -> Select<delivery::Entity> {
        match self {
            Self::Event(id) => select.filter(Column::EventId.eq(*id)),
            Self::Subscription(uuid, status) => select
                .filter(Column::Subscription.eq(*uuid))
                .filter(Column::Status.eq(status_code(*status))),
            Self::Topic(topic) => select.filter(Column::Topic.eq(*topic)),
            Self::Status(status) => select.filter(Column::Status.eq(status_code(*status))),
        }
    }
}

impl DeliveryFilter {
    /// The scans whose rows, merged, hold every match.
    pub(super) fn leads(&self) -> Vec<Lead<'_>> {
        use DeliveryStatus::{Dead, Delivered, Retrying};
        let statuses = match self.status {
            Some(status) => vec![status],
            None => vec![Retrying, Dead, Delivered],
        };
        if let Some(id) = &self.event_id {
            return vec![Lead::Event(id)];
        }
        if let Some(uuid) = &self.subscription {
            return statuses
                .into_iter()
                .map(|status| Lead::Subscription(uuid, status))
                .collect();
        }
        if let Some(topic) = self.exact_topic() {
            return vec![Lead::Topic(topic)];
        }
        statuses.into_iter().map(Lead::Status).collect()
    }

    /// Whether every row that the scans yield matches.
    pub(super) fn is_indexed(&self) -> bool {
        let led_by_event = self.event_id.is_some() && self.subscription.is_none();
        let rest = self.error.is_none() && self.acknowledged.is_none();
        match (&self.topic, self.status) {
            (None, None) => rest && (self.event_id.is_none() || led_by_event),
            (None, Some(_)) => rest && self.event_id.is_none(),
            (Some(_), None) => {
                let alone = self.event_id.is_none() && self.subscription.is_none();
                rest && alone && self.exact_topic().is_some()
            }
            (Some(_), Some(_)) => false,
        }
    }

    pub(crate) fn matches(&self, row: &DeliveryRow) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, found: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == found)
        }
        let topic = |pattern: &TopicPattern| {
            Topic::parse(&row.topic).is_ok_and(|topic| pattern.matches(&topic))
        };
        let error = |part: &String| row.error.as_ref().is_some_and(|error| error.contains(part));
        is(self.subscription.as_ref(), &row.subscription)
            && is(self.status.as_ref(), &row.status)
            && is(self.event_id.as_ref(), &row.event_id)
            && self.topic.as_ref().is_none_or(topic)
            && self.error.as_ref().is_none_or(error)
            && self.since.is_none_or(|since| row.created_at >= since)
            && self.until.is_none_or(|until| row.created_at < until)
            && is(self.acknowledged.as_ref(), &row.acknowledged_at.is_some())
    }

    /// The topic, where the pattern is one.
    fn exact_topic(&self) -> Option<&str> {
        let text = self.topic.as_ref()?.as_str();
        Topic::parse(text).is_ok().then_some(text)
    }
}
