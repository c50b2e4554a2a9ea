//! How many outcomes a second one recorder commits to SQLite.
//!
//! `cargo run --release -p webhook-store --example record_rate [-- FOLDER]`; the folder (default:
//! the temporary one) decides which disk is measured.

use std::{
    env,
    error::Error,
    time::{Duration, Instant},
};

use webhook_model::{
    DeliveryStatus, EndpointUrl, Secret, Settings, SubscriptionName, TopicPattern, UtcTime,
};
use webhook_store::{DatabaseConfig, DeliveryRecord, NewSubscription, Position, Store};

const SUBSCRIPTIONS: usize = 10;
const TIME_PER_SIZE: Duration = Duration::from_secs(4);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let parent = env::args_os().nth(1).map_or_else(env::temp_dir, Into::into);
    for size in [500, 50, 1] {
        let folder = tempfile::tempdir_in(&parent)?;
        let url = format!("sqlite://{}/decnet.db", folder.path().display());
        let store = Store::open(&DatabaseConfig::new(url)).await?;
        let uuids = subscriptions(&store).await?;
        let (mut rows, mut next) = (0, 0);
        let (start, cpu) = (Instant::now(), cpu_micros());
        while start.elapsed() < TIME_PER_SIZE {
            let batch: Vec<_> = (next..next + size).map(|seq| record(&uuids, seq)).collect();
            store.record(&batch).await?;
            next += size;
            rows += size;
        }
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "batches of {size:3}: {:7.0} rows/s, {:5.1} µs CPU a row ({rows} rows)",
            rows as f64 / seconds,
            (cpu_micros() - cpu) as f64 / rows as f64,
        );
        let start = Instant::now();
        let asked: Vec<u64> = (0..500).collect();
        let seen = store.seen(&uuids[0], "bus", &asked).await?.len();
        println!(
            "                look-up of 500: {:?} ({seen} seen)",
            start.elapsed()
        );
        store.close().await?;
    }
    Ok(())
}

async fn subscriptions(store: &Store) -> Result<Vec<String>, Box<dyn Error>> {
    let mut uuids = Vec::new();
    for number in 0..SUBSCRIPTIONS {
        let new = NewSubscription {
            name: SubscriptionName::parse(&format!("siem-{number}"))?,
            url: EndpointUrl::parse("https://siem.example/hook")?,
            secret: Secret::generate(),
            topic_patterns: vec![TopicPattern::parse("attacker.>")?],
            settings: Settings::default(),
            enabled: true,
        };
        let position = Position {
            incarnation: "bus".into(),
            next_seq: 1,
        };
        uuids.push(store.create(new, &position).await?.uuid);
    }
    Ok(uuids)
}

fn record(uuids: &[String], seq: u64) -> DeliveryRecord {
    let number = usize::try_from(seq).unwrap_or(0) % uuids.len();
    DeliveryRecord {
        // As long as a uuid.
        pair_id: format!("00000000-0000-0000-0000-{number:012}"),
        seq,
        incarnation: "bus".into(),
        subscription: uuids[number].clone(),
        event_id: format!("{seq:032x}"),
        topic: "attacker.session.started".into(),
        kind: "session.started".into(),
        status: DeliveryStatus::Delivered,
        attempts: 1,
        round: 0,
        failed_attempts: Vec::new(),
        status_code: Some(200),
        error: None,
        duration: Duration::from_millis(3),
        body: None,
        at: UtcTime::now(),
        next_attempt_at: None,
        epoch: 1,
        counts: true,
    }
}

/// CPU time of this process so far, which a busy machine disturbs less than the rate.
fn cpu_micros() -> u64 {
    const MICROS_PER_TICK: u64 = 10_000;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15, utime and stime; counted behind the name, which may contain spaces.
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    ticks * MICROS_PER_TICK
}
