mod consumers;

use std::time::Duration;

use bytes::Bytes;
use webhook_model::{Event, EventId, Payload, Topic, disjoint};

use super::{feed::FEED_LAG, *};
use crate::{Ready, dedup_key};

fn topic(text: &str) -> Topic {
    Topic::parse(text).unwrap()
}

pub(super) fn pattern(text: &str) -> TopicPattern {
    TopicPattern::parse(text).unwrap()
}

pub(super) fn publication(topic_text: &str) -> Publication {
    let topic = topic(topic_text);
    let bytes = Event::new(topic.clone(), "t", Payload::empty()).envelope();
    Publication {
        topic,
        bytes,
        dedup: None,
    }
}

pub(super) struct Fixture {
    pub(super) dir: tempfile::TempDir,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(super) fn config(&self, role: Role) -> JournalConfig {
        let mut config = JournalConfig::new(self.dir.path().join("journal.db"), role);
        config.min_free_bytes = 0;
        config
    }

    pub(super) async fn worker(&self) -> Journal {
        Journal::open(self.config(Role::Worker)).await.unwrap()
    }

    async fn appender(&self) -> Journal {
        Journal::open(self.config(Role::Appender)).await.unwrap()
    }
}

pub(super) async fn consume(journal: &Journal, name: &str, filter: &str, start: u64) -> Consumer {
    let spec = ConsumerSpec {
        name: name.to_owned(),
        filter: pattern(filter),
        incarnation: journal.position().await.unwrap().incarnation,
        start_seq: start,
        window: 64,
    };
    journal.consume(spec).await.unwrap()
}

/// Takes until `count` came or nothing is left to take up to the journal's end.
async fn take(journal: &Journal, consumer: &mut Consumer, count: usize) -> Vec<u64> {
    let end = journal.position().await.unwrap().next_seq - 1;
    let mut seqs = Vec::new();
    while seqs.len() < count && consumer.ready(Some(end)).await.unwrap() == Ready::Available {
        let messages = consumer.take(count - seqs.len()).await.unwrap();
        seqs.extend(messages.iter().map(|it| it.seq));
    }
    seqs
}

async fn publish(journal: &Journal, topic: &str, count: usize) -> Vec<u64> {
    let batch = (0..count).map(|_| publication(topic)).collect();
    journal.publish(batch).await.unwrap()
}

#[tokio::test]
async fn what_is_published_comes_to_those_who_asked() {
    let fixture = Fixture::new();
    let journal = fixture.worker().await;
    let mut consumer = consume(&journal, "c", "a.*", 1).await;
    assert_eq!(publish(&journal, "a.b", 2).await, [1, 2]);
    publish(&journal, "b.b", 1).await;
    publish(&journal, "a.c", 1).await;
    assert_eq!(consumer.ready(None).await.unwrap(), Ready::Available);
    let messages = consumer.take(10).await.unwrap();
    let seqs: Vec<u64> = messages.iter().map(|it| it.seq).collect();
    assert_eq!(seqs, [1, 2, 4]);
    assert!(messages.iter().all(|it| !it.redelivered));
    assert_eq!(messages[2].topic, topic("a.c"));
    let event = messages[2].event().unwrap();
    assert_eq!(messages[2].body(), event.body());
    assert_eq!(journal.position().await.unwrap().next_seq, 5);
    assert_eq!(journal.status().await.head, 4);
    journal.close().await.unwrap();
    assert!(matches!(consumer.ready(None).await, Err(BusError::Closed)));
}

#[tokio::test]
async fn one_worker_at_a_time() {
    let fixture = Fixture::new();
    let journal = fixture.worker().await;
    let second = Journal::open(fixture.config(Role::Worker)).await;
    let error = second.unwrap_err().to_string();
    assert!(
        error.contains("stop it first (several workers at once need a NATS bus)"),
        "{error}"
    );
    let appender = fixture.appender().await;
    let spec = ConsumerSpec {
        name: "c".to_owned(),
        filter: pattern(">"),
        incarnation: String::new(),
        start_seq: 1,
        window: 64,
    };
    assert!(matches!(
        appender.consume(spec).await,
        Err(BusError::NotTheWorker)
    ));
    journal.close().await.unwrap();
    fixture.worker().await;
}

#[tokio::test]
async fn what_others_append_is_noticed_in_order() {
    let fixture = Fixture::new();
    let journal = fixture.worker().await;
    let appender = fixture.appender().await;
    let mut consumer = consume(&journal, "c", ">", 1).await;
    let mut watch = journal.watch(&pattern("a.>")).await.unwrap();
    let both = [&journal, &appender];
    for round in 0..200 {
        publish(both[round % 2], "a.b", 1 + round % 3).await;
    }
    let expected: Vec<u64> = (1..journal.position().await.unwrap().next_seq).collect();
    assert_eq!(take(&journal, &mut consumer, 9_999).await, expected);
    for seq in expected {
        assert_eq!(watch.next().await.unwrap().seq, seq);
    }
    assert_eq!(watch.skipped(), 0);
}

#[tokio::test]
async fn a_watch_sees_new_messages_only() {
    let fixture = Fixture::new();
    let journal = fixture.worker().await;
    let appender = fixture.appender().await;
    publish(&appender, "a.b", 3).await;
    let mut first = journal.watch(&pattern("a.b")).await.unwrap();
    publish(&appender, "a.b", 1).await;
    let mut second = journal.watch(&pattern("a.*")).await.unwrap();
    publish(&appender, "a.b", 1).await;
    assert_eq!(first.next().await.unwrap().seq, 4);
    assert_eq!(first.next().await.unwrap().seq, 5);
    assert_eq!(second.next().await.unwrap().seq, 5);
    let mut in_appender = appender.watch(&pattern("a.b")).await.unwrap();
    publish(&journal, "a.b", 1).await;
    assert_eq!(in_appender.next().await.unwrap().seq, 6);
    journal.close().await.unwrap();
    assert_eq!(first.next().await.unwrap().seq, 6);
    assert!(first.next().await.is_none());
}

#[tokio::test]
async fn a_slow_watch_skips_the_oldest() {
    let fixture = Fixture::new();
    let journal = fixture.worker().await;
    let mut watch = journal.watch(&pattern(">")).await.unwrap();
    publish(&journal, "a.b", FEED_LAG + 10).await;
    assert_eq!(watch.next().await.unwrap().seq, 11);
    assert_eq!(watch.skipped(), 10);
}

#[tokio::test]
async fn the_same_publication_is_one_event() {
    let fixture = Fixture::new();
    let journal = fixture.worker().await;
    let mut consumer = consume(&journal, "c", ">", 1).await;
    let topic = topic("a.b");
    let keyed = |body: &'static str| Publication {
        topic: topic.clone(),
        bytes: Bytes::from_static(body.as_bytes()),
        dedup: Some(dedup_key(
            &EventId::parse("e").unwrap(),
            &topic,
            body.as_bytes(),
        )),
    };
    assert_eq!(
        journal
            .publish(vec![keyed("{}"), keyed("[]"), keyed("{}")])
            .await
            .unwrap(),
        [1, 2, 1]
    );
    assert_eq!(
        journal
            .publish(vec![keyed("[]"), keyed("1")])
            .await
            .unwrap(),
        [2, 3]
    );
    let appender = fixture.appender().await;
    assert_eq!(
        appender
            .publish(vec![keyed("1"), keyed("2")])
            .await
            .unwrap(),
        [3, 4]
    );
    // Without a key nothing is compared.
    assert_eq!(publish(&journal, "a.b", 1).await, [5]);
    assert_eq!(take(&journal, &mut consumer, 9).await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn too_large_an_event_is_refused() {
    let fixture = Fixture::new();
    let journal = fixture.worker().await;
    let mut large = publication("a.b");
    large.bytes = Bytes::from(vec![b' '; MAX_EVENT_BYTES + 1]);
    let refused = journal
        .publish(vec![publication("a.b"), large.clone()])
        .await;
    assert!(matches!(refused, Err(BusError::TooLarge(size)) if size == MAX_EVENT_BYTES + 1));
    large.bytes.truncate(MAX_EVENT_BYTES);
    assert_eq!(journal.publish(vec![large]).await.unwrap(), [1]);
}

#[tokio::test]
async fn a_full_disk_refuses_events_but_takes_acknowledgements() {
    let fixture = Fixture::new();
    let journal = fixture.worker().await;
    let mut consumer = consume(&journal, "c", ">", 1).await;
    publish(&journal, "a.b", 2).await;
    take(&journal, &mut consumer, 2).await;

    journal.shared().space.set_least(u64::MAX);
    let refused = journal.publish(vec![publication("a.b")]).await;
    assert!(matches!(refused, Err(BusError::DiskLow { .. })));
    let refusing = journal.status().await.refusing.unwrap();
    assert!(
        refusing.contains("make room to publish again"),
        "{refusing}"
    );
    consumer.acker().ack(1).await;
    journal.flush().await.unwrap();
    assert_eq!(journal.pending("c", &pattern(">").into()).await.unwrap(), 1);

    journal.shared().space.set_least(0);
    assert_eq!(journal.status().await.refusing, None);
    assert_eq!(publish(&journal, "a.b", 1).await, [3]);
}

#[tokio::test]
async fn a_failed_commit_keeps_acknowledgements() {
    let fixture = Fixture::new();
    let journal = fixture.worker().await;
    let mut consumer = consume(&journal, "c", ">", 1).await;
    publish(&journal, "a.b", 2).await;
    take(&journal, &mut consumer, 2).await;
    // No page more than there are now, for this connection alone.
    limit_pages(&journal, 1).await;
    let large = Publication {
        bytes: Bytes::from(vec![b' '; 100_000]),
        ..publication("a.b")
    };
    let error = journal.publish(vec![large]).await.unwrap_err();
    assert!(
        error.to_string().contains("the disk is full: make room"),
        "{error}"
    );
    assert!(journal.status().await.refusing.is_some());
    consumer.acker().ack(1).await;
    limit_pages(&journal, 1_000_000).await;
    assert_eq!(publish(&journal, "a.b", 1).await, [3]);
    assert_eq!(journal.status().await.refusing, None);
    assert_eq!(journal.pending("c", &pattern(">").into()).await.unwrap(), 2);
}

#[tokio::test]
async fn recent_messages_are_found() {
    let fixture = Fixture::new();
    let journal = fixture.worker().await;
    let start = UtcTime::now();
    publish(&journal, "system.webhook.health", 2).await;
    publish(&journal, "a.b", 2).await;
    publish(&journal, "system.webhook.health", 1).await;
    let found = async |text: &str, since| -> Vec<u64> {
        let found = journal.recent(&pattern(text), since).await.unwrap();
        found.iter().map(|it| it.seq).collect()
    };
    assert_eq!(found("system.webhook.health", start).await, [1, 2, 5]);
    assert_eq!(found("system.webhook.>", start).await, [1, 2, 5]);
    assert_eq!(found("a.b", start).await, [3, 4]);
    let later = UtcTime::now() + Duration::from_secs(1);
    assert!(found("system.webhook.health", later).await.is_empty());
    assert!(found("a.>", later).await.is_empty());
}

#[tokio::test]
async fn concurrent_publishers_share_a_commit() {
    let fixture = Fixture::new();
    let journal = fixture.worker().await;
    let mut consumer = consume(&journal, "c", ">", 1).await;
    let (go, wait) = std::sync::mpsc::channel();
    let (started, busy) = tokio::sync::oneshot::channel();
    let blocker = tokio::spawn({
        let journal = journal.clone();
        let probe = move |_: &mut Writer| {
            started.send(()).unwrap();
            wait.recv().unwrap();
        };
        async move { journal.probe(probe).await }
    });
    busy.await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let journal = journal.clone();
        tasks.spawn(async move { publish(&journal, "a.b", 10).await });
    }
    // One thread: when this task is on again, all of them wait for the writer.
    tokio::task::yield_now().await;
    go.send(()).unwrap();
    blocker.await.unwrap();
    let mut seqs: Vec<u64> = tasks.join_all().await.concat();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=320).collect::<Vec<u64>>());
    consumer.ready(None).await.unwrap();
    let messages = consumer.take(999).await.unwrap();
    assert_eq!(messages.len(), 320);
    assert!(messages.iter().all(|it| it.at == messages[0].at));
}

/// Has this journal's writer find the disk full beyond so many pages.
async fn limit_pages(journal: &Journal, pages: u32) {
    let limit = move |writer: &mut Writer| {
        let query = format!("PRAGMA max_page_count = {pages}");
        writer.connection.query_row(&query, [], |_| Ok(())).unwrap();
    };
    journal.probe(limit).await;
}

#[tokio::test]
async fn what_another_process_appends_is_told() {
    let fixture = Fixture::new();
    let worker = fixture.worker().await;
    let mut consumer = consume(&worker, "c", "a.>", 1).await;
    let never = Duration::from_secs(86_400);
    worker.probe(move |writer| writer.tail.every = never).await;
    let appender = fixture.appender().await;
    for seq in 1..=3 {
        publish(&appender, "a.b", 1).await;
        assert_eq!(consumer.ready(None).await.unwrap(), Ready::Available);
        assert_eq!(consumer.take(9).await.unwrap()[0].seq, seq);
    }
    // The next worker is told as well, whatever became of this one.
    worker.close().await.unwrap();
    drop(std::os::unix::net::UnixDatagram::bind(fixture.dir.path().join("journal.bell")).unwrap());
    let worker = fixture.worker().await;
    let mut consumer = consume(&worker, "c", "a.>", 1).await;
    worker.probe(move |writer| writer.tail.every = never).await;
    publish(&appender, "a.b", 1).await;
    while consumer.take(9).await.unwrap().iter().all(|it| it.seq != 4) {
        consumer.ready(None).await.unwrap();
    }
}
