use super::*;

#[tokio::test]
async fn acknowledgements_survive_a_restart_in_any_order() {
    let fixture = Fixture::new();
    let journal = fixture.worker().await;
    let mut consumer = consume(&journal, "c", "a.>", 1).await;
    for number in 0..10 {
        publish(&journal, if number % 2 == 0 { "a.b" } else { "b.b" }, 1).await;
    }
    assert_eq!(take(&journal, &mut consumer, 99).await, [1, 3, 5, 7, 9]);
    let acker = consumer.acker();
    for seq in [9, 3, 5] {
        acker.ack(seq).await;
    }
    assert_eq!(
        journal.pending("c", &pattern("a.>").into()).await.unwrap(),
        2
    );
    drop(consumer);
    // Also after the consumer is gone.
    acker.ack(1).await;
    drop(acker);
    journal.close().await.unwrap();

    let journal = fixture.worker().await;
    publish(&journal, "a.b", 1).await;
    let mut consumer = consume(&journal, "c", "a.>", 1).await;
    assert_eq!(consumer.resumed_at(), 11);
    assert_eq!(take(&journal, &mut consumer, 99).await, [7, 11]);
    assert_eq!(
        journal.pending("c", &pattern("a.>").into()).await.unwrap(),
        2
    );
}

#[tokio::test]
async fn what_several_patterns_ask_for_is_counted_once() {
    let fixture = Fixture::new();
    let journal = fixture.worker().await;
    let [filter] = &disjoint(&[pattern("a.*.c"), pattern("a.b.*")])[..] else {
        panic!("they overlap and have one cover")
    };
    let mut consumer = consume(&journal, "c", filter.cover.as_str(), 1).await;
    // Both ask for the first, nobody for the last two.
    for topic in ["a.b.c", "a.x.c", "a.b.x", "a.x.x", "a.y.y"] {
        publish(&journal, topic, 1).await;
    }
    assert_eq!(journal.pending("c", filter).await.unwrap(), 3);
    take(&journal, &mut consumer, 99).await;
    consumer.acker().ack(1).await;
    assert_eq!(journal.pending("c", filter).await.unwrap(), 2);
}

#[tokio::test]
async fn what_is_not_acknowledged_comes_again() {
    let fixture = Fixture::new();
    let journal = fixture.worker().await;
    publish(&journal, "a.b", 5).await;
    let mut consumer = consume(&journal, "c", ">", 2).await;
    assert_eq!(take(&journal, &mut consumer, 3).await, [2, 3, 4]);
    consumer.acker().ack(3).await;
    let spec = ConsumerSpec {
        name: "c".to_owned(),
        filter: pattern(">"),
        incarnation: String::new(),
        start_seq: 1,
        window: 64,
    };
    let twice = journal.consume(spec.clone()).await;
    assert!(matches!(twice, Err(BusError::ConsumerOpen(name)) if name == "c"));
    drop(consumer);
    let mut consumer = journal.consume(spec).await.unwrap();
    assert_eq!(take(&journal, &mut consumer, 99).await, [2, 4, 5]);
}

#[tokio::test]
async fn what_is_released_comes_first_and_says_so() {
    let fixture = Fixture::new();
    let journal = fixture.worker().await;
    publish(&journal, "a.b", 4).await;
    let mut consumer = consume(&journal, "c", ">", 1).await;
    assert_eq!(take(&journal, &mut consumer, 3).await, [1, 2, 3]);
    consumer.release(2);
    assert_eq!(consumer.ready(Some(1)).await.unwrap(), Ready::Past);
    let messages = consumer.take(9).await.unwrap();
    let seen: Vec<(u64, bool)> = messages.iter().map(|it| (it.seq, it.redelivered)).collect();
    assert_eq!(seen, [(2, true), (4, false)]);
}

#[tokio::test]
async fn the_end_is_noticed_while_waiting() {
    let fixture = Fixture::new();
    let journal = fixture.worker().await;
    let mut consumer = consume(&journal, "c", "a.b", 1).await;
    let waiting = tokio::spawn(async move { consumer.ready(Some(3)).await });
    publish(&journal, "b.b", 5).await;
    assert_eq!(waiting.await.unwrap().unwrap(), Ready::Past);
}

#[tokio::test]
async fn an_ended_consumer_is_gone() {
    let fixture = Fixture::new();
    let journal = fixture.worker().await;
    let mut consumer = consume(&journal, "c", ">", 1).await;
    let waiting = tokio::spawn(async move { consumer.ready(None).await });
    // It waits, or will find itself gone.
    journal.end("c").await.unwrap();
    assert!(matches!(
        waiting.await.unwrap(),
        Err(BusError::NoConsumer(_))
    ));
    let pending = journal.pending("c", &pattern(">").into()).await;
    assert!(matches!(pending, Err(BusError::NoConsumer(_))));
    journal.end("c").await.unwrap();
    publish(&journal, "a.b", 3).await;
    let mut consumer = consume(&journal, "c", ">", 3).await;
    assert_eq!(take(&journal, &mut consumer, 9).await, [3]);
}

#[tokio::test]
async fn a_filter_is_for_life() {
    let fixture = Fixture::new();
    let journal = fixture.worker().await;
    drop(consume(&journal, "c", "a.>", 1).await);
    let spec = ConsumerSpec {
        name: "c".to_owned(),
        filter: pattern("b.>"),
        incarnation: String::new(),
        start_seq: 1,
        window: 64,
    };
    let error = journal.consume(spec).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"consumer "c" was made with filter a.>, not b.>"#
    );
}

#[tokio::test]
async fn another_journal_starts_at_the_beginning() {
    let fixture = Fixture::new();
    let journal = fixture.worker().await;
    publish(&journal, "a.b", 3).await;
    let spec = ConsumerSpec {
        name: "c".to_owned(),
        filter: pattern(">"),
        incarnation: "another".to_owned(),
        start_seq: 1_000,
        window: 64,
    };
    let mut consumer = journal.consume(spec).await.unwrap();
    assert_eq!(take(&journal, &mut consumer, 9).await, [1, 2, 3]);
}
