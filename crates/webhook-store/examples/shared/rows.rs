//! What the examples fill a database with.

use std::{error::Error, time::Duration};

use webhook_model::{
    DeliveryStatus, EndpointUrl, Secret, Settings, SubscriptionName, TopicPattern, UtcTime,
};
use webhook_store::{DeliveryRecord, NewSubscription, Position, Store};

/// Makes so many subscriptions; their uuids.
pub(crate) async fn subscriptions(
    store: &Store,
    count: usize,
) -> Result<Vec<String>, Box<dyn Error>> {
    let mut uuids = Vec::new();
    for number in 0..count {
        let new = NewSubscription {
            name: SubscriptionName::parse(&format!("siem-{number}"))?,
            url: EndpointUrl::parse("https://siem.example/hook")?,
            secret: Secret::generate(),
            topic_patterns: vec![TopicPattern::parse("attacker.>")?],
            settings: Settings::default(),
            enabled: true,
        };
        let position = Position {
            incarnation: "bus".into(),
            next_seq: 1,
        };
        uuids.push(store.create(new, &position).await?.uuid);
    }
    Ok(uuids)
}

/// The outcome that most events have; subscriptions take turns.
pub(crate) fn delivered(uuids: &[String], seq: u64, event_id: String) -> DeliveryRecord {
    let number = usize::try_from(seq).unwrap_or(0) % uuids.len();
    DeliveryRecord {
        // As long as a uuid.
        pair_id: format!("00000000-0000-0000-0000-{number:012}"),
        seq,
        incarnation: "bus".into(),
        subscription: uuids[number].clone(),
        event_id,
        topic: "attacker.session.started".into(),
        kind: "session.started".into(),
        status: DeliveryStatus::Delivered,
        attempts: 1,
        round: 0,
        failed_attempts: Vec::new(),
        status_code: Some(200),
        error: None,
        duration: Duration::from_millis(3),
        body: None,
        at: UtcTime::now(),
        next_attempt_at: None,
        epoch: 1,
        in_order: false,
        counts: true,
    }
}
