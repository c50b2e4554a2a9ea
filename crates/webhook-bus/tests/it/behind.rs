//! Consumers that are behind the ring.

use std::time::Duration;

use webhook_bus::{Bus, Journal, Role};

use crate::support::{config, consume, drain, open, pattern, publish, seqs};

async fn small_ring(dir: &std::path::Path) -> Bus {
    let mut config = config(dir, Role::Worker);
    config.ring_events = 100;
    Journal::open(config).await.unwrap().into()
}

#[tokio::test]
async fn to_the_disk_and_back_in_order_exactly_once() {
    let dir = tempfile::tempdir().unwrap();
    let bus = small_ring(dir.path()).await;
    let mut consumer = consume(&bus, "c", "a.>").await;
    let mut expected = Vec::new();
    let mut found = Vec::new();
    // More than a queue holds, then less than the ring, by turns.
    for round in 0..6 {
        let count = if round % 2 == 0 { 1_500 } else { 40 };
        for _ in 0..count / 20 {
            expected.extend(publish(&bus, "a.b", 19).await);
            publish(&bus, "b.b", 1).await;
        }
        // Some are left for the next round.
        for _ in 0..count / 30 {
            for message in consumer.take(25).await.unwrap() {
                found.push(message.seq);
                consumer.acker().ack(message.seq).await;
            }
        }
    }
    let end = bus.position().await.unwrap().next_seq - 1;
    found.extend(seqs(&drain(&mut consumer, end).await));
    assert_eq!(found, expected);
    assert_eq!(bus.pending("c", &pattern("a.>").into()).await.unwrap(), 0);
    // And it is live again.
    let last = publish(&bus, "a.b", 1).await;
    consumer.ready(None).await.unwrap();
    assert_eq!(seqs(&consumer.take(9).await.unwrap()), last);
}

#[tokio::test]
async fn a_sparse_filter_finds_its_events_even_if_cancelled_all_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let bus = small_ring(dir.path()).await;
    let mut expected = Vec::new();
    for _ in 0..5 {
        for _ in 0..10 {
            publish(&bus, "a.b", 1_000).await;
        }
        expected.extend(publish(&bus, "rare.b", 1).await);
    }
    publish(&bus, "a.b", 1_000).await;
    let mut consumer = consume(&bus, "c", "rare.*").await;
    let end = bus.position().await.unwrap().next_seq - 1;
    let mut found = Vec::new();
    let mut cancelled = 0;
    // The clock is real: how often it is cancelled differs, what is found does not.
    while found.len() < expected.len() {
        match tokio::time::timeout(Duration::from_micros(200), consumer.ready(Some(end))).await {
            Err(_) => cancelled += 1,
            Ok(ready) => {
                ready.unwrap();
                found.extend(seqs(&consumer.take(1).await.unwrap()));
            }
        }
    }
    assert_eq!(found, expected);
    assert!(cancelled > 0);
}

#[tokio::test]
async fn large_events_are_read_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let bus = small_ring(dir.path()).await;
    for _ in 0..12 {
        let mut large = crate::support::publication("a.b");
        large.bytes = format!("\"{}\"", "x".repeat((1 << 20) - 2)).into();
        bus.publish(vec![large]).await.unwrap();
    }
    publish(&bus, "b.b", 200).await;
    let mut consumer = consume(&bus, "c", "a.>").await;
    consumer.ready(None).await.unwrap();
    let first = consumer.take(12).await.unwrap();
    assert_eq!(seqs(&first), [1, 2, 3, 4]);
    assert_eq!(first[3].bytes().len(), 1 << 20);
    let rest = drain(&mut consumer, 212).await;
    assert_eq!(seqs(&rest), (5..=12).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_backlog_from_before_the_start_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    let appender = open(dir.path(), Role::Appender).await;
    let mut expected = publish(&appender, "a.b", 3_000).await;
    let bus = small_ring(dir.path()).await;
    let mut consumer = consume(&bus, "c", ">").await;
    assert_eq!(consumer.resumed_at(), 3_000);
    expected.extend(publish(&bus, "a.b", 10).await);
    expected.extend(publish(&appender, "a.b", 10).await);
    let end = *expected.last().unwrap();
    assert_eq!(seqs(&drain(&mut consumer, end).await), expected);
}
