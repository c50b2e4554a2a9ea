//! Several stores on one file, as the API and the worker are, and DECNET beside them.

use webhook_model::DeliveryStatus::{Dead, Delivered};

use crate::support::*;

on_each_engine!(
    writers_beside_each_other_never_find_the_database_busy,
    no_failure_is_lost_between_processes,
    a_call_that_is_given_up_leaves_nothing_locked,
);

const BATCHES: u64 = 40;
const ROWS: u64 = 50;

async fn writers_beside_each_other_never_find_the_database_busy(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    store.close().await.unwrap();

    let mut recorders = Vec::new();
    for process in 0..2u64 {
        let (store, made) = (database.open().await, made.clone());
        recorders.push(tokio::spawn(async move {
            for batch in 0..BATCHES {
                // Every other batch meets rows of the other process, which takes the careful way.
                let pair = if batch % 2 == 0 {
                    format!("p-{process}")
                } else {
                    "both".to_owned()
                };
                let records: Vec<_> = (0..ROWS)
                    .map(|row| record(&made, &pair, batch * ROWS + row, Delivered))
                    .collect();
                store.record(&records).await.unwrap();
                let seqs: Vec<_> = records.iter().map(|record| record.seq).collect();
                assert_eq!(
                    store.seen(&made.uuid, "bus-a", &seqs).await.unwrap().len(),
                    seqs.len()
                );
            }
        }));
    }
    let api = database.open().await;
    let uuid = made.uuid.clone();
    let editor = tokio::spawn(async move {
        for change in 0..20u64 {
            let list: &[&str] = if change % 2 == 0 { &["a", "b"] } else { &["a"] };
            api.patch(&uuid, repatterned(list), &at(change + 2))
                .await
                .unwrap();
            api.snapshot().await.unwrap();
        }
    });
    let decnet = database.decnet().await;
    for _ in 0..20 {
        decnet
            .run("UPDATE webhook_subscriptions SET last_error = 'x'")
            .await;
        tokio::task::yield_now().await;
    }
    editor.await.unwrap();
    for recorder in recorders {
        recorder.await.unwrap();
    }
    let rows = decnet
        .number("SELECT count(*) FROM webhook_deliveries")
        .await;
    assert_eq!(rows, i64::try_from(BATCHES / 2 * ROWS * 3).unwrap());
}

async fn no_failure_is_lost_between_processes(database: Database) {
    let (one, two) = (database.open().await, database.open().await);
    let made = one.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let writers = [(one.clone(), "p"), (two, "q")].map(|(store, pair)| {
        let made = made.clone();
        tokio::spawn(async move {
            for seq in 0..50 {
                store
                    .record(&[record(&made, pair, seq, Dead)])
                    .await
                    .unwrap();
            }
        })
    });
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(
        one.get(&made.uuid)
            .await
            .unwrap()
            .unwrap()
            .consecutive_failures,
        100
    );
}

#[tokio::test]
async fn a_database_that_stays_locked_is_the_databases_fault() {
    let database = Database::new();
    let mut config = database.config();
    config.busy_timeout = std::time::Duration::from_millis(50);
    let store = webhook_store::Store::open(&config).await.unwrap();
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let decnet = database.decnet().await;
    decnet.run("BEGIN IMMEDIATE").await;
    let error = store
        .record(&[record(&made, "p", 1, Delivered)])
        .await
        .unwrap_err();
    assert!(error.is_connection(), "{error:?}");
    store.snapshot().await.expect("readers go on");
    decnet.run("ROLLBACK").await;
    store
        .record(&[record(&made, "p", 1, Delivered)])
        .await
        .unwrap();
}

async fn a_call_that_is_given_up_leaves_nothing_locked(database: Database) {
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let records: Vec<_> = (0..500)
        .map(|seq| record(&made, "p", seq, Delivered))
        .collect();
    for polls in 0..60 {
        let mut call = Box::pin(store.record(&records));
        for _ in 0..polls {
            tokio::select! {
                biased;
                done = &mut call => { done.unwrap(); break; }
                () = tokio::task::yield_now() => {}
            }
        }
        drop(call);
        store.ping().await.unwrap();
    }
    store.record(&records).await.unwrap();
    assert_eq!(
        database
            .decnet()
            .await
            .number("SELECT count(*) FROM webhook_deliveries")
            .await,
        500
    );
}
