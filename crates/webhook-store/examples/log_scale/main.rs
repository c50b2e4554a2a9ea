//! How long questions to a large delivery log take, and what its retention costs those who write.
//!
//! `cargo run --release -p webhook-store --example log_scale -- ROWS FOLDER`; ten million rows
//! need 10 GB in the folder. With `postgres` instead of a folder they go to a
//! PostgreSQL of their own.

mod dialect;
mod fill;
#[path = "../shared/rows.rs"]
mod rows;

use std::{
    env,
    error::Error,
    path::PathBuf,
    time::{Duration, Instant},
};

use webhook_model::{DeliveryStatus, TopicPattern, UtcTime};
use webhook_store::{Cursor, DeliveryFilter, DeliveryRecord, Store};
use webhook_testkit::Postgres;

use fill::Log;

/// The API's default.
const PAGE: u64 = 50;
/// The page beyond which nobody clicks.
const DEEP_PAGE: usize = 1_000;
/// How often each question is asked.
const TIMES: usize = 20;
/// What the worker's housekeeping takes at once, and the ages it takes it at.
const SWEEP_BATCH: u64 = 500;
const KEEP_DELIVERED: Duration = Duration::from_secs(7 * 24 * 3_600);
const KEEP_DEAD: Duration = Duration::from_secs(30 * 24 * 3_600);
/// A recorder at 5,000 outcomes a second.
const BATCH: u64 = 50;
const BATCH_EVERY: Duration = Duration::from_millis(10);
/// How long it is watched without a sweep.
const UNDISTURBED: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args_os().skip(1);
    let rows = args.next().and_then(|rows| rows.to_str()?.parse().ok());
    let (Some(rows), Some(place)) = (rows, args.next()) else {
        return Err("usage: log_scale ROWS FOLDER|postgres".into());
    };
    if place == "postgres" {
        // Commits cost what they cost.
        let server = Postgres::with(&["-c", "fsync=on"]).await;
        return measure(&server.database().await, rows).await;
    }
    // Removed at the end, whatever it is.
    let folder = tempfile::tempdir_in(PathBuf::from(place))?;
    let file = folder.path().join("decnet.db");
    measure(&format!("sqlite://{}", file.display()), rows).await
}

async fn measure(url: &str, rows: i64) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let (log, bytes) = fill::fill(url, rows).await?;
    println!(
        "{rows} rows, {bytes} bytes, filled in {:?}\n",
        begun.elapsed()
    );

    println!("| question | median | longest | rows |\n|---|---|---|---|");
    for (name, filter) in questions(&log)? {
        ask(&log.store, name, &filter, None).await?;
    }
    let everything = DeliveryFilter::default();
    for (name, filter) in [
        ("page 1,000 of all", everything.clone()),
        (
            "page 1,000 of a large subscription",
            of_subscription(&log, 0),
        ),
        (
            "page 1,000 of the dead letters",
            of_status(DeliveryStatus::Dead),
        ),
    ] {
        let cursor = walk(&log.store, &filter).await?;
        ask(&log.store, name, &filter, Some(&cursor)).await?;
    }
    let middle = (log.begin.micros() + log.end.micros()) / 2;
    let middle: Cursor = format!("{middle}-{}", rows / 2).parse()?;
    ask(
        &log.store,
        "the page in the middle of all",
        &everything,
        Some(&middle),
    )
    .await?;
    others(&log).await?;
    sweep(&log).await?;
    log.store.close().await?;
    Ok(())
}

fn of_subscription(log: &Log, number: usize) -> DeliveryFilter {
    DeliveryFilter {
        subscription: Some(log.uuids[number].clone()),
        ..DeliveryFilter::default()
    }
}

fn of_status(status: DeliveryStatus) -> DeliveryFilter {
    DeliveryFilter {
        status: Some(status),
        ..DeliveryFilter::default()
    }
}

fn of_topic(pattern: &str) -> Result<DeliveryFilter, Box<dyn Error>> {
    Ok(DeliveryFilter {
        topic: Some(TopicPattern::parse(pattern)?),
        ..DeliveryFilter::default()
    })
}

/// First pages by every filter.
fn questions(log: &Log) -> Result<Vec<(&'static str, DeliveryFilter)>, Box<dyn Error>> {
    use DeliveryStatus::{Dead, Delivered, Retrying};
    let since = |hours: u64| Some(log.end - Duration::from_secs(hours * 3_600));
    let part = |since, until| DeliveryFilter {
        since,
        until,
        ..DeliveryFilter::default()
    };
    let with_status = |filter: DeliveryFilter, status| DeliveryFilter {
        status: Some(status),
        ..filter
    };
    Ok(vec![
        ("page 1 of all", DeliveryFilter::default()),
        ("a large subscription", of_subscription(log, 0)),
        (
            "a small subscription",
            of_subscription(log, fill::SUBSCRIPTIONS - 1),
        ),
        ("status retrying", of_status(Retrying)),
        ("status dead", of_status(Dead)),
        ("status delivered", of_status(Delivered)),
        (
            "a subscription's dead letters",
            with_status(of_subscription(log, 1), Dead),
        ),
        ("a topic", of_topic("attacker.session.kind-7")?),
        ("a rare topic", of_topic("canary.rare.hit")?),
        ("a pattern that matches nearly all", of_topic("attacker.>")?),
        (
            "a pattern that matches one in 1,000,000",
            of_topic("canary.>")?,
        ),
        ("a pattern that matches none", of_topic("ttp.>")?),
        (
            "a topic's dead letters",
            with_status(of_topic("attacker.session.kind-7")?, Dead),
        ),
        (
            "a large subscription's rare topic",
            DeliveryFilter {
                topic: of_topic("canary.rare.hit")?.topic,
                ..of_subscription(log, 0)
            },
        ),
        (
            "an event that is not there",
            DeliveryFilter {
                event_id: Some("f".repeat(33)),
                ..DeliveryFilter::default()
            },
        ),
        (
            "an error that none has",
            DeliveryFilter {
                error: Some("tls".into()),
                ..DeliveryFilter::default()
            },
        ),
        ("the last hour", part(since(1), None)),
        ("until six days ago", part(None, since(144))),
        ("an hour three days ago", part(since(73), since(72))),
        (
            "a small subscription's last hour",
            DeliveryFilter {
                since: since(1),
                ..of_subscription(log, fill::SUBSCRIPTIONS - 1)
            },
        ),
    ])
}

async fn ask(
    store: &Store,
    name: &str,
    filter: &DeliveryFilter,
    cursor: Option<&Cursor>,
) -> Result<(), Box<dyn Error>> {
    let mut took = Vec::new();
    let mut rows = 0;
    for _ in 0..TIMES {
        let begun = Instant::now();
        let page = store.deliveries(filter, cursor, PAGE).await?;
        took.push(begun.elapsed());
        rows = page.items.len();
    }
    tell(name, took, rows);
    Ok(())
}

fn tell(name: &str, mut took: Vec<Duration>, rows: usize) {
    took.sort_unstable();
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "| {name} | {} | {} | {rows} |",
        millis(median),
        millis(longest)
    );
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// Where page 1,000 begins, page by page.
async fn walk(store: &Store, filter: &DeliveryFilter) -> Result<Cursor, Box<dyn Error>> {
    let mut cursor = None;
    for _ in 1..DEEP_PAGE {
        let page = store.deliveries(filter, cursor.as_ref(), PAGE).await?;
        cursor = Some(page.next.ok_or("the log is too short")?);
    }
    cursor.ok_or_else(|| "the log is too short".into())
}

/// What else asks the log.
async fn others(log: &Log) -> Result<(), Box<dyn Error>> {
    let store = &log.store;
    let row = store
        .deliveries(&of_status(DeliveryStatus::Dead), None, 1)
        .await?;
    let row = row.items.into_iter().next().ok_or("no dead letter")?;
    let known = DeliveryFilter {
        event_id: Some(row.event_id.clone()),
        ..DeliveryFilter::default()
    };
    ask(store, "an event", &known, None).await?;
    let (mut shown, mut counted, mut due) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let begun = Instant::now();
        store.delivery(row.id).await?.ok_or("it is gone")?;
        shown.push(begun.elapsed());
        let begun = Instant::now();
        store.counts().await?;
        counted.push(begun.elapsed());
        let begun = Instant::now();
        store.due(UtcTime::now()).await?;
        due.push(begun.elapsed());
    }
    tell("one delivery with its attempts", shown, 1);
    tell("the counts of `GET /status`", counted, 1);
    tell("what is due (asked twice a second)", due, 0);
    Ok(())
}

/// Times commits of a recorder, first alone, then while retention takes an hour of the log.
async fn sweep(log: &Log) -> Result<(), Box<dyn Error>> {
    let mut next = 1 << 40;
    let (mut alone, begun) = (Vec::new(), Instant::now());
    while begun.elapsed() < UNDISTURBED {
        alone.push(write(log, &mut next).await?);
    }
    let sweeper = tokio::spawn({
        let (store, now) = (log.store.clone(), log.end);
        async move {
            let mut took = Vec::new();
            loop {
                let begun = Instant::now();
                let swept = store
                    .sweep(now, KEEP_DELIVERED, KEEP_DEAD, SWEEP_BATCH)
                    .await;
                took.push(begun.elapsed());
                if swept.is_ok_and(|swept| swept == SWEEP_BATCH) {
                    continue;
                }
                return took;
            }
        }
    });
    let mut beside = Vec::new();
    while !sweeper.is_finished() {
        beside.push(write(log, &mut next).await?);
    }
    let batches = sweeper.await?;
    println!("\n| retention | median | p99 | longest | count |\n|---|---|---|---|---|");
    for (name, mut took) in [
        ("a batch of 500 rows", batches),
        ("a commit of 50 outcomes without it", alone),
        ("a commit of 50 outcomes beside it", beside),
    ] {
        took.sort_unstable();
        let at = |share: usize| millis(took[(took.len() - 1) * share / 100]);
        let (median, p99, longest) = (at(50), at(99), at(100));
        println!("| {name} | {median} | {p99} | {longest} | {} |", took.len());
    }
    Ok(())
}

/// Commits a batch, then waits until the next is due.
async fn write(log: &Log, next: &mut u64) -> Result<Duration, Box<dyn Error>> {
    let batch: Vec<DeliveryRecord> = (*next..*next + BATCH)
        .map(|seq| rows::delivered(&log.uuids, seq, event_id(seq)))
        .collect();
    *next += BATCH;
    let begun = Instant::now();
    log.store.record(&batch).await?;
    let took = begun.elapsed();
    tokio::time::sleep(BATCH_EVERY.saturating_sub(took)).await;
    Ok(took)
}

/// Ids as scattered as those of real events.
fn event_id(seq: u64) -> String {
    let mixed = u128::from(seq).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    format!("{mixed:032x}")
}
