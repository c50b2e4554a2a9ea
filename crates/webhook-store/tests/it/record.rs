//! What recording does to the log and to the subscription.

use std::{collections::HashSet, slice};

use bytes::Bytes;
use webhook_model::{
    DeliveryStatus::{Dead, Delivered, Retrying},
    UtcTime,
};
use webhook_store::{DeliveryRecord, StoreError};

use crate::support::*;

on_each_engine!(
    an_outcome_is_stored_whole,
    outcomes_show_on_the_subscription_and_nowhere_else,
    successes_move_the_last_one_once_a_second,
    each_outcome_counts_once,
    a_row_rises_with_all_its_columns,
    an_older_epoch_is_logged_not_counted,
    outcomes_of_a_deleted_subscription_are_kept,
    seen_is_by_subscription_and_incarnation,
    a_bad_record_fails_its_batch_and_can_be_found,
    large_bodies_go_through,
);

async fn an_outcome_is_stored_whole(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let dead = DeliveryRecord {
        kind: "ob\0served".into(),
        error: Some("answer \0 with NUL".into()),
        body: Some(Bytes::from_static(b"{\"a\":\0\xff}")),
        // Only what is to be tried again is due some time.
        next_attempt_at: Some(UtcTime::from_micros(77)),
        ..record(&made, "p", 9, Dead)
    };
    store.record(slice::from_ref(&dead)).await.unwrap();
    let decnet = database.decnet().await;
    let body = decnet.hex("body");
    let shown = decnet
        .text(&format!(
            "SELECT concat_ws('|', id, pair_id, seq, incarnation, subscription, event_id, topic,
             type, status, attempts, status_code, error, duration_ms, created_at, updated_at,
             next_attempt_at, {body}) FROM webhook_deliveries",
        ))
        .await
        .unwrap();
    let at = dead.at.micros();
    assert_eq!(
        shown,
        format!(
            "1|p|9|bus-a|{}|event-9|attacker.observed|ob\u{fffd}served|1|1|503|\
             answer \u{fffd} with NUL|12|{at}|{at}|7B2261223A00FF7D",
            made.uuid
        )
    );
}

async fn outcomes_show_on_the_subscription_and_nowhere_else(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let version = store.config_version().await.unwrap();
    let (one, two) = (record(&made, "p", 1, Dead), record(&made, "p", 2, Retrying));
    store.record(slice::from_ref(&one)).await.unwrap();
    store.record(slice::from_ref(&two)).await.unwrap();
    let read = store.get(&made.uuid).await.unwrap().unwrap();
    assert_eq!(read.consecutive_failures, 2);
    assert_eq!(read.last_failure_at, Some(two.at));
    assert_eq!(read.last_error.as_deref(), Some("http 503"));
    assert_eq!(read.last_success_at, None);

    let three = record(&made, "p", 3, Delivered);
    store.record(slice::from_ref(&three)).await.unwrap();
    let read = store.get(&made.uuid).await.unwrap().unwrap();
    assert_eq!(read.consecutive_failures, 0);
    assert_eq!(read.last_success_at, Some(three.at));
    assert_eq!(read.last_failure_at, Some(two.at));
    assert_eq!(read.last_error, None);

    assert_eq!(read.updated_at, made.updated_at);
    assert_eq!(store.config_version().await.unwrap(), version);
    assert_eq!(store.snapshot().await.unwrap().subscriptions[0].epoch, 1);
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.active, counts.dead, counts.retrying), (1, 1, 1));
}

async fn successes_move_the_last_one_once_a_second(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    // A column of whole seconds keeps it, too.
    let begun = UtcTime::from_micros(1_760_000_000_000_000);
    let mut seq = 0;
    let mut outcome = async |millis: i64, status| {
        seq += 1;
        let at = UtcTime::from_micros(begun.micros() + millis * 1_000);
        let record = DeliveryRecord {
            at,
            ..record(&made, "p", seq, status)
        };
        store.record(&[record]).await.unwrap();
        let read = store.get(&made.uuid).await.unwrap().unwrap();
        let last = read.last_success_at.map(|at| at.since(begun).as_millis());
        (last, read.consecutive_failures)
    };
    assert_eq!(outcome(0, Delivered).await, (Some(0), 0));
    assert_eq!(outcome(900, Delivered).await, (Some(0), 0));
    assert_eq!(outcome(1_000, Delivered).await, (Some(1_000), 0));
    assert_eq!(outcome(1_100, Retrying).await, (Some(1_000), 1));
    // What it clears is cleared at once.
    assert_eq!(outcome(2_000, Delivered).await, (Some(2_000), 0));
    assert_eq!(outcome(2_001, Dead).await, (Some(2_000), 1));
    let (last, failures) = outcome(2_002, Delivered).await;
    assert!(matches!(last, Some(2_000 | 2_002)) && failures == 0);
}

async fn each_outcome_counts_once(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let batch: Vec<_> = (1..=5)
        .map(|seq| record(&made, "p", seq, Retrying))
        .collect();
    // The answer to the first commit got lost; then part of it comes with something new.
    store.record(&batch).await.unwrap();
    store.record(&batch).await.unwrap();
    let mut more = batch[3..].to_vec();
    more.push(record(&made, "p", 6, Retrying));
    store.record(&more).await.unwrap();
    assert_eq!(
        store
            .get(&made.uuid)
            .await
            .unwrap()
            .unwrap()
            .consecutive_failures,
        6
    );
    // A row that rises counts again; one that would fall does not.
    store
        .record(&[record(&made, "p", 1, Dead), record(&made, "p", 2, Dead)])
        .await
        .unwrap();
    assert_eq!(
        store
            .get(&made.uuid)
            .await
            .unwrap()
            .unwrap()
            .consecutive_failures,
        8
    );
    store
        .record(&[record(&made, "p", 1, Retrying)])
        .await
        .unwrap();
    assert_eq!(
        store
            .get(&made.uuid)
            .await
            .unwrap()
            .unwrap()
            .consecutive_failures,
        8
    );
    assert_eq!(store.counts().await.unwrap().dead, 2);
}

async fn a_row_rises_with_all_its_columns(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let body = Some(Bytes::from_static(b"{}"));
    let first = DeliveryRecord {
        body: body.clone(),
        ..record(&made, "p", 1, Dead)
    };
    let then = DeliveryRecord {
        body,
        attempts: 4,
        ..record(&made, "p", 1, Delivered)
    };
    // In one batch, and then again the older one.
    store.record(&[first.clone(), then.clone()]).await.unwrap();
    store.record(slice::from_ref(&first)).await.unwrap();
    let shown = database
        .decnet()
        .await
        .text(
            "SELECT concat_ws('|', status, attempts, status_code, coalesce(error, '-'), created_at,
         updated_at, coalesce(length(body), 0)) FROM webhook_deliveries",
        )
        .await
        .unwrap();
    let expected = format!("2|4|200|-|{}|{}|0", first.at.micros(), then.at.micros());
    assert_eq!(shown, expected);
}

async fn an_older_epoch_is_logged_not_counted(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    store
        .patch(&made.uuid, enabled(false), &at(1))
        .await
        .unwrap();
    store
        .patch(&made.uuid, enabled(true), &at(1))
        .await
        .unwrap();
    store.record(&[record(&made, "p", 1, Dead)]).await.unwrap();
    let read = store.get(&made.uuid).await.unwrap().unwrap();
    assert_eq!((read.consecutive_failures, read.last_failure_at), (0, None));
    assert_eq!(store.counts().await.unwrap().dead, 1);
    let epoch = store.snapshot().await.unwrap().subscriptions[0].epoch;
    store
        .record(&[DeliveryRecord {
            epoch,
            ..record(&made, "p", 2, Dead)
        }])
        .await
        .unwrap();
    let undecodable = DeliveryRecord {
        epoch,
        counts: false,
        ..record(&made, "p", 3, Dead)
    };
    store.record(&[undecodable]).await.unwrap();
    assert_eq!(
        store
            .get(&made.uuid)
            .await
            .unwrap()
            .unwrap()
            .consecutive_failures,
        1
    );
}

async fn outcomes_of_a_deleted_subscription_are_kept(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    store.delete(&made.uuid, &at(1)).await.unwrap();
    store.record(&[record(&made, "p", 1, Dead)]).await.unwrap();
    assert_eq!(store.counts().await.unwrap().dead, 1);
    assert!(store.list().await.unwrap().is_empty());
}

async fn seen_is_by_subscription_and_incarnation(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let other = store.create(new("other", &["a"]), &at(1)).await.unwrap();
    let batch: Vec<_> = (0..700)
        .map(|seq| {
            let status = [Delivered, Dead, Retrying][usize::try_from(seq % 3).unwrap()];
            record(&made, if seq % 2 == 0 { "p" } else { "q" }, seq, status)
        })
        .collect();
    store.record(&batch).await.unwrap();
    store
        .record(&[record(&other, "r", 5_000, Delivered)])
        .await
        .unwrap();
    let asked: Vec<u64> = (650..6_000).chain([u64::MAX]).collect();
    let seen = store.seen(&made.uuid, "bus-a", &asked).await.unwrap();
    assert_eq!(seen, (650..700).collect::<HashSet<_>>());
    assert!(
        store
            .seen(&made.uuid, "bus-b", &asked)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        store
            .seen(&made.uuid, "bus-a", &[])
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        store.seen(&other.uuid, "bus-a", &asked).await.unwrap(),
        HashSet::from([5_000])
    );
}

async fn a_bad_record_fails_its_batch_and_can_be_found(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let mut batch: Vec<_> = (0..100)
        .map(|seq| record(&made, "p", seq, Delivered))
        .collect();
    batch[37].seq = u64::MAX;
    let error = store.record(&batch).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Unstorable { seq: u64::MAX, .. }),
        "{error:?}"
    );
    assert!(!error.is_connection());

    // The same when it is the database that refuses a row.
    batch[37].seq = 37;
    let decnet = database.decnet().await;
    decnet.refuse_seq(37, "not this one").await;
    let error = store.record(&batch).await.unwrap_err();
    assert!(error.to_string().contains("not this one"), "{error}");
    assert!(!error.is_connection());
    assert_eq!(
        decnet
            .number("SELECT count(*) FROM webhook_deliveries")
            .await,
        0,
        "all or none"
    );

    let mut pending = vec![batch];
    let mut refused = Vec::new();
    while let Some(batch) = pending.pop() {
        match store.record(&batch).await {
            Ok(_) => {}
            Err(error) if error.is_connection() => panic!("{error}"),
            Err(_) if batch.len() == 1 => refused.push(batch[0].seq),
            Err(_) => {
                let (left, right) = batch.split_at(batch.len() / 2);
                pending.extend([left.to_vec(), right.to_vec()]);
            }
        }
    }
    assert_eq!(refused, [37]);
    assert_eq!(
        decnet
            .number("SELECT count(*) FROM webhook_deliveries")
            .await,
        99
    );
}

async fn large_bodies_go_through(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let body = Bytes::from(vec![b'x'; 1 << 20]);
    let batch: Vec<_> = (0..20)
        .map(|seq| DeliveryRecord {
            body: Some(body.clone()),
            ..record(&made, "p", seq, Dead)
        })
        .collect();
    store.record(&batch).await.unwrap();
    let decnet = database.decnet().await;
    let whole = decnet
        .number("SELECT count(*) FROM webhook_deliveries WHERE length(body) = 1048576")
        .await;
    assert_eq!(whole, 20);
}

#[tokio::test]
async fn nothing_to_record_is_fine() {
    Database::new().open().await.record(&[]).await.unwrap();
}
