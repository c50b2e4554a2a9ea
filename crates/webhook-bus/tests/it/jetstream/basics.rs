//! Publishing, positions, consuming, reading, on one server that stays up.

use std::time::Duration;

use tokio::time::timeout;
use webhook_bus::{BusError, Ready};
use webhook_model::UtcTime;

use super::support::{PATIENCE, config, consume, drain, event, fresh, open, spec, take};
use crate::support::{pattern, publication, publish, seqs};

#[tokio::test]
async fn what_is_published_is_taken_in_order_and_acknowledged_once() {
    let (_server, bus) = fresh().await;
    let before = bus.position().await.unwrap();
    assert_eq!(before.next_seq, 1);
    assert!(before.incarnation.starts_with("jetstream:DECNET:"));
    let sent = publish(&bus, "a.x", 100).await;
    assert_eq!(sent, (1..=100).collect::<Vec<u64>>());
    publish(&bus, "b.x", 7).await;
    let mut consumer = consume(&bus, "c", "a.>").await;
    assert_eq!(consumer.resumed_at(), 107);
    assert_eq!(bus.pending("c", &pattern("a.>").into()).await.unwrap(), 100);
    let found = drain(&mut consumer, 107).await;
    assert_eq!(seqs(&found), sent);
    assert!(found.iter().all(|it| !it.redelivered && it.event().is_ok()));
    assert_eq!(bus.pending("c", &pattern("a.>").into()).await.unwrap(), 0);
    bus.close().await.unwrap();
}

#[tokio::test]
async fn what_is_acknowledged_stays_so_and_the_rest_comes_again() {
    let (server, bus) = fresh().await;
    publish(&bus, "a.x", 10).await;
    let mut consumer = consume(&bus, "c", "a.>").await;
    let taken = take(&mut consumer, 10).await;
    assert_eq!(seqs(&taken), (1..=10).collect::<Vec<u64>>());
    let acker = consumer.acker();
    for seq in [9, 3, 5] {
        acker.ack(seq).await;
    }
    drop(consumer);
    // Also after the consumer is gone.
    acker.ack(1).await;
    drop(acker);
    bus.close().await.unwrap();

    let bus = open(config(&server)).await;
    let mut consumer = consume(&bus, "c", "a.>").await;
    let taken = take(&mut consumer, 6).await;
    let mut again = seqs(&taken);
    again.sort_unstable();
    assert_eq!(again, [2, 4, 6, 7, 8, 10]);
    assert!(taken.iter().all(|it| it.redelivered));
}

#[tokio::test]
async fn what_is_released_comes_first_and_says_so() {
    let (_server, bus) = fresh().await;
    publish(&bus, "a.x", 4).await;
    let mut consumer = consume(&bus, "c", "a.>").await;
    assert_eq!(seqs(&take(&mut consumer, 3).await), [1, 2, 3]);
    consumer.release(2);
    let first = consumer.take(1).await.unwrap();
    assert_eq!((first[0].seq, first[0].redelivered), (2, true));
    assert_eq!(seqs(&take(&mut consumer, 1).await), [4]);
}

#[tokio::test]
async fn a_publication_that_comes_again_keeps_its_number() {
    let (_server, bus) = fresh().await;
    let batch: Vec<_> = (0..3).map(|number| event("a.x", number)).collect();
    assert_eq!(bus.publish(batch.clone()).await.unwrap(), [1, 2, 3]);
    assert_eq!(bus.publish(batch[1..].to_vec()).await.unwrap(), [2, 3]);
    assert_eq!(bus.position().await.unwrap().next_seq, 4);
}

#[tokio::test]
async fn a_topic_off_the_stream_is_named_and_nothing_is_sent() {
    let (_server, bus) = fresh().await;
    let batch = vec![publication("a.x"), publication("c.x")];
    let error = bus.publish(batch).await.unwrap_err();
    assert!(
        matches!(&error, BusError::Uncovered { topic, .. } if topic == "c.x"),
        "{error}"
    );
    assert!(error.to_string().contains("a.>, b.>, system.>"), "{error}");
    assert_eq!(bus.position().await.unwrap().next_seq, 1);
    for (text, carried) in [
        ("a.x", true),
        (">", true),
        ("*.x", true),
        ("c.>", false),
        ("a", false),
    ] {
        assert_eq!(bus.carries(&pattern(text)), carried, "{text}");
    }
}

#[tokio::test]
async fn a_consumer_of_one_gets_the_next_only_after_the_last() {
    let (server, bus) = fresh().await;
    let other = open(config(&server)).await;
    publish(&bus, "a.x", 20).await;
    let spec = spec(&bus, "c", "a.>", 1).await;
    let mut consumers = [
        bus.consume(spec.clone()).await.unwrap(),
        other.consume(spec).await.unwrap(),
    ];
    // Whoever gets it, the order is kept and nobody has a second one at the same time.
    for expected in 1..=20 {
        let [one, two] = &mut consumers;
        let first = async {
            tokio::select! {
                ready = one.ready(None) => ready.map(|_| 0),
                ready = two.ready(None) => ready.map(|_| 1),
            }
        };
        let who = timeout(PATIENCE, first).await.unwrap().unwrap();
        let got = consumers[who].take(64).await.unwrap();
        assert_eq!(seqs(&got), [expected]);
        assert!(consumers[1 - who].take(64).await.unwrap().is_empty());
        consumers[who].acker().ack(expected).await;
    }
    assert_eq!(bus.pending("c", &pattern("a.>").into()).await.unwrap(), 0);
}

#[tokio::test]
async fn two_connections_share_a_consumer_and_only_both_together_are_past_its_end() {
    let (server, bus) = fresh().await;
    let other = open(config(&server)).await;
    publish(&bus, "a.x", 200).await;
    let mut one = consume(&bus, "c", "a.>").await;
    let mut two = consume(&other, "c", "a.>").await;
    let held = take(&mut one, 3).await;
    let found = {
        let draining = drain_until_held(&mut two, 197);
        timeout(PATIENCE, draining).await.unwrap()
    };
    // The other one still has three in hand.
    let waiting = timeout(Duration::from_millis(600), two.ready(Some(200))).await;
    assert!(waiting.is_err());
    let mut all: Vec<u64> = found.into_iter().chain(seqs(&held)).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 200);
    for message in held {
        one.acker().ack(message.seq).await;
    }
    let past = timeout(PATIENCE, two.ready(Some(200))).await.unwrap();
    assert_eq!(past.unwrap(), Ready::Past);
    other.end("c").await.unwrap();
    let past = timeout(PATIENCE, one.ready(Some(200))).await.unwrap();
    assert_eq!(past.unwrap(), Ready::Past);
}

/// Takes and acknowledges so many.
async fn drain_until_held(consumer: &mut webhook_bus::Consumer, count: usize) -> Vec<u64> {
    let mut found = Vec::new();
    while found.len() < count {
        consumer.ready(None).await.unwrap();
        for message in consumer.take(64).await.unwrap() {
            consumer.acker().ack(message.seq).await;
            found.push(message.seq);
        }
    }
    found
}

#[tokio::test]
async fn what_waits_untaken_goes_to_whom_asks() {
    let (server, bus) = fresh().await;
    let other = open(config(&server)).await;
    let mut idle = consume(&bus, "c", "a.>").await;
    publish(&bus, "a.x", 1).await;
    // It was fetched for this one, which does not come for it.
    idle.ready(None).await.unwrap();
    let mut eager = consume(&other, "c", "a.>").await;
    assert_eq!(seqs(&take(&mut eager, 1).await), [1]);
}

#[tokio::test]
async fn what_is_in_hand_is_not_handed_to_others_however_long_it_takes() {
    let (server, _) = fresh().await;
    let mut config = config(&server);
    config.ack_wait = Duration::from_secs(1);
    let bus = open(config.clone()).await;
    let other = open(config).await;
    publish(&bus, "a.x", 5).await;
    let mut slow = consume(&bus, "c", "a.>").await;
    let taken = take(&mut slow, 5).await;
    let mut second = consume(&other, "c", "a.>").await;
    let nothing = timeout(Duration::from_secs(4), second.ready(None)).await;
    assert!(nothing.is_err(), "handed out twice");
    for message in taken {
        slow.acker().ack(message.seq).await;
    }
    assert_eq!(bus.pending("c", &pattern("a.>").into()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_filter_is_for_life_and_a_consumer_is_open_once() {
    let (_server, bus) = fresh().await;
    let first = consume(&bus, "c", "a.>").await;
    let again = bus.consume(spec(&bus, "c", "a.>", 64).await).await;
    assert!(matches!(again, Err(BusError::ConsumerOpen(name)) if name == "c"));
    drop(first);
    let other = bus.consume(spec(&bus, "c", "b.>", 64).await).await;
    assert!(matches!(other, Err(BusError::FilterChanged { .. })));
    // The window may change.
    let again = bus.consume(spec(&bus, "c", "a.>", 1).await).await.unwrap();
    again.set_window(500).await.unwrap();
    bus.end("c").await.unwrap();
    bus.end("c").await.unwrap();
    let pending = bus.pending("c", &pattern("a.>").into()).await;
    assert!(matches!(pending, Err(BusError::NoConsumer(_))));
    // Who had it open is told, and does not bring it back.
    let mut again = again;
    let told = timeout(PATIENCE, again.ready(None)).await.unwrap();
    assert!(matches!(told, Err(BusError::NoConsumer(_))));
}

#[tokio::test]
async fn the_end_is_noticed_while_waiting() {
    let (_server, bus) = fresh().await;
    let mut consumer = consume(&bus, "c", "a.x").await;
    publish(&bus, "b.x", 5).await;
    assert_eq!(consumer.ready(Some(3)).await.unwrap(), Ready::Past);
    publish(&bus, "a.x", 2).await;
    // Beyond the end: no reason to wait.
    assert_eq!(consumer.ready(Some(5)).await.unwrap(), Ready::Past);
    assert_eq!(consumer.ready(Some(6)).await.unwrap(), Ready::Available);
    assert_eq!(seqs(&drain(&mut consumer, 7).await), [6, 7]);
}

#[tokio::test]
async fn a_consumer_on_another_incarnation_starts_at_the_beginning() {
    let (_server, bus) = fresh().await;
    publish(&bus, "a.x", 3).await;
    let mut spec = spec(&bus, "c", "a.>", 64).await;
    spec.start_seq = 3;
    let mut consumer = bus.consume(spec.clone()).await.unwrap();
    assert_eq!(seqs(&drain(&mut consumer, 3).await), [3]);
    spec.name = "d".to_owned();
    spec.incarnation = "another".to_owned();
    let mut consumer = bus.consume(spec).await.unwrap();
    assert_eq!(seqs(&drain(&mut consumer, 3).await), [1, 2, 3]);
}

#[tokio::test]
async fn a_watch_hears_what_comes_after_it_and_nothing_else() {
    let (server, bus) = fresh().await;
    let other = open(config(&server)).await;
    for round in 0..20 {
        publish(&other, "a.before", 1).await;
        let mut watch = bus.watch(&pattern("a.*")).await.unwrap();
        let sent = event("a.after", round);
        other.publish(vec![sent.clone()]).await.unwrap();
        let heard = timeout(PATIENCE, watch.next()).await.unwrap().unwrap();
        assert_eq!(
            (heard.topic.as_str(), heard.bytes()),
            ("a.after", &sent.bytes)
        );
    }
    let mut watch = bus.watch(&pattern(">")).await.unwrap();
    bus.close().await.unwrap();
    assert!(timeout(PATIENCE, watch.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn looking_back_finds_the_newest() {
    let (_server, bus) = fresh().await;
    let since = UtcTime::now() - Duration::from_secs(60);
    assert!(bus.recent(&pattern("a.>"), since).await.unwrap().is_empty());
    publish(&bus, "a.x", 1_200).await;
    publish(&bus, "b.x", 3).await;
    let found = bus.recent(&pattern("a.>"), since).await.unwrap();
    assert_eq!(seqs(&found), (201..=1_200).collect::<Vec<u64>>());
    assert_eq!(bus.recent(&pattern("b.*"), since).await.unwrap().len(), 3);
    let later = UtcTime::now() + Duration::from_secs(60);
    assert!(bus.recent(&pattern(">"), later).await.unwrap().is_empty());
}

#[tokio::test]
async fn messages_are_read_by_their_numbers() {
    let (_server, bus) = fresh().await;
    let before = UtcTime::now();
    let sent: Vec<_> = (0..100).map(|number| event("a.x", number)).collect();
    bus.publish(sent.clone()).await.unwrap();
    let wanted: Vec<u64> = (1..=105).rev().collect();
    let (found, came) = bus.fetch(&wanted).await.unwrap();
    assert_eq!(came, 105);
    assert_eq!(seqs(&found), (1..=100).rev().collect::<Vec<u64>>());
    assert_eq!(found[0].bytes(), &sent[99].bytes);
    assert!(found[0].at.since(before) < PATIENCE);
}

#[tokio::test]
async fn the_status_tells_where_it_stands() {
    let (_server, bus) = fresh().await;
    publish(&bus, "a.x", 3).await;
    let status = bus.status().await;
    assert_eq!(
        (status.kind, status.head, status.refusing),
        ("jetstream", 3, None)
    );
    assert!(status.bytes > 0);
    assert_eq!(
        status.incarnation,
        bus.position().await.unwrap().incarnation
    );
}
