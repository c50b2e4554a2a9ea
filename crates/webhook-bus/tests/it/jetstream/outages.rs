//! The bus lost at any moment.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time::timeout;
use webhook_bus::{Bus, BusError, Consumer};
use webhook_testkit::{NatsCluster, NatsServer};

use super::support::{PATIENCE, config, consume, drain, event, fresh, open, spec, take};
use crate::support::{pattern, publication, publish, seqs};

/// A server, and a bus that does not wait long for it.
async fn impatient() -> (NatsServer, Bus) {
    let server = NatsServer::start().await;
    let mut config = config(&server);
    config.request_timeout = Duration::from_millis(500);
    // What was on its way when the server went comes again after this time.
    config.ack_wait = Duration::from_secs(2);
    let bus = open(config).await;
    (server, bus)
}

/// Publishes one by one until told to stop, and returns what was acknowledged.
async fn publisher(bus: Bus, stop: Arc<AtomicBool>) -> BTreeSet<String> {
    let mut acknowledged = BTreeSet::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let one = event("a.x", number);
        number += 1;
        if bus.publish(vec![one.clone()]).await.is_ok() {
            acknowledged.insert(String::from_utf8(one.bytes.to_vec()).unwrap());
        }
    }
    acknowledged
}

/// The newest message's number, once somebody knows it.
async fn end(bus: &Bus) -> u64 {
    let asking = async {
        loop {
            match bus.position().await {
                Ok(position) => return position.next_seq - 1,
                Err(error) => assert!(error.is_connection(), "{error}"),
            }
        }
    };
    timeout(PATIENCE, asking).await.unwrap()
}

/// Takes and acknowledges until it has so many, whatever happens on the way.
async fn collect(consumer: &mut Consumer, found: &mut BTreeSet<String>, until: usize) {
    let acker = consumer.acker();
    let collecting = async {
        while found.len() < until {
            match consumer.ready(None).await {
                Ok(_) => {
                    for message in consumer.take(64).await.unwrap() {
                        found.insert(String::from_utf8(message.bytes().to_vec()).unwrap());
                        acker.ack(message.seq).await;
                    }
                }
                Err(error) => assert!(error.is_connection(), "{error}"),
            }
        }
    };
    let collected = timeout(PATIENCE, collecting).await;
    assert!(collected.is_ok(), "{} of {until} came", found.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_load_loses_nothing_that_was_acknowledged() {
    let (mut server, bus) = impatient().await;
    let mut consumer = consume(&bus, "c", "a.>").await;
    let stop = Arc::new(AtomicBool::new(false));
    let publishing: Vec<_> = (0..4)
        .map(|_| tokio::spawn(publisher(bus.clone(), stop.clone())))
        .collect();
    let mut found = BTreeSet::new();
    for round in 1..=3 {
        collect(&mut consumer, &mut found, round * 500).await;
        server.restart().await;
    }
    collect(&mut consumer, &mut found, 2_000).await;
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = BTreeSet::new();
    for task in publishing {
        acknowledged.extend(task.await.unwrap());
    }
    let end = bus.position().await.unwrap().next_seq - 1;
    for message in drain(&mut consumer, end).await {
        found.insert(String::from_utf8(message.bytes().to_vec()).unwrap());
    }
    let lost: Vec<_> = acknowledged.difference(&found).collect();
    assert!(
        lost.is_empty(),
        "{} of {} lost",
        lost.len(),
        acknowledged.len()
    );
    assert_eq!(bus.pending("c", &pattern("a.>").into()).await.unwrap(), 0);
}

#[tokio::test]
async fn an_idle_consumer_takes_again_soon_after_the_server_is_back() {
    let (mut server, bus) = impatient().await;
    let mut consumer = consume(&bus, "c", "a.>").await;
    publish(&bus, "a.x", 1).await;
    assert_eq!(seqs(&take(&mut consumer, 1).await), [1]);
    consumer.acker().ack(1).await;
    bus.flush().await.unwrap();
    server.kill();
    // It notices before the server is back.
    assert!(bus.position().await.unwrap_err().is_connection());
    server.start_again().await;
    let back = Instant::now();
    let retry = async { while bus.publish(vec![publication("a.x")]).await.is_err() {} };
    timeout(PATIENCE, retry).await.unwrap();
    assert_eq!(seqs(&take(&mut consumer, 1).await), [2]);
    assert!(
        back.elapsed() < Duration::from_secs(2),
        "{:?}",
        back.elapsed()
    );
}

#[tokio::test]
async fn publishing_while_it_is_away_fails_in_time() {
    let (mut server, bus) = impatient().await;
    server.kill();
    for _ in 0..3 {
        let begun = Instant::now();
        let error = bus.publish(vec![publication("a.x")]).await.unwrap_err();
        assert!(error.is_connection(), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    let status = bus.status().await;
    assert!(status.refusing.unwrap().contains(&server.url()));
    server.start_again().await;
    let retry = async { while bus.publish(vec![publication("a.x")]).await.is_err() {} };
    timeout(PATIENCE, retry).await.unwrap();
    assert_eq!(bus.status().await.refusing, None);
}

#[tokio::test]
async fn a_hung_server_is_silence_and_nothing_worse() {
    let (server, bus) = impatient().await;
    let mut consumer = consume(&bus, "c", "a.>").await;
    server.freeze();
    let error = bus.publish(vec![event("a.x", 1)]).await.unwrap_err();
    assert!(matches!(error, BusError::NatsSilent { .. }), "{error}");
    assert!(bus.position().await.unwrap_err().is_connection());
    server.thaw();
    // What was said to the hung server is heard now; nobody knew.
    let retry = async { while bus.publish(vec![publication("a.y")]).await.is_err() {} };
    timeout(PATIENCE, retry).await.unwrap();
    let end = bus.position().await.unwrap().next_seq - 1;
    let topics: Vec<String> = (drain(&mut consumer, end).await.iter())
        .map(|it| it.topic.as_str().to_owned())
        .collect();
    assert!(topics.contains(&"a.y".to_owned()), "{topics:?}");
}

#[tokio::test]
async fn a_bus_opened_before_its_server_works_once_that_is_there() {
    let mut server = NatsServer::start().await;
    server.kill();
    let mut config = config(&server);
    config.request_timeout = Duration::from_millis(200);
    let bus = open(config).await;
    let error = bus.position().await.unwrap_err();
    assert!(error.is_connection(), "{error}");
    assert!(
        bus.watch(&pattern("a.>"))
            .await
            .unwrap_err()
            .is_connection()
    );
    server.start_again().await;
    let retry = async { while bus.publish(vec![publication("a.x")]).await.is_err() {} };
    timeout(PATIENCE, retry).await.unwrap();
    let mut consumer = consume(&bus, "c", "a.>").await;
    assert_eq!(seqs(&take(&mut consumer, 1).await), [1]);
}

#[tokio::test]
async fn acknowledgements_of_an_outage_are_made_up_for() {
    let (mut server, bus) = fresh().await;
    publish(&bus, "a.x", 10).await;
    let mut consumer = consume(&bus, "c", "a.>").await;
    let taken = take(&mut consumer, 10).await;
    server.kill();
    for message in taken {
        consumer.acker().ack(message.seq).await;
    }
    server.start_again().await;
    let flush = async { while bus.flush().await.is_err() {} };
    timeout(PATIENCE, flush).await.unwrap();
    let past = timeout(PATIENCE, async { drain(&mut consumer, 10).await });
    assert!(past.await.unwrap().is_empty(), "handed out again");
}

#[tokio::test]
async fn a_consumer_that_an_operator_deleted_is_made_again() {
    let (server, bus) = fresh().await;
    let operator = open(config(&server)).await;
    publish(&bus, "a.x", 5).await;
    let mut consumer = consume(&bus, "c", "a.>").await;
    let taken = take(&mut consumer, 5).await;
    for message in &taken[..3] {
        consumer.acker().ack(message.seq).await;
    }
    bus.flush().await.unwrap();
    operator.end("c").await.unwrap();
    publish(&bus, "a.x", 1).await;
    assert_eq!(seqs(&take(&mut consumer, 1).await), [6]);
    // Everything in hand goes on, and nothing that is done comes again.
    for seq in [4, 5, 6] {
        consumer.acker().ack(seq).await;
    }
    assert!(drain(&mut consumer, 6).await.is_empty());
}

#[tokio::test]
async fn a_recreated_stream_is_told_to_its_consumers() {
    let mut server = NatsServer::start().await;
    let bus = open(config(&server)).await;
    publish(&bus, "a.x", 5).await;
    let old = bus.position().await.unwrap();
    let mut consumer = consume(&bus, "c", "a.>").await;
    take(&mut consumer, 5).await;
    server.kill();
    std::fs::remove_dir_all(server.dir().join("store")).unwrap();
    server.start_again().await;
    let told = async {
        loop {
            match consumer.ready(None).await {
                Ok(_) => panic!("nothing was published"),
                Err(error) if error.is_connection() => {}
                Err(error) => return error,
            }
        }
    };
    let error = timeout(PATIENCE, told).await.unwrap();
    assert!(matches!(error, BusError::Recreated { .. }), "{error}");
    let new = bus.position().await.unwrap();
    assert_ne!(new.incarnation, old.incarnation);
    assert_eq!(new.next_seq, 1);
    drop(consumer);
    publish(&bus, "a.x", 2).await;
    let mut consumer = bus.consume(spec(&bus, "c", "a.>", 64).await).await.unwrap();
    assert_eq!(seqs(&take(&mut consumer, 2).await), [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_its_leader_goes_on() {
    let mut cluster = NatsCluster::start().await;
    let urls = cluster.urls().join(",");
    let mut config = webhook_bus::JetStreamConfig::parse(&urls).unwrap();
    config.subjects = vec![pattern("a.>")];
    config.replicas = 3;
    config.request_timeout = Duration::from_secs(1);
    config.ack_wait = Duration::from_secs(2);
    let bus = open(config).await;
    let mut consumer = consume(&bus, "c", "a.>").await;
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn(publisher(bus.clone(), stop.clone()));
    let mut found = BTreeSet::new();
    collect(&mut consumer, &mut found, 200).await;
    let killed = cluster.kill_leader("DECNET").await;
    collect(&mut consumer, &mut found, 600).await;
    cluster.nodes()[killed].start_again().await;
    collect(&mut consumer, &mut found, 800).await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged = publishing.await.unwrap();
    collect(&mut consumer, &mut found, acknowledged.len()).await;
    let end = end(&bus).await;
    for message in drain(&mut consumer, end).await {
        found.insert(String::from_utf8(message.bytes().to_vec()).unwrap());
    }
    assert_eq!(acknowledged.difference(&found).count(), 0);
}
