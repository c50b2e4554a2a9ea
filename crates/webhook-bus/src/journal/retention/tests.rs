use proptest::prelude::*;
use tokio::sync::mpsc::{self, Receiver};

use super::*;
use crate::{
    Consumer, Journal, Ready, Role,
    journal::tests::{Fixture, consume, pattern, publication},
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

/// Bodies of a size that makes pages and what else is on the disk not matter.
const LARGE: usize = 100_000;

impl Swept {
    async fn publish_large(&self, topic: &str) {
        let mut large = publication(topic);
        large.bytes = vec![b' '; LARGE].into();
        self.journal.publish(vec![large]).await.unwrap();
    }

    /// As many large events as these at most.
    async fn sweep_to(&self, events: usize) {
        self.sweep(Duration::from_secs(3600), (events * (LARGE + 4_096)) as u64)
            .await;
    }

    async fn kept(&self) -> Vec<u64> {
        let seqs = |writer: &mut Writer| {
            let mut statement = writer
                .connection
                .prepare("SELECT seq FROM events ORDER BY seq")
                .unwrap();
            let rows = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
            rows.map(|seq| seq.unwrap().cast_unsigned()).collect()
        };
        self.journal.probe(seqs).await
    }
}

#[tokio::test]
async fn what_is_delivered_goes_before_what_is_not() {
    let mut it = journal().await;
    let mut quick = consume(&it.journal, "quick", "b.*", 1).await;
    let mut stuck = consume(&it.journal, "stuck", "a.*", 1).await;
    // Of no consumer; of one that takes everything; of one that takes nothing.
    for _ in 0..10 {
        for topic in ["c.c", "b.b", "a.a"] {
            it.publish_large(topic).await;
        }
    }
    for seq in take(&mut quick, 30).await {
        quick.acker().ack(seq).await;
    }
    let owed: Vec<u64> = (1..=10).map(|n| n * 3).collect();
    it.sweep_to(20).await;
    let kept = it.kept().await;
    assert!(
        kept.len() <= 20 && owed.iter().all(|seq| kept.contains(seq)),
        "{kept:?}"
    );
    assert!(
        kept.iter().all(|&seq| seq % 3 == 0 || seq > 12),
        "oldest first: {kept:?}"
    );

    // Nothing delivered is left but the newest: the oldest undelivered ones are next, and it is told.
    it.sweep_to(12).await;
    assert!(it.gaps.try_recv().is_err());
    assert_eq!(it.journal.shared().crowded(), None);
    it.sweep_to(8).await;
    let kept = it.kept().await;
    let crowded = it
        .journal
        .shared()
        .crowded()
        .expect("undelivered ones went");
    assert!(
        crowded.oldest > 3 && crowded.oldest <= kept[0],
        "{crowded:?}"
    );
    it.publish_large("a.a").await;
    it.sweep_to(9).await;
    assert!(
        it.journal.shared().crowded().is_some(),
        "nobody let go of any"
    );
    let kept = it.kept().await;
    let gap = it.gaps.try_recv().unwrap();
    assert_eq!((gap.consumer.as_str(), gap.from), ("stuck", 3));
    assert_eq!(gap.to, 3 * gap.count, "{gap:?}");
    assert!(gap.count <= 4, "{gap:?} {kept:?}");
    let mut left: Vec<u64> = owed.iter().copied().filter(|&seq| seq > gap.to).collect();
    left.push(31);
    assert_eq!(take(&mut stuck, 31).await, left);

    // What is delivered since goes first again, though it was looked at before.
    for seq in &left[2..] {
        stuck.acker().ack(*seq).await;
    }
    it.sweep_to(9).await;
    assert_eq!(it.journal.shared().crowded(), None);
    it.sweep_to(4).await;
    let kept = it.kept().await;
    assert!(left[..2].iter().all(|seq| kept.contains(seq)), "{kept:?}");
    assert!(it.gaps.try_recv().is_err());
    assert_eq!(
        it.journal
            .pending("stuck", &pattern("a.*").into())
            .await
            .unwrap(),
        2
    );
}

#[tokio::test]
async fn what_a_deleted_consumer_was_owed_goes_like_what_is_delivered() {
    let mut it = journal().await;
    let gone = consume(&it.journal, "gone", "a.*", 1).await;
    let _stuck = consume(&it.journal, "stuck", "b.*", 1).await;
    for _ in 0..10 {
        it.publish_large("b.b").await;
        it.publish_large("a.a").await;
    }
    it.sweep_to(21).await;
    drop(gone);
    it.journal.end("gone").await.unwrap();
    it.sweep_to(12).await;
    let kept = it.kept().await;
    assert!((1..=10).all(|n| kept.contains(&(2 * n - 1))), "{kept:?}");
    assert!(it.gaps.try_recv().is_err());

    // A consumer that begins where some were taken is told of those.
    let _late = consume(&it.journal, "late", ">", 2).await;
    let gap = it.gaps.recv().await.unwrap();
    assert_eq!((gap.consumer.as_str(), gap.from), ("late", 2));
    assert_eq!(gap.count, 20 - kept.len() as u64);
}

#[derive(Debug, Clone)]
enum Act {
    /// Of one of the consumers, or of none.
    Publish(usize),
    /// The n-th of what a consumer has not acknowledged.
    Ack(usize, usize),
    Sweep(usize),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0_usize..4).prop_map(Act::Publish),
        8 => (0_usize..3, 0_usize..40).prop_map(|(who, n)| Act::Ack(who, n)),
        2 => (2_usize..30).prop_map(Act::Sweep),
        1 => Just(Act::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Consumers of topics of their own get what they are owed, each once, but what was told; and
    /// nothing owed goes while something older than the newest eighth is owed to nobody.
    #[test]
    fn evidence_is_the_last_to_go(acts in proptest::collection::vec(act(), 1..150)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(live(&acts));
    }
}

async fn live(acts: &[Act]) {
    let mut it = journal().await;
    let topics = ["a.a", "b.b", "c.c", "d.d"];
    let names = ["a", "b", "c"];
    let mut consumers = Vec::new();
    for (name, topic) in names.iter().zip(topics) {
        consumers.push(consume(&it.journal, name, topic, 1).await);
    }
    let mut owed = vec![std::collections::BTreeSet::new(); 3];
    let mut head = 0;
    for act in acts {
        match act {
            Act::Publish(who) => {
                it.publish_large(topics[*who]).await;
                head += 1;
                if let Some(owed) = owed.get_mut(*who) {
                    owed.insert(head);
                }
            }
            Act::Ack(who, n) => {
                let _taken = consumers[*who].take(64).await.unwrap();
                let count = owed[*who].len().max(1);
                let Some(&seq) = owed[*who].iter().nth(n % count) else {
                    continue;
                };
                consumers[*who].acker().ack(seq).await;
                owed[*who].remove(&seq);
            }
            Act::Sweep(events) => {
                it.sweep_to(*events).await;
                let kept = it.kept().await;
                let mut lost = false;
                while let Ok(gap) = it.gaps.try_recv() {
                    lost = true;
                    let who = names.iter().position(|it| *it == gap.consumer).unwrap();
                    let gone: Vec<u64> = owed[who].range(gap.from..=gap.to).copied().collect();
                    assert_eq!(gone.len() as u64, gap.count, "{gap:?}");
                    for seq in gone {
                        assert!(owed[who].remove(&seq) && !kept.contains(&seq), "{seq}");
                    }
                }
                let all: Vec<u64> = owed.iter().flatten().copied().collect();
                assert!(all.iter().all(|seq| kept.contains(seq)), "{all:?} {kept:?}");
                assert!(kept.len() <= *events, "{kept:?}");
                let free = kept.iter().filter(|seq| !all.contains(seq)).count();
                assert!(!lost || free <= events / 8 + 1, "{free} of {kept:?}");
            }
            Act::Restart => {
                it.journal.flush().await.unwrap();
                consumers.clear();
                it.journal.clone().close().await.unwrap();
                let (send, gaps) = mpsc::channel(16);
                let mut config = it.fixture.config(Role::Worker);
                config.gaps = Some(send);
                it.journal = Journal::open(config).await.unwrap();
                it.gaps = gaps;
                for (name, topic) in names.iter().zip(topics) {
                    consumers.push(consume(&it.journal, name, topic, 1).await);
                }
            }
        }
    }
    for (who, consumer) in consumers.iter_mut().enumerate() {
        let name = names[who];
        let pending = it
            .journal
            .pending(name, &pattern(topics[who]).into())
            .await
            .unwrap();
        assert_eq!(pending, owed[who].len() as u64, "{name}");
        let out: Vec<u64> = owed[who].iter().copied().collect();
        let rest = take(consumer, head).await;
        assert!(rest.iter().all(|seq| out.contains(seq)), "{name}: {rest:?}");
    }
}
