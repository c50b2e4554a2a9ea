//! What is tried again, by whom, and when no more.

use std::time::Duration;

use bytes::Bytes;
use webhook_model::{
    DeliveryStatus::{Dead, Delivered, Retrying},
    UtcTime,
};
use webhook_store::{AttemptRecord, Claimed, DeliveryRecord, FailureCount, Store};

use crate::support::*;

on_each_engine!(
    due_rows_are_claimed_once_and_oldest_first,
    a_dead_workers_lease_runs_out,
    an_outcome_ends_the_lease_and_moves_the_row,
    redelivery_rounds_count_no_failure_but_every_success,
    failed_attempts_are_kept_once_and_cut,
    only_active_subscriptions_have_anything_due,
    a_deleted_subscriptions_rows_become_dead_letters,
);

const LEASE: Duration = Duration::from_secs(60);

fn seqs(claimed: &[Claimed]) -> Vec<u64> {
    claimed.iter().map(|row| row.seq).collect()
}

async fn due(store: &Store) -> Vec<(u64, i64)> {
    let due = store.due(UtcTime::now()).await.unwrap();
    due.iter()
        .map(|due| (due.due, due.earliest.micros()))
        .collect()
}

async fn due_rows_are_claimed_once_and_oldest_first(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let later = UtcTime::now().micros() + 3_600_000_000;
    let batch = [
        due_at(&made, 1, 300),
        due_at(&made, 2, 100),
        due_at(&made, 3, 200),
        due_at(&made, 4, later),
        record(&made, "p", 5, Dead),
        record(&made, "p", 6, Delivered),
    ];
    store.record(&batch).await.unwrap();
    assert_eq!(due(&store).await, [(3, 100)]);
    assert_eq!(
        store.next_due_at().await.unwrap(),
        Some(UtcTime::from_micros(100))
    );

    let first = store.claim(&made.uuid, 2, "one", LEASE).await.unwrap();
    assert_eq!(seqs(&first), [2, 3]);
    assert_eq!(first[0].body.as_deref(), Some(&b"{\"seq\":2}"[..]));
    assert_eq!((first[0].round, first[0].attempts), (0, 1));
    assert_eq!(due(&store).await, [(1, 300)]);
    let second = store.claim(&made.uuid, 9, "two", LEASE).await.unwrap();
    assert_eq!(seqs(&second), [1]);
    assert!(due(&store).await.is_empty());
    assert_eq!(
        store.next_due_at().await.unwrap(),
        Some(UtcTime::from_micros(later))
    );

    // Given back by its owner alone.
    store.release(&[second[0].id], "one").await.unwrap();
    assert!(due(&store).await.is_empty());
    store.release(&[second[0].id], "two").await.unwrap();
    assert_eq!(due(&store).await, [(1, 300)]);
    store.free_orphaned_leases(LEASE).await.unwrap();
    assert_eq!(due(&store).await, [(3, 100)]);
}

async fn a_dead_workers_lease_runs_out(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    store.record(&[due_at(&made, 1, 100)]).await.unwrap();
    let first = store
        .claim(&made.uuid, 1, "dead", Duration::ZERO)
        .await
        .unwrap();
    let second = store.claim(&made.uuid, 1, "alive", LEASE).await.unwrap();
    assert_eq!(seqs(&first), seqs(&second));
    // Whose lease it was does not give back what is another's.
    store.release(&[first[0].id], "dead").await.unwrap();
    assert!(due(&store).await.is_empty());
}

async fn an_outcome_ends_the_lease_and_moves_the_row(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    store.record(&[due_at(&made, 1, 100)]).await.unwrap();
    store.claim(&made.uuid, 1, "one", LEASE).await.unwrap();
    let again = DeliveryRecord {
        attempts: 5,
        round: 1,
        counts: false,
        ..due_at(&made, 1, 200)
    };
    // Recorded twice: the second time it is no news.
    for _ in 0..2 {
        store.record(std::slice::from_ref(&again)).await.unwrap();
    }
    assert_eq!(due(&store).await, [(1, 200)]);
    let claimed = store.claim(&made.uuid, 1, "one", LEASE).await.unwrap();
    assert_eq!((claimed[0].round, claimed[0].attempts), (1, 5));
    // The outcome before comes late.
    store.record(&[due_at(&made, 1, 100)]).await.unwrap();
    assert!(due(&store).await.is_empty());
    let done = DeliveryRecord {
        attempts: 6,
        round: 2,
        ..record(&made, "p", 1, Delivered)
    };
    store.record(&[done]).await.unwrap();
    store.free_orphaned_leases(LEASE).await.unwrap();
    assert_eq!(store.next_due_at().await.unwrap(), None);
}

async fn redelivery_rounds_count_no_failure_but_every_success(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let failing = |count| {
        vec![FailureCount {
            subscription: made.uuid.clone(),
            epoch: 1,
            consecutive_failures: count,
        }]
    };
    let batch = [due_at(&made, 1, 100), due_at(&made, 2, 100)];
    assert_eq!(store.record(&batch).await.unwrap(), failing(2));
    let dead = [record(&made, "p", 3, Dead)];
    assert_eq!(store.record(&dead).await.unwrap(), failing(3));
    let redelivered = |status, attempts| DeliveryRecord {
        attempts,
        round: 1,
        counts: false,
        error: Some("later".into()),
        ..record(&made, "p", 1, status)
    };
    assert!(
        store
            .record(&[redelivered(Retrying, 4)])
            .await
            .unwrap()
            .is_empty()
    );
    let read = store.get(&made.uuid).await.unwrap().unwrap();
    assert_eq!(read.consecutive_failures, 3);
    assert_eq!(read.last_error.as_deref(), Some("later"));
    assert!(
        store
            .record(&[redelivered(Delivered, 5)])
            .await
            .unwrap()
            .is_empty()
    );
    let read = store.get(&made.uuid).await.unwrap().unwrap();
    assert_eq!(read.consecutive_failures, 0);
}

async fn failed_attempts_are_kept_once_and_cut(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let attempt = |at, answer: &[u8]| AttemptRecord {
        at: UtcTime::from_micros(at),
        status_code: Some(503),
        duration: Duration::from_millis(9),
        error: Some("http \0 503".into()),
        answer: Bytes::copy_from_slice(answer),
    };
    let first = DeliveryRecord {
        failed_attempts: vec![attempt(1, b"a\0\xff"), attempt(2, &[b'x'; 5_000])],
        attempts: 2,
        ..due_at(&made, 1, 100)
    };
    let second = DeliveryRecord {
        failed_attempts: vec![attempt(3, b"")],
        attempts: 3,
        round: 1,
        ..due_at(&made, 1, 200)
    };
    let other = record(&made, "p", 2, Delivered);
    store.record(&[first.clone(), other]).await.unwrap();
    store
        .record(&[first.clone(), second.clone()])
        .await
        .unwrap();
    store.record(&[first, second]).await.unwrap();
    let detail = store.delivery(1).await.unwrap().unwrap();
    let kept: Vec<_> = detail
        .attempts
        .iter()
        .map(|a| (a.at.micros(), a.answer.len()))
        .collect();
    assert_eq!(kept, [(1, 3), (2, 1_024), (3, 0)]);
    assert_eq!(detail.attempts[0].answer, &b"a\0\xff"[..]);
    assert_eq!(
        detail.attempts[0].error.as_deref(),
        Some("http \u{fffd} 503")
    );
    assert_eq!(detail.body.as_deref(), Some(&b"{\"seq\":1}"[..]));
    assert_eq!(store.delivery(99).await.unwrap(), None);
}

async fn only_active_subscriptions_have_anything_due(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    store.record(&[due_at(&made, 1, 100)]).await.unwrap();
    store
        .patch(&made.uuid, enabled(false), &at(2))
        .await
        .unwrap();
    assert!(due(&store).await.is_empty());
    assert_eq!(store.next_due_at().await.unwrap(), None);
    assert!(
        store
            .claim(&made.uuid, 9, "one", LEASE)
            .await
            .unwrap()
            .is_empty()
    );
    store
        .patch(&made.uuid, enabled(true), &at(2))
        .await
        .unwrap();
    assert_eq!(due(&store).await, [(1, 100)]);

    // A tripped one gives its earliest to the probe, due or not.
    let epoch = store.snapshot().await.unwrap().subscriptions[0].epoch;
    assert!(
        store
            .trip(&made.uuid, epoch, down("down", None))
            .await
            .unwrap()
    );
    assert!(due(&store).await.is_empty());
    let probe = store
        .claim_earliest(&made.uuid, &[], "one", LEASE)
        .await
        .unwrap();
    assert_eq!(probe.unwrap().seq, 1);
    assert_eq!(
        store
            .claim_earliest(&made.uuid, &[], "two", LEASE)
            .await
            .unwrap(),
        None
    );
}

async fn a_deleted_subscriptions_rows_become_dead_letters(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    store.record(&[due_at(&made, 1, 100)]).await.unwrap();
    store.delete(&made.uuid, &at(2)).await.unwrap();
    let detail = store.delivery(1).await.unwrap().unwrap();
    assert_eq!(detail.row.status, Dead);
    assert_eq!(detail.row.error.as_deref(), Some("subscription deleted"));
    assert!(detail.body.is_some());

    // What was in flight comes late; DECNET deletes a row itself. The sweep sees to both.
    store.record(&[due_at(&made, 2, 100)]).await.unwrap();
    assert!(due(&store).await.is_empty());
    assert_eq!(
        store
            .claim_earliest(&made.uuid, &[], "one", LEASE)
            .await
            .unwrap(),
        None
    );
    let age = Duration::from_secs(3_600);
    assert_eq!(store.sweep(UtcTime::now(), age, age, 10).await.unwrap(), 0);
    assert_eq!(store.delivery(2).await.unwrap().unwrap().row.status, Dead);
}
