//! How many events a second the journal takes, and hands out, on this machine:
//! `cargo run --release -p webhook-bus --example journal_rate [DIRECTORY]`.
//!
//! The directory should lie on the disk in question; by default the system's temporary one is used.

use std::{
    error::Error,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use webhook_bus::{
    Bus, Consumer, ConsumerSpec, Journal, JournalConfig, Publication, Role, dedup_key,
};
use webhook_model::{Event, Payload, Topic, TopicPattern};

const PUBLISHERS: usize = 64;
const EVENTS: usize = 200_000;
/// Makes an envelope of some 600 bytes.
const FILLER: usize = 430;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let parent = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(parent)?;
    let mut config = JournalConfig::new(dir.path().join("journal.db"), Role::Worker);
    config.min_free_bytes = 0;
    let bus = Bus::from(Journal::open(config.clone()).await?);

    for (batch, dedup) in [
        (1, false),
        (1, true),
        (16, false),
        (100, false),
        (100, true),
    ] {
        let took = publish(&bus, batch, dedup).await?;
        let name = format!("append, {PUBLISHERS} publishers x {batch}, dedup {dedup}");
        report(&name, EVENTS, took);
    }
    let backlog = bus.position().await?.next_seq - 1;
    let mut consumer = consume(&bus, "disk").await?;
    let started = Instant::now();
    drain(&mut consumer, backlog).await?;
    report(
        "take and ack from the disk",
        backlog as usize,
        started.elapsed(),
    );

    let live = tokio::spawn(async move {
        drain(&mut consumer, backlog + EVENTS as u64)
            .await
            .map(|()| Instant::now())
    });
    let started = Instant::now();
    let took = publish(&bus, 16, false).await?;
    report("append while one consumer is live", EVENTS, took);
    report("take and ack live", EVENTS, live.await?? - started);
    bus.close().await?;

    // The oldest are behind the ring, the newest in it.
    let bus = Bus::from(Journal::open(config).await?);
    let mut latencies = Vec::new();
    let mut consumer = consume(&bus, "disk").await?;
    for _ in 0..2_000 {
        let started = Instant::now();
        bus.publish(vec![publication(false)?]).await?;
        consumer.ready(None).await?;
        let taken = consumer.take(1).await?;
        consumer.acker().ack(taken[0].seq).await;
        latencies.push(started.elapsed());
    }
    latencies.sort_unstable();
    println!(
        "publish to take: p50 {:?}, p99 {:?}",
        latencies[1_000], latencies[1_980]
    );
    bus.close().await?;
    Ok(())
}

fn publication(dedup: bool) -> Result<Publication> {
    let topic = Topic::parse("attacker.observed")?;
    let payload = Payload::parse(&format!("{{\"filler\":\"{}\"}}", "x".repeat(FILLER)))?;
    let event = Event::new(topic.clone(), "observed", payload);
    let bytes = event.envelope();
    Ok(Publication {
        dedup: dedup.then(|| dedup_key(&event.id, &topic, &bytes)),
        topic,
        bytes,
    })
}

/// Publishes [`EVENTS`] events; making them does not count.
async fn publish(bus: &Bus, batch: usize, dedup: bool) -> Result<Duration> {
    let mut prepared = Vec::new();
    for _ in 0..PUBLISHERS {
        let own: Result<Vec<Publication>> = (0..EVENTS / PUBLISHERS)
            .map(|_| publication(dedup))
            .collect();
        prepared.push(own?);
    }
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for own in prepared {
        let bus = bus.clone();
        tasks.spawn(async move {
            for batch in own.chunks(batch) {
                bus.publish(batch.to_vec()).await?;
            }
            Ok::<_, webhook_bus::BusError>(())
        });
    }
    while let Some(published) = tasks.join_next().await {
        published??;
    }
    Ok(started.elapsed())
}

async fn consume(bus: &Bus, name: &str) -> Result<Consumer> {
    let spec = ConsumerSpec {
        name: name.to_owned(),
        filter: TopicPattern::parse("attacker.>")?,
        incarnation: bus.position().await?.incarnation,
        start_seq: 1,
        window: 64,
    };
    Ok(bus.consume(spec).await?)
}

async fn drain(consumer: &mut Consumer, end: u64) -> Result<()> {
    let acker = consumer.acker();
    let mut last = 0;
    while last < end {
        consumer.ready(None).await?;
        for message in consumer.take(64).await? {
            last = message.seq;
            acker.ack(message.seq).await;
        }
    }
    Ok(())
}

fn report(name: &str, events: usize, took: Duration) {
    let rate = events as f64 / took.as_secs_f64();
    println!("{name}: {rate:.0}/s");
}
