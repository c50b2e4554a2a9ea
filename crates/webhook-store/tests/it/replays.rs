//! Replay jobs: dead letters, and delivered events.

use std::time::Duration;

use webhook_model::{
    DeliveryStatus::{Dead, Delivered, Retrying},
    Subscription, TopicPattern, UtcTime,
};
use webhook_store::{
    DeliveryFilter, DeliveryRecord, NewReplay, ReplaySource, ReplayState, ReplayStep, Store,
};

use crate::support::*;

on_each_engine!(
    dead_letters_are_queued_by_filter_and_bounded,
    waiting_deliveries_are_due_now_by_filter,
    delivered_events_come_as_rows_of_their_own,
    a_job_that_cannot_go_on_says_why,
    what_a_deleted_one_left_goes_to_another_once,
);

const LEASE: Duration = Duration::from_secs(60);

fn all(made: &Subscription) -> NewReplay {
    NewReplay {
        subscription: made.uuid.clone(),
        source: None,
        status: Dead,
        topic: None,
        error: None,
        since: None,
        until: None,
    }
}

async fn retrying(store: &Store) -> u64 {
    store.counts().await.unwrap().retrying
}

async fn dead_letters_are_queued_by_filter_and_bounded(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let batch: Vec<_> = (1..=1_300)
        .map(|seq| DeliveryRecord {
            topic: if seq % 100 == 0 {
                "system.x"
            } else {
                "attacker.x"
            }
            .into(),
            body: (seq != 1).then(|| "{}".into()),
            ..dead(&made, seq)
        })
        .collect();
    for chunk in batch.chunks(500) {
        store.record(chunk).await.unwrap();
    }
    let new = NewReplay {
        topic: Some(TopicPattern::parse("attacker.>").unwrap()),
        error: Some("503".into()),
        ..all(&made)
    };
    assert_eq!(store.count_replay(&new).await.unwrap(), 1_287);
    let job = store.create_replay(new).await.unwrap().unwrap();
    assert_eq!((job.matched, job.state), (1_287, ReplayState::Running));
    // What dies later is not part of it.
    store
        .record(&[DeliveryRecord {
            at: UtcTime::now(),
            ..dead(&made, 2_000)
        }])
        .await
        .unwrap();

    let step = async || store.advance_dead_letters(&job.id, "one").await.unwrap();
    assert_eq!(step().await, ReplayStep::Lost, "not leased");
    let claimed = store.claim_replay("one", LEASE).await.unwrap().unwrap();
    assert_eq!(claimed.id, job.id);
    assert_eq!(store.claim_replay("two", LEASE).await.unwrap(), None);
    while step().await == ReplayStep::Moved {}
    assert_eq!(step().await, ReplayStep::Full);
    assert_eq!(retrying(&store).await, 1_000);
    let half = store.replay(&job.id).await.unwrap().unwrap();
    assert_eq!((half.replayed, half.unavailable), (1_000, 1));

    // After a restart somebody else goes on once there is room.
    store.free_orphaned_leases(LEASE).await.unwrap();
    database
        .decnet()
        .await
        .run("UPDATE webhook_deliveries SET status = 2, next_attempt_at = NULL WHERE status = 0")
        .await;
    store.claim_replay("two", LEASE).await.unwrap().unwrap();
    assert_eq!(step().await, ReplayStep::Lost);
    while store.advance_dead_letters(&job.id, "two").await.unwrap() == ReplayStep::Moved {}
    let done = store.replay(&job.id).await.unwrap().unwrap();
    assert_eq!(done.state, ReplayState::Done);
    assert_eq!((done.replayed, done.unavailable), (1_286, 1));
    assert_eq!(retrying(&store).await, 286);
    assert_eq!(store.claim_replay("two", LEASE).await.unwrap(), None);
    assert_eq!(store.replay("nonsense").await.unwrap(), None);
}

async fn waiting_deliveries_are_due_now_by_filter(database: Database) {
    const FUTURE: i64 = 4_000_000_000_000_000;
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let waits = |seq| DeliveryRecord {
        round: 3,
        topic: if seq % 2 == 0 {
            "system.x"
        } else {
            "attacker.x"
        }
        .into(),
        ..due_at(&made, seq, FUTURE)
    };
    let batch: Vec<_> = (1..=6).map(waits).chain([dead(&made, 7)]).collect();
    store.record(&batch).await.unwrap();
    let claim = async || {
        let claimed = store.claim(&made.uuid, 9, "one", LEASE).await.unwrap();
        let mut found: Vec<_> = claimed.iter().map(|row| (row.seq, row.round)).collect();
        found.sort_unstable();
        found
    };
    assert_eq!(claim().await, []);
    let new = NewReplay {
        status: Retrying,
        topic: Some(TopicPattern::parse("attacker.>").unwrap()),
        ..all(&made)
    };
    assert_eq!(store.count_replay(&new).await.unwrap(), 3);
    let job = store.create_replay(new).await.unwrap().unwrap();
    store.claim_replay("one", LEASE).await.unwrap().unwrap();
    let step = store.advance_dead_letters(&job.id, "one").await.unwrap();
    assert_eq!(step, ReplayStep::Done);
    let done = store.replay(&job.id).await.unwrap().unwrap();
    assert_eq!((done.status, done.state), (Retrying, ReplayState::Done));
    assert_eq!((done.matched, done.replayed, done.unavailable), (3, 3, 0));
    assert_eq!(
        claim().await,
        [(1, 3), (3, 3), (5, 3)],
        "due, and as far in their schedules as before"
    );
}

async fn delivered_events_come_as_rows_of_their_own(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let batch: Vec<_> = (1..=5)
        .map(|seq| record(&made, "p", seq, Delivered))
        .collect();
    store.record(&batch).await.unwrap();
    let new = NewReplay {
        status: Delivered,
        ..all(&made)
    };
    store.create_replay(new).await.unwrap().unwrap();
    let mut found = Vec::new();
    loop {
        let job = store.claim_replay("one", LEASE).await.unwrap().unwrap();
        let candidates = store.replay_candidates(&job.id, 2).await.unwrap();
        let records: Vec<_> = candidates
            .iter()
            .filter(|c| c.matches && c.seq != 3)
            .map(|c| DeliveryRecord {
                pair_id: job.id.clone(),
                attempts: 0,
                ..due_at(&made, c.seq, 100)
            })
            .collect();
        let missing = (candidates.len() - records.len()) as u64;
        let upto = candidates.last().map(|c| c.cursor);
        found.extend(candidates.iter().map(|c| c.seq));
        let step = store
            .advance_replay(&job, "one", upto, &records, missing)
            .await
            .unwrap();
        if step == ReplayStep::Done {
            break;
        }
        assert_eq!(step, ReplayStep::Moved);
        // The answer got lost and it is asked again: the cursor is elsewhere by now.
        let again = store
            .advance_replay(&job, "one", upto, &records, missing)
            .await
            .unwrap();
        assert_eq!(again, ReplayStep::Lost);
    }
    assert_eq!(found, [1, 2, 3, 4, 5]);
    assert_eq!(retrying(&store).await, 4);
    let id = database
        .decnet()
        .await
        .text("SELECT id FROM webhook_replays")
        .await
        .unwrap();
    let done = store.replay(&id).await.unwrap().unwrap();
    assert_eq!((done.matched, done.replayed, done.unavailable), (5, 4, 1));
}

async fn a_job_that_cannot_go_on_says_why(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let nobody = NewReplay {
        subscription: "nobody".into(),
        ..all(&made)
    };
    assert_eq!(store.create_replay(nobody).await.unwrap(), None);
    let job = store.create_replay(all(&made)).await.unwrap().unwrap();
    assert!(!store.fail_replay(&job, "one", "x").await.unwrap());
    let job = store.claim_replay("one", LEASE).await.unwrap().unwrap();
    assert!(
        store
            .fail_replay(&job, "one", "the bus is gone")
            .await
            .unwrap()
    );
    let failed = store.replay(&job.id).await.unwrap().unwrap();
    assert_eq!(failed.state, ReplayState::Failed);
    assert_eq!(failed.reason.as_deref(), Some("the bus is gone"));
}

async fn what_a_deleted_one_left_goes_to_another_once(database: Database) {
    let store = database.open().await;
    let old = store.create(new("old", &["a"]), &at(1)).await.unwrap();
    let heir = store.create(new("heir", &["b"]), &at(1)).await.unwrap();
    // The same event through another of its pairs, one without a body, one that the heir has.
    let mut batch: Vec<_> = (1..=4).map(|seq| dead(&old, seq)).collect();
    batch.push(DeliveryRecord {
        pair_id: "q".into(),
        ..dead(&old, 2)
    });
    batch[2].body = None;
    batch.push(DeliveryRecord {
        pair_id: "of-heir".into(),
        ..record(&heir, "of-heir", 4, Delivered)
    });
    store.record(&batch).await.unwrap();
    let of = async |uuid: &str| store.replay_source(&heir.uuid, uuid).await.unwrap();
    assert_eq!(of(&old.uuid).await, ReplaySource::Exists);
    assert_eq!(of(&heir.uuid).await, ReplaySource::Same);
    assert!(store.delete(&old.uuid, &at(5)).await.unwrap());
    assert_eq!(of(&old.uuid).await, ReplaySource::Usable);
    assert_eq!(of("nobody").await, ReplaySource::Unknown);

    let version = store.config_version().await.unwrap();
    let wanted = NewReplay {
        source: Some(old.uuid.clone()),
        ..all(&heir)
    };
    assert_eq!(store.count_replay(&wanted).await.unwrap(), 5);
    let job = store.create_replay(wanted).await.unwrap().unwrap();
    let claimed = store.claim_replay("one", LEASE).await.unwrap().unwrap();
    assert_eq!(claimed.source.as_deref(), Some(old.uuid.as_str()));
    let step = store.advance_dead_letters(&job.id, "one").await.unwrap();
    assert_eq!(step, ReplayStep::Done);
    let done = store.replay(&job.id).await.unwrap().unwrap();
    assert_eq!((done.replayed, done.unavailable, done.present), (2, 1, 2));

    // What waits on the bus for the heir is looked up before it is sent.
    assert!(store.config_version().await.unwrap() > version);
    let snapshot = store.snapshot().await.unwrap();
    let view = (snapshot.subscriptions.iter()).find(|it| it.subscription.uuid == heir.uuid);
    assert_eq!(view.unwrap().ahead_seq, Some(2));
    let seen = store.seen(&heir.uuid, "bus-a", &[1, 2, 3, 4]).await;
    assert_eq!(seen.unwrap(), [1, 2, 4].into());

    let claimed = store.claim(&heir.uuid, 9, "one", LEASE).await.unwrap();
    let mut bodies: Vec<_> = claimed
        .iter()
        .map(|row| (row.seq, row.event_id.clone(), row.body.clone().unwrap()))
        .collect();
    bodies.sort();
    let expected = |seq: u64| {
        (
            seq,
            format!("event-{seq}"),
            format!("{{\"seq\":{seq}}}").into(),
        )
    };
    assert_eq!(bodies, [expected(1), expected(2)]);
    let left = DeliveryFilter {
        subscription: Some(old.uuid.clone()),
        ..DeliveryFilter::default()
    };
    let left = store.deliveries(&left, None, 9).await.unwrap().items;
    assert!(left.iter().all(|row| row.status == Dead), "{left:#?}");
    assert_eq!(left.len(), 3, "evidence: {left:#?}");
}
