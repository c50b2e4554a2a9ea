use tokio::sync::mpsc::{self, Receiver};

use super::*;
use crate::{
    Consumer, Journal, Ready, Role,
    journal::tests::{Fixture, consume, publication},
};

struct Swept {
    fixture: Fixture,
    journal: Journal,
    gaps: Receiver<Gap>,
}

/// A journal that keeps everything until told otherwise.
async fn journal() -> Swept {
    let fixture = Fixture::new();
    let (send, gaps) = mpsc::channel(16);
    let mut config = fixture.config(Role::Worker);
    config.gaps = Some(send);
    let journal = Journal::open(config).await.unwrap();
    Swept {
        fixture,
        journal,
        gaps,
    }
}

impl Swept {
    async fn publish(&self, topic: &str, count: usize) {
        let batch = (0..count).map(|_| publication(topic)).collect();
        self.journal.publish(batch).await.unwrap();
    }

    async fn sweep(&self, age: Duration, max_bytes: u64) {
        let swept = self.journal.probe(move |writer| {
            let retention = writer.retention.as_mut().unwrap();
            retention.age = age;
            retention.max_bytes = max_bytes;
            while writer.sweep()? {}
            Ok::<_, BusError>(())
        });
        swept.await.unwrap();
    }

    /// Everything but what comes after this moment.
    async fn sweep_all(&self) {
        self.sweep(Duration::ZERO, u64::MAX).await;
    }

    async fn events(&self) -> i64 {
        let count = |writer: &mut Writer| {
            let query = "SELECT count(*) FROM events";
            writer
                .connection
                .query_row(query, [], |row| row.get(0))
                .unwrap()
        };
        self.journal.probe(count).await
    }
}

async fn take(consumer: &mut Consumer, end: u64) -> Vec<u64> {
    let mut seqs = Vec::new();
    while consumer.ready(Some(end)).await.unwrap() == Ready::Available {
        seqs.extend(consumer.take(64).await.unwrap().iter().map(|it| it.seq));
    }
    seqs
}

#[tokio::test]
async fn old_events_go_and_unacknowledged_ones_are_told() {
    let mut it = journal().await;
    let mut open = consume(&it.journal, "open", "a.>", 1).await;
    drop(consume(&it.journal, "shut", "b.*", 2).await);
    drop(consume(&it.journal, "elsewhere", "c.*", 1).await);
    for topic in ["b.b", "a.b", "a.b", "b.b", "a.b", "b.b"] {
        it.publish(topic, 1).await;
    }
    assert_eq!(take(&mut open, 6).await, [2, 3, 5]);
    for seq in [2, 3, 5] {
        open.acker().ack(seq).await;
    }
    it.sweep(Duration::from_secs(3600), u64::MAX).await;
    assert_eq!(it.events().await, 6);
    it.sweep_all().await;
    assert_eq!(it.events().await, 0);
    let gap = it.gaps.try_recv().unwrap();
    assert_eq!(
        gap,
        Gap {
            consumer: "shut".to_owned(),
            from: 4,
            to: 6,
            count: 2
        }
    );
    assert!(it.gaps.try_recv().is_err());

    // Told once, and numbers go on.
    it.publish("b.b", 2).await;
    let mut shut = consume(&it.journal, "shut", "b.*", 1).await;
    assert_eq!(take(&mut shut, 8).await, [7, 8]);
}

#[tokio::test]
async fn what_is_in_hand_outlives_its_age_but_not_a_full_disk() {
    let mut it = journal().await;
    let mut consumer = consume(&it.journal, "c", ">", 1).await;
    it.publish("a.b", 5).await;
    let taken = consumer.take(2).await.unwrap();
    assert_eq!(taken.len(), 2);
    consumer.acker().ack(1).await;
    it.sweep_all().await;
    assert_eq!(it.events().await, 4);
    assert!(it.gaps.try_recv().is_err());

    it.sweep(Duration::from_secs(3600), 0).await;
    assert_eq!(it.events().await, 0);
    assert_eq!(
        (it.gaps.recv().await.unwrap().from, it.events().await),
        (2, 0)
    );
    it.publish("a.b", 1).await;
    assert_eq!(take(&mut consumer, 6).await, [6]);
}

#[tokio::test]
async fn the_oldest_go_when_there_are_too_many() {
    let it = journal().await;
    for _ in 0..20 {
        let mut large = publication("a.b");
        large.bytes = vec![b' '; 100_000].into();
        it.journal.publish(vec![large]).await.unwrap();
    }
    it.sweep(Duration::from_secs(3600), 1_000_000).await;
    let left = it.events().await;
    assert!((5..=10).contains(&left), "{left}");
    let used = it
        .journal
        .probe(|writer| used_bytes(&writer.connection).unwrap())
        .await;
    assert!(used <= 1_000_000, "{used}");
}

#[tokio::test]
async fn a_consumer_made_too_late_is_told() {
    let mut it = journal().await;
    it.publish("a.b", 5).await;
    it.sweep_all().await;
    it.publish("a.b", 1).await;
    let mut consumer = consume(&it.journal, "c", ">", 3).await;
    assert_eq!(take(&mut consumer, 6).await, [6]);
    let gap = it.gaps.recv().await.unwrap();
    assert_eq!((gap.from, gap.to, gap.count), (3, 5, 3));
}

#[tokio::test]
async fn what_was_taken_stays_taken_after_a_restart() {
    let it = journal().await;
    let mut consumer = consume(&it.journal, "c", ">", 1).await;
    it.publish("a.b", 6).await;
    assert_eq!(consumer.take(9).await.unwrap().len(), 6);
    // A range across what goes, and one within it.
    for seq in [2, 4, 5, 6] {
        consumer.acker().ack(seq).await;
    }
    it.journal.flush().await.unwrap();
    drop(consumer);
    it.sweep_all().await;
    it.publish("a.b", 1).await;
    it.journal.close().await.unwrap();
    let journal = it.fixture.worker().await;
    let mut consumer = consume(&journal, "c", ">", 1).await;
    assert_eq!(take(&mut consumer, 7).await, [7]);
}
