//! Two processes that want the same thing in the same moment.

use std::{collections::HashSet, time::Duration};

use tokio::task::JoinSet;
use webhook_model::{DeliveryStatus, UtcTime};
use webhook_store::{NewReplay, Store, StoreError};

use crate::support::*;

on_each_engine!(
    rows_are_claimed_by_one_of_them,
    a_probe_and_a_replay_have_one_holder,
    a_row_of_decnets_gets_its_pairs_once,
    a_name_is_given_once,
);

const LEASE: Duration = Duration::from_secs(60);
const ROUNDS: u64 = 10;

/// Has two stores do the same at once; their answers.
async fn both<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    database: &Database,
    what: impl Fn(Store, &'static str) -> F,
) -> Vec<T> {
    let mut rivals = JoinSet::new();
    for name in ["one", "two"] {
        rivals.spawn(what(database.open().await, name));
    }
    rivals.join_all().await
}

async fn rows_are_claimed_by_one_of_them(database: Database) {
    const ROWS: u64 = 400;
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let rows: Vec<_> = (0..ROWS).map(|seq| due_at(&made, seq, 100)).collect();
    store.record(&rows).await.unwrap();
    let claimed = both(&database, |store, name| {
        let uuid = made.uuid.clone();
        async move {
            let mut seqs = Vec::new();
            loop {
                let claimed = store.claim(&uuid, 7, name, LEASE).await.unwrap();
                seqs.extend(claimed.iter().map(|row| row.seq));
                // Rows that the other one is taking in this moment are skipped.
                if claimed.is_empty() && store.due(UtcTime::now()).await.unwrap().is_empty() {
                    return seqs;
                }
            }
        }
    })
    .await;
    let all: Vec<u64> = claimed.concat();
    assert_eq!(all.iter().collect::<HashSet<_>>().len() as u64, ROWS);
    assert_eq!(all.len() as u64, ROWS, "some were claimed twice");
}

async fn a_probe_and_a_replay_have_one_holder(database: Database) {
    let store = database.open().await;
    for round in 0..ROUNDS {
        let named = new(&format!("siem-{round}"), &["a"]);
        let made = store.create(named, &at(1)).await.unwrap();
        store.record(&[dead(&made, round)]).await.unwrap();
        assert!(store.trip(&made.uuid, 1, down("down", None)).await.unwrap());
        let uuid = made.uuid.clone();
        let probing = both(&database, |store, name| {
            let uuid = uuid.clone();
            async move { store.claim_probe(&uuid, 2, name, LEASE).await.unwrap() }
        });
        assert_eq!(probing.await.iter().filter(|held| **held).count(), 1);

        let job = NewReplay {
            subscription: made.uuid,
            source: None,
            status: DeliveryStatus::Dead,
            topic: None,
            error: None,
            since: None,
            until: None,
        };
        assert!(store.create_replay(job).await.unwrap().is_some());
        let replaying = both(&database, |store, name| async move {
            let job = store.claim_replay(name, LEASE).await.unwrap();
            job.map(|job| (name, job))
        });
        let holders: Vec<_> = replaying.await.into_iter().flatten().collect();
        assert_eq!(holders.len(), 1);
        let (name, job) = &holders[0];
        assert!(store.fail_replay(job, name, "enough").await.unwrap());
    }
}

async fn a_row_of_decnets_gets_its_pairs_once(database: Database) {
    let decnet = database.decnet().await;
    decnet.create_tables().await;
    let store = database.open().await;
    for round in 0..ROUNDS {
        let uuid = format!("u-{round}");
        let url = "https://siem.example/hook";
        let name = format!("siem-{round}");
        decnet.insert(&uuid, &name, url, r#"["a", "b"]"#).await;
        let synced = both(&database, |store, _| {
            let uuid = uuid.clone();
            async move { store.sync_pairs(&uuid, &at(40)).await.unwrap() }
        });
        assert_eq!(synced.await.iter().filter(|changed| **changed).count(), 1);
        let snapshot = store.snapshot().await.unwrap();
        assert_eq!(live(&snapshot, &uuid).len(), 2);
        assert!(snapshot.out_of_step.is_empty());
    }
}

async fn a_name_is_given_once(database: Database) {
    for round in 0..ROUNDS {
        let made = both(&database, |store, _| async move {
            let named = new(&format!("siem-{round}"), &["a"]);
            store.create(named, &at(1)).await
        });
        let (made, refused): (Vec<_>, Vec<_>) = made.await.into_iter().partition(Result::is_ok);
        assert_eq!(made.len(), 1);
        let refused = refused.into_iter().next().unwrap().unwrap_err();
        assert!(matches!(refused, StoreError::NameTaken(_)), "{refused}");
    }
}
