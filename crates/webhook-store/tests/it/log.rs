//! Pages of the delivery log.

use std::collections::HashSet;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use webhook_model::{
    DeliveryStatus::{self, Dead, Delivered, Retrying},
    Subscription, Topic, TopicPattern, UtcTime,
};
use webhook_store::{Cursor, DeliveryFilter, DeliveryRecord, RetryOutcome, Store};

use crate::support::*;

on_each_engine!(
    what_is_added_meanwhile_moves_no_page,
    what_is_not_delivered_can_be_tried_once_more,
);

const TOPICS: [&str; 3] = ["decky.a.state", "decky.b.state", "attacker.x"];
const STATUSES: [DeliveryStatus; 3] = [Retrying, Dead, Delivered];

/// Every page of this size, as seqs.
async fn pages(store: &Store, filter: &DeliveryFilter, limit: u64) -> Vec<u64> {
    let (mut seqs, mut cursor) = (Vec::new(), None::<Cursor>);
    loop {
        let page = store
            .deliveries(filter, cursor.as_ref(), limit)
            .await
            .unwrap();
        assert!(page.items.len() as u64 <= limit);
        seqs.extend(page.items.iter().map(|row| row.seq));
        match page.next {
            Some(next) => cursor = Some(next.to_string().parse().unwrap()),
            None => return seqs,
        }
    }
}

#[test]
fn pages_are_the_sorted_log() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let row = (0..3_usize, 0..3_usize, 0..2_usize, 0..4_usize, 0..6_i64);
    let choice = |n: usize| prop::option::of(0..n);
    let filter = (choice(2), choice(3), choice(4), choice(4), any::<bool>());
    let times = (prop::option::of(0..6_i64), prop::option::of(0..6_i64));
    let case = (prop::collection::vec(row, 0..60), filter, times, 1..9_u64);
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(60)
    });
    runner
        .run(
            &case,
            |(rows, (sub, status, topic, event, error), (since, until), limit)| {
                runtime.block_on(async {
                    let database = Database::new();
                    let store = database.open().await;
                    let mut subs: Vec<Subscription> = Vec::new();
                    for name in ["one", "two"] {
                        subs.push(store.create(new(name, &["a"]), &at(1)).await.unwrap());
                    }
                    let records: Vec<_> = rows
                        .iter()
                        .zip(1..)
                        .map(|((topic, status, sub, event, at), seq)| DeliveryRecord {
                            topic: TOPICS[*topic].into(),
                            event_id: format!("e{event}"),
                            at: UtcTime::from_micros(*at),
                            ..record(&subs[*sub], "p", seq, STATUSES[*status])
                        })
                        .collect();
                    store.record(&records).await.unwrap();
                    let pattern = ["decky.*.state", "attacker.x", ">", "decky.a.>"];
                    let filter = DeliveryFilter {
                        subscription: sub.map(|sub| subs[sub].uuid.clone()),
                        status: status.map(|status| STATUSES[status]),
                        topic: topic.map(|topic| TopicPattern::parse(pattern[topic]).unwrap()),
                        event_id: event.map(|event| format!("e{event}")),
                        error: error.then(|| "503".to_owned()),
                        since: since.map(UtcTime::from_micros),
                        until: until.map(UtcTime::from_micros),
                        acknowledged: None,
                    };
                    let mut expected: Vec<&DeliveryRecord> = records
                        .iter()
                        .filter(|r| {
                            let topic = Topic::parse(&r.topic).unwrap();
                            filter
                                .subscription
                                .as_ref()
                                .is_none_or(|s| *s == r.subscription)
                                && filter.status.is_none_or(|s| s == r.status)
                                && filter.topic.as_ref().is_none_or(|t| t.matches(&topic))
                                && filter.event_id.as_ref().is_none_or(|e| *e == r.event_id)
                                && (filter.error.is_none() || r.error.is_some())
                                && filter.since.is_none_or(|since| r.at >= since)
                                && filter.until.is_none_or(|until| r.at < until)
                        })
                        .collect();
                    expected.sort_by_key(|r| std::cmp::Reverse((r.at, r.seq)));
                    let expected: Vec<u64> = expected.iter().map(|r| r.seq).collect();
                    assert_eq!(pages(&store, &filter, limit).await, expected);
                    store.close().await.unwrap();
                });
                Ok(())
            },
        )
        .unwrap();
}

async fn what_is_added_meanwhile_moves_no_page(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let batch: Vec<_> = (1..=6)
        .map(|seq| record(&made, "p", seq, Delivered))
        .collect();
    store.record(&batch).await.unwrap();
    let filter = DeliveryFilter::default();
    let first = store.deliveries(&filter, None, 3).await.unwrap();
    store
        .record(&[record(&made, "p", 7, Delivered)])
        .await
        .unwrap();
    let second = store
        .deliveries(&filter, first.next.as_ref(), 3)
        .await
        .unwrap();
    assert_eq!(second.next, None);
    let ids: HashSet<_> = first
        .items
        .iter()
        .chain(&second.items)
        .map(|r| r.id)
        .collect();
    assert_eq!(ids.len(), 6);
}

/// However large the table, a page only walks an index: no plan sorts or scans.
#[tokio::test]
async fn no_page_sorts_the_table() {
    let database = Database::new();
    drop(database.open().await);
    let decnet = database.decnet().await;
    for lead in [
        "status = 2",
        "subscription = 'u' AND status = 1",
        "topic = 'a.b'",
        "event_id = 'e'",
    ] {
        let plan = format!(
            "EXPLAIN QUERY PLAN SELECT id FROM webhook_deliveries WHERE {lead}
             AND created_at <= 5 AND (created_at < 5 OR id < 3)
             ORDER BY created_at DESC, id DESC LIMIT 50"
        );
        let lines = decnet.column(&plan, "detail").await.join("; ");
        assert!(
            lines.contains("USING INDEX") || lines.contains("USING COVERING INDEX"),
            "{lines}"
        );
        assert!(!lines.contains("TEMP B-TREE"), "{lead}: {lines}");
    }
}

async fn what_is_not_delivered_can_be_tried_once_more(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let gone = store.create(new("gone", &["a"]), &at(1)).await.unwrap();
    let undecodable = DeliveryRecord {
        error: Some("undecodable: not JSON".into()),
        ..dead(&made, 5)
    };
    let batch = [
        dead(&made, 1),
        due_at(&made, 2, 4_000_000_000_000_000),
        record(&made, "p", 3, Delivered),
        record(&made, "p", 4, Dead),
        undecodable,
        dead(&gone, 6),
    ];
    store.record(&batch).await.unwrap();
    store.delete(&gone.uuid, &at(1)).await.unwrap();
    for (id, expected) in [
        (1, RetryOutcome::Queued),
        (2, RetryOutcome::Queued),
        (3, RetryOutcome::AlreadyDelivered),
        (4, RetryOutcome::Unavailable),
        (5, RetryOutcome::Unavailable),
        (6, RetryOutcome::SubscriptionGone),
        (7, RetryOutcome::NotFound),
    ] {
        assert_eq!(store.retry(id).await.unwrap(), expected, "{id}");
    }
    let due = store.due(UtcTime::now()).await.unwrap();
    assert_eq!(due[0].due, 2);
    // What then fails for good is a dead letter again.
    let again = DeliveryRecord {
        attempts: 2,
        round: 1,
        ..dead(&made, 1)
    };
    store.record(&[again]).await.unwrap();
    assert_eq!(store.delivery(1).await.unwrap().unwrap().row.status, Dead);
}
