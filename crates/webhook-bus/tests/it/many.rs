use tokio::task::JoinSet;
use webhook_bus::Role;

use crate::support::{consume, drain, open, pattern, publish, seqs};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_consumers() {
    let dir = tempfile::tempdir().unwrap();
    let bus = open(dir.path(), Role::Worker).await;
    let mut opening = JoinSet::new();
    for number in 0..1_000_u64 {
        let bus = bus.clone();
        opening.spawn(async move {
            let filter = format!("a.{number}.>");
            (number, consume(&bus, &format!("c{number}"), &filter).await)
        });
    }
    let consumers = opening.join_all().await;
    let mut own = vec![Vec::new(); 1_000];
    for round in 0..4 {
        for (number, own) in own.iter_mut().enumerate() {
            if number % 4 == round {
                own.extend(publish(&bus, &format!("a.{number}.x"), 2).await);
            }
        }
    }
    let end = bus.position().await.unwrap().next_seq - 1;
    let mut draining = JoinSet::new();
    for (number, mut consumer) in consumers {
        let own = own[number as usize].clone();
        draining.spawn(async move { assert_eq!(seqs(&drain(&mut consumer, end).await), own) });
    }
    draining.join_all().await;
    assert_eq!(
        bus.pending("c7", &pattern("a.7.>").into()).await.unwrap(),
        0
    );
    bus.close().await.unwrap();

    // A restart finds nothing left, and searches next to nothing.
    let bus = open(dir.path(), Role::Worker).await;
    for number in [0, 1, 999] {
        let filter = format!("a.{number}.>");
        let mut consumer = consume(&bus, &format!("c{number}"), &filter).await;
        assert!(drain(&mut consumer, end).await.is_empty());
    }
}
