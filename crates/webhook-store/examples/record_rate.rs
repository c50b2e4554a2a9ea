//! How many outcomes a second one recorder commits to SQLite.
//!
//! `cargo run --release -p webhook-store --example record_rate [-- FOLDER]`; the folder (default:
//! the temporary one) decides which disk is measured.

#[path = "shared/rows.rs"]
mod rows;

use std::{
    env,
    error::Error,
    time::{Duration, Instant},
};

use webhook_store::{DatabaseConfig, Store};

use rows::{delivered, subscriptions};

const SUBSCRIPTIONS: usize = 10;
const TIME_PER_SIZE: Duration = Duration::from_secs(4);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let parent = env::args_os().nth(1).map_or_else(env::temp_dir, Into::into);
    for size in [500, 50, 1] {
        let folder = tempfile::tempdir_in(&parent)?;
        let url = format!("sqlite://{}/decnet.db", folder.path().display());
        let store = Store::open(&DatabaseConfig::new(url)).await?;
        let uuids = subscriptions(&store, SUBSCRIPTIONS).await?;
        let (mut rows, mut next) = (0, 0);
        let (start, cpu) = (Instant::now(), cpu_micros());
        while start.elapsed() < TIME_PER_SIZE {
            let record = |seq| delivered(&uuids, seq, format!("{seq:032x}"));
            let batch: Vec<_> = (next..next + size).map(record).collect();
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
