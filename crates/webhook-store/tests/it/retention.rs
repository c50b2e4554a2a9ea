//! The sweep, and the gaps.

use std::time::Duration;

use webhook_model::{
    DeliveryStatus::{Dead, Delivered},
    UtcTime,
};
use webhook_store::{
    AcknowledgeOutcome, AttemptRecord, DeadBytes, DeliveryFilter, DeliveryRecord, Gap, RetryOutcome,
};

use crate::support::*;

on_each_engine!(
    the_sweep_takes_what_is_old_in_batches,
    gaps_are_kept_once,
    bodies_of_dead_letters_are_kept_within_bytes,
    dead_letters_are_purged_by_filter,
    dead_letters_are_acknowledged_until_they_die_again,
);

async fn bodies_of_dead_letters_are_kept_within_bytes(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let letter = |seq, bytes: usize| DeliveryRecord {
        at: UtcTime::from_micros(i64::try_from(seq).unwrap()),
        body: Some(vec![b'x'; bytes].into()),
        ..dead(&made, seq)
    };
    let letters: Vec<_> = (1..=10).map(|seq| letter(seq, 1_000)).collect();
    store.record(&letters).await.unwrap();
    let bodies = store.dead_bodies().await.unwrap();
    assert_eq!(bodies.len(), 1);
    assert_eq!(bodies[0].bytes, 10_000);
    let bound = DeadBytes {
        each: 3_500,
        all: 1 << 20,
    };
    let excess = bound.excess(&bodies);
    let dropped = store
        .drop_dead_bodies(&excess[0].subscription, excess[0].bytes)
        .await
        .unwrap();
    assert_eq!((dropped.bodies, dropped.bytes), (7, 7_000));
    assert!(bound.excess(&store.dead_bodies().await.unwrap()).is_empty());
    // The oldest went, and their rows are still there.
    let filter = DeliveryFilter::default();
    let page = store.deliveries(&filter, None, 100).await.unwrap();
    assert_eq!(page.items.len(), 10);
    for row in page.items {
        let detail = store.delivery(row.id).await.unwrap().unwrap();
        assert_eq!(detail.body.is_some(), row.created_at.micros() > 7);
    }
}

async fn dead_letters_are_purged_by_filter(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let gone = store.create(new("gone", &["a"]), &at(1)).await.unwrap();
    let mut batch: Vec<_> = (1..=3).map(|seq| dead(&made, seq)).collect();
    batch.push(record(&made, "p", 9, Delivered));
    store.record(&batch).await.unwrap();
    let orphan = DeliveryRecord {
        pair_id: "q".into(),
        ..dead(&gone, 4)
    };
    store.record(&[orphan]).await.unwrap();
    assert!(store.delete(&gone.uuid, &at(5)).await.unwrap());
    let all = DeliveryFilter::default();
    assert_eq!(store.purge_dead(&all, true).await.unwrap(), 1);
    let other = DeliveryFilter {
        subscription: Some("nobody".into()),
        ..all.clone()
    };
    assert_eq!(store.purge_dead(&other, false).await.unwrap(), 0);
    assert_eq!(store.purge_dead(&all, false).await.unwrap(), 3);
    let left = store.deliveries(&all, None, 100).await.unwrap();
    assert_eq!(left.items.len(), 1);
    assert_eq!(left.items[0].status, Delivered);
}

async fn dead_letters_are_acknowledged_until_they_die_again(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let mut batch: Vec<_> = (1..=4).map(|seq| dead(&made, seq)).collect();
    batch.push(record(&made, "p", 9, Delivered));
    store.record(&batch).await.unwrap();
    let counts = async || {
        let counts = store.counts().await.unwrap();
        (counts.dead, counts.dead_acknowledged)
    };
    assert_eq!(counts().await, (4, 0));
    let all = DeliveryFilter::default();
    let rows = store.deliveries(&all, None, 100).await.unwrap().items;
    let of = |seq: u64| rows.iter().find(|row| row.seq == seq).unwrap();

    let acknowledge = async |seq| store.acknowledge(of(seq).id).await.unwrap();
    assert_eq!(acknowledge(1).await, AcknowledgeOutcome::Acknowledged);
    let first = store.delivery(of(1).id).await.unwrap().unwrap().row;
    assert!(first.acknowledged_at.is_some());
    assert_eq!(first.updated_at, of(1).updated_at, "it gets no younger");
    assert_eq!(acknowledge(9).await, AcknowledgeOutcome::NotDead);
    let nobody = store.acknowledge(4_711).await.unwrap();
    assert_eq!(nobody, AcknowledgeOutcome::NotFound);
    assert_eq!(counts().await, (3, 1));
    assert_eq!(store.acknowledge_dead(&all, true).await.unwrap(), 0);
    let none = DeliveryFilter {
        error: Some("of no such kind".into()),
        ..all.clone()
    };
    assert_eq!(store.acknowledge_dead(&none, false).await.unwrap(), 0);
    assert_eq!(store.acknowledge_dead(&all, false).await.unwrap(), 3);
    assert_eq!(acknowledge(1).await, AcknowledgeOutcome::Acknowledged);
    let again = store.delivery(of(1).id).await.unwrap().unwrap().row;
    assert_eq!(
        again.acknowledged_at, first.acknowledged_at,
        "the first one"
    );
    assert_eq!(counts().await, (0, 4));

    // Sent again, it dies once more, which nobody has seen; a late success ends the matter.
    assert_eq!(store.retry(of(2).id).await.unwrap(), RetryOutcome::Queued);
    assert_eq!(counts().await, (0, 3));
    let died = DeliveryRecord {
        attempts: 2,
        ..dead(&made, 2)
    };
    store.record(&[died]).await.unwrap();
    let arrived = DeliveryRecord {
        attempts: 2,
        ..record(&made, "p", 3, Delivered)
    };
    store.record(&[arrived]).await.unwrap();
    assert_eq!(counts().await, (1, 2));
    let with = |acknowledged| DeliveryFilter {
        acknowledged: Some(acknowledged),
        status: Some(Dead),
        ..all.clone()
    };
    for (acknowledged, seqs) in [(false, &[2][..]), (true, &[4, 1])] {
        let page = store.deliveries(&with(acknowledged), None, 100).await;
        let found: Vec<u64> = page.unwrap().items.iter().map(|row| row.seq).collect();
        assert_eq!(found, seqs, "{acknowledged}");
    }
    assert_eq!(store.purge_dead(&with(true), false).await.unwrap(), 2);
    assert_eq!(counts().await, (1, 0));
}

async fn the_sweep_takes_what_is_old_in_batches(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let time = |seconds: i64| UtcTime::from_micros(seconds * 1_000_000);
    let attempt = AttemptRecord {
        at: time(1),
        status_code: None,
        duration: Duration::ZERO,
        error: None,
        answer: "x".into(),
    };
    let old = |record: DeliveryRecord, seconds| DeliveryRecord {
        at: time(seconds),
        failed_attempts: vec![attempt.clone()],
        ..record
    };
    let mut batch: Vec<_> = (1..=5)
        .map(|seq| old(record(&made, "p", seq, Delivered), 10))
        .collect();
    batch.push(old(record(&made, "p", 6, Delivered), 60));
    batch.push(old(dead(&made, 7), 10));
    batch.push(old(dead(&made, 8), 50));
    batch.push(old(due_at(&made, 9, 10), 1));
    batch.push(old(due_at(&made, 10, 10), 1));
    store.record(&batch).await.unwrap();
    // It was tried for long, and died only lately.
    let late = DeliveryRecord {
        attempts: 9,
        ..old(dead(&made, 10), 90)
    };
    store.record(&[late]).await.unwrap();

    let sweep = async |now, batch| {
        let (delivered, dead) = (Duration::from_secs(7), Duration::from_secs(30));
        store
            .sweep(time(now), delivered, dead, batch)
            .await
            .unwrap()
    };
    assert_eq!(sweep(17, 10).await, 0);
    assert_eq!(sweep(60, 4).await, 4);
    assert_eq!(sweep(60, 4).await, 2, "the fifth, and a dead letter");
    assert_eq!(sweep(60, 4).await, 0);
    assert_eq!(sweep(100, 10).await, 2);
    let decnet = database.decnet().await;
    let left = "SELECT min(seq) + 100 * max(seq) FROM webhook_deliveries";
    assert_eq!(decnet.number(left).await, 1_009);
    let attempts = "SELECT count(*) FROM webhook_attempts";
    assert_eq!(decnet.number(attempts).await, 3);
    let orphans = "SELECT count(*) FROM webhook_attempts
        WHERE delivery_id NOT IN (SELECT id FROM webhook_deliveries)";
    assert_eq!(decnet.number(orphans).await, 0);
}

async fn gaps_are_kept_once(database: Database) {
    let store = database.open().await;
    let gap = |from_seq| Gap {
        pair_id: "p".into(),
        subscription: "s".into(),
        incarnation: "bus-a".into(),
        from_seq,
        to_seq: from_seq + 9,
        count: 4,
        at: UtcTime::from_micros(1),
    };
    assert!(store.record_gap(&gap(1)).await.unwrap());
    assert!(!store.record_gap(&gap(1)).await.unwrap());
    assert!(store.record_gap(&gap(20)).await.unwrap());
    let found = store.gaps(Some("s"), 10).await.unwrap();
    assert_eq!(found, [gap(20), gap(1)]);
    assert_eq!(store.gaps(None, 1).await.unwrap().len(), 1);
    assert!(store.gaps(Some("t"), 10).await.unwrap().is_empty());
    let age = Duration::from_secs(1);
    store.sweep(UtcTime::now(), age, age, 10).await.unwrap();
    assert!(store.gaps(None, 10).await.unwrap().is_empty());
}
