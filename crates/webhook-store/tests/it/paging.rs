//! Pages of a log that changes while somebody reads it.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::runtime::Runtime;
use webhook_model::{
    DeliveryStatus::{self, Dead, Delivered, Retrying},
    Subscription, Topic, TopicPattern, UtcTime,
};
use webhook_store::{Cursor, DeliveryFilter, DeliveryRecord, RetryOutcome, Store};

use crate::support::*;

const TOPICS: [&str; 3] = ["decky.a.state", "decky.b.state", "attacker.x"];
const PATTERNS: [&str; 4] = ["decky.*.state", "attacker.x", ">", "canary.>"];
const STATUSES: [DeliveryStatus; 3] = [Retrying, Dead, Delivered];
/// Moments that rows are recorded at: few, so that many rows share one.
const MOMENTS: i64 = 12;

/// What a row is like.
#[derive(Debug, Clone, Copy)]
struct Sketch {
    topic: usize,
    status: usize,
    subscription: usize,
    event: usize,
    at: i64,
}

/// What happens between two pages.
#[derive(Debug, Clone)]
enum Change {
    /// A new row, maybe where the reader has been already.
    Insert(Sketch),
    /// A row's next outcome.
    Outcome { row: usize, status: usize },
    /// An operator has a row tried again.
    Retry { row: usize },
}

fn sketch() -> impl Strategy<Value = Sketch> {
    (0..3_usize, 0..3_usize, 0..2_usize, 0..4_usize, 0..MOMENTS).prop_map(
        |(topic, status, subscription, event, at)| Sketch {
            topic,
            status,
            subscription,
            event,
            at,
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        sketch().prop_map(Change::Insert),
        (any::<usize>(), 0..3_usize).prop_map(|(row, status)| Change::Outcome { row, status }),
        any::<usize>().prop_map(|row| Change::Retry { row }),
    ]
}

/// The filter's parts by number; see [`filter_of`].
type Wanted = (
    (Option<usize>, Option<usize>, Option<usize>, Option<usize>),
    (bool, Option<i64>, Option<i64>),
);

fn wanted() -> impl Strategy<Value = Wanted> {
    let choice = |n: usize| prop::option::weighted(0.3, 0..n);
    let moment = || prop::option::weighted(0.3, 0..MOMENTS);
    (
        (choice(2), choice(3), choice(4), choice(4)),
        (prop::bool::weighted(0.2), moment(), moment()),
    )
}

fn filter_of(wanted: Wanted, subscriptions: &[Subscription]) -> DeliveryFilter {
    let ((subscription, status, topic, event), (error, since, until)) = wanted;
    DeliveryFilter {
        subscription: subscription.map(|number| subscriptions[number].uuid.clone()),
        status: status.map(|number| STATUSES[number]),
        topic: topic.map(|number| TopicPattern::parse(PATTERNS[number]).unwrap()),
        event_id: event.map(|number| format!("e{number}")),
        error: error.then(|| "503".to_owned()),
        since: since.map(UtcTime::from_micros),
        until: until.map(UtcTime::from_micros),
        acknowledged: None,
    }
}

/// The log as it should be, row by row, by `seq`.
struct Log {
    store: Store,
    subscriptions: Vec<Subscription>,
    rows: BTreeMap<u64, DeliveryRecord>,
    ids: BTreeMap<u64, i64>,
}

impl Log {
    async fn new(database: &Database, sketches: &[Sketch]) -> Self {
        let store = database.open().await;
        let mut subscriptions = Vec::new();
        for name in ["one", "two"] {
            subscriptions.push(store.create(new(name, &["a"]), &at(1)).await.unwrap());
        }
        let mut log = Self {
            store,
            subscriptions,
            rows: BTreeMap::new(),
            ids: BTreeMap::new(),
        };
        let rows: Vec<_> = sketches.iter().zip(1..).map(|it| log.row(it)).collect();
        log.write(rows).await;
        log
    }

    fn row(&self, (sketch, seq): (&Sketch, u64)) -> DeliveryRecord {
        let subscription = &self.subscriptions[sketch.subscription];
        DeliveryRecord {
            topic: TOPICS[sketch.topic].into(),
            event_id: format!("e{}", sketch.event),
            at: UtcTime::from_micros(sketch.at),
            body: Some("{}".into()),
            next_attempt_at: (STATUSES[sketch.status] == Retrying).then_some(UtcTime::EPOCH),
            ..record(subscription, "p", seq, STATUSES[sketch.status])
        }
    }

    async fn write(&mut self, rows: Vec<DeliveryRecord>) {
        self.store.record(&rows).await.unwrap();
        for row in rows {
            self.rows.insert(row.seq, row);
        }
    }

    /// Does it; returns the row whose answer to the filter it may have changed.
    async fn change(&mut self, change: &Change) -> Option<u64> {
        let seqs: Vec<u64> = self.rows.keys().copied().collect();
        let pick = |row: usize| (!seqs.is_empty()).then(|| seqs[row % seqs.len()]);
        match change {
            Change::Insert(sketch) => {
                let seq = seqs.last().map_or(1, |last| last + 1);
                let row = self.row((sketch, seq));
                self.write(vec![row]).await;
                Some(seq)
            }
            Change::Outcome { row, status } => {
                let seq = pick(*row)?;
                let status = STATUSES[*status];
                // Its place is the one of its first outcome.
                let old = &self.rows[&seq];
                let next = DeliveryRecord {
                    topic: old.topic.clone(),
                    event_id: old.event_id.clone(),
                    at: UtcTime::from_micros(MOMENTS),
                    ..record(self.owner(old), "p", seq, status)
                };
                self.store.record(&[next]).await.unwrap();
                Some(seq)
            }
            Change::Retry { row } => {
                let seq = pick(*row)?;
                if let Some(id) = self.ids.get(&seq) {
                    let outcome = self.store.retry(*id).await.unwrap();
                    assert_ne!(outcome, RetryOutcome::NotFound);
                }
                Some(seq)
            }
        }
    }

    fn owner(&self, row: &DeliveryRecord) -> &Subscription {
        let mut all = self.subscriptions.iter();
        all.find(|it| it.uuid == row.subscription).unwrap()
    }
}

fn matches(filter: &DeliveryFilter, row: &DeliveryRecord) -> bool {
    let topic = Topic::parse(&row.topic).unwrap();
    let subscription = filter.subscription.as_ref();
    subscription.is_none_or(|it| *it == row.subscription)
        && filter.status.is_none_or(|it| it == row.status)
        && filter.topic.as_ref().is_none_or(|it| it.matches(&topic))
        && filter
            .event_id
            .as_ref()
            .is_none_or(|it| *it == row.event_id)
        && (filter.error.is_none() || row.error.is_some())
        && filter.since.is_none_or(|since| row.at >= since)
        && filter.until.is_none_or(|until| row.at < until)
}

/// Reads to the end, with a change before each page. Whatever was there all the time comes once,
/// nothing comes twice, and the order is kept.
async fn read(log: &mut Log, filter: &DeliveryFilter, limit: u64, changes: &[Change]) {
    let expected: Vec<u64> = log.rows.keys().copied().collect();
    let mut touched = Vec::new();
    let (mut found, mut cursor) = (Vec::new(), None::<Cursor>);
    let mut changes = changes.iter();
    loop {
        if let Some(change) = changes.next() {
            touched.extend(log.change(change).await);
        }
        let page = log.store.deliveries(filter, cursor.as_ref(), limit).await;
        let page = page.unwrap();
        assert!(page.items.len() as u64 <= limit);
        for row in page.items {
            log.ids.insert(row.seq, row.id);
            found.push((row.created_at, row.id, row.seq));
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert!(found.is_sorted_by(|a, b| a > b), "{filter:?}: {found:?}");
    for seq in expected.iter().filter(|seq| !touched.contains(seq)) {
        let times = found.iter().filter(|row| row.2 == *seq).count();
        let wanted = usize::from(matches(filter, &log.rows[seq]));
        assert_eq!(times, wanted, "{filter:?}: {:?}", log.rows[seq]);
    }
    // Where the filter leaves the outcome open, a change of it takes no row away.
    if filter.status.is_none() && filter.error.is_none() {
        for seq in touched.iter().filter(|seq| expected.contains(seq)) {
            let times = found.iter().filter(|row| row.2 == *seq).count();
            let wanted = usize::from(matches(filter, &log.rows[seq]));
            assert_eq!(times, wanted, "{filter:?}: {:?}", log.rows[seq]);
        }
    }
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(cases)
    })
}

#[test]
fn what_changes_meanwhile_neither_skips_nor_repeats_a_row() {
    let runtime = Runtime::new().unwrap();
    let rows = prop::collection::vec(sketch(), 0..60);
    let changes = prop::collection::vec(change(), 0..12);
    let case = (rows, changes, wanted(), 1..9_u64);
    let ran = runner(40).run(&case, |(rows, changes, wanted, limit)| {
        runtime.block_on(async {
            let database = Database::new();
            let mut log = Log::new(&database, &rows).await;
            let filter = filter_of(wanted, &log.subscriptions);
            read(&mut log, &filter, limit, &changes).await;
            log.store.close().await.unwrap();
        });
        Ok(())
    });
    ran.unwrap();
}

/// Longer than what one query of a page looks at.
#[test]
fn a_long_log_keeps_its_pages_too() {
    let runtime = Runtime::new().unwrap();
    let database = Database::new();
    let sketches: Vec<Sketch> = (0..1_300_usize)
        .map(|number| Sketch {
            topic: number % 3,
            status: number / 3 % 3,
            subscription: number / 9 % 2,
            event: number / 18 % 4,
            at: (number * 7 % 12) as i64,
        })
        .collect();
    let mut log = runtime.block_on(Log::new(&database, &sketches));
    let changes = prop::collection::vec(change(), 0..12);
    let case = (changes, wanted(), 50..600_u64);
    let log = std::sync::Mutex::new(&mut log);
    let ran = runner(12).run(&case, |(changes, wanted, limit)| {
        let mut log = log.lock().unwrap();
        // What earlier cases changed is no longer known.
        log.rows = runtime.block_on(current(&log));
        let filter = filter_of(wanted, &log.subscriptions);
        runtime.block_on(read(&mut log, &filter, limit, &changes));
        Ok(())
    });
    ran.unwrap();
}

/// The rows as an unfiltered reading finds them.
async fn current(log: &Log) -> BTreeMap<u64, DeliveryRecord> {
    let (mut rows, mut cursor) = (log.rows.clone(), None);
    loop {
        let filter = DeliveryFilter::default();
        let page = log.store.deliveries(&filter, cursor.as_ref(), 500).await;
        let page = page.unwrap();
        for row in page.items {
            let known = rows.get_mut(&row.seq).unwrap();
            (known.status, known.error) = (row.status, row.error);
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return rows,
        }
    }
}

/// A page is read status by status; a row that changes its own in between stays one row.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_sees_the_log_at_one_moment() {
    let database = Database::new();
    let sketches = [Sketch {
        topic: 0,
        status: 1,
        subscription: 0,
        event: 0,
        at: 5,
    }];
    let mut log = Log::new(&database, &sketches).await;
    let filter = DeliveryFilter::default();
    let page = log.store.deliveries(&filter, None, 10).await.unwrap();
    let id = page.items[0].id;
    log.ids.insert(1, id);
    let done = AtomicBool::new(false);
    let flip = async {
        while !done.load(Ordering::Relaxed) {
            // Dead, waiting, dead, …
            log.store.retry(id).await.unwrap();
            let dead = log.rows[&1].clone();
            log.store.record(&[dead]).await.unwrap();
        }
    };
    let look = async {
        for _ in 0..300 {
            let page = log.store.deliveries(&filter, None, 10).await.unwrap();
            assert_eq!(page.items.len(), 1, "{page:?}");
        }
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(flip, look);
}
