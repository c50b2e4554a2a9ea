//! A hundred subscriptions, thirty of them to receivers that hang, reset, trickle or answer without
//! end: what the other seventy notice of it. It measures time, so it is a test binary of its own,
//! beside which no other test runs.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::time::interval;
use webhook_testkit::{Behaviour, Receiver, Reconciler, long_or_short};

/// Starting and ending servers, as the other tests of the binary do.
#[path = "../it"]
mod it {
    #[expect(dead_code, unused_imports, reason = "the other tests use the rest")]
    pub(crate) mod support;
}

use it::support::{Decnet, Listen, PATIENCE, data_dir};

const HEALTHY: usize = 70;
/// For each way to be bad; there are five.
const BAD: usize = 6;
/// Creates that one token may make in a minute.
const CREATES: usize = 20;
/// Events a second, each for every subscription: as much as two cores do with ease, with the
/// receivers beside them. A debug build needs twice the time for each.
const RATE: u32 = if cfg!(debug_assertions) { 10 } else { 20 };
/// The promise: the slowest delivery to a healthy receiver stays under this.
const SLOWEST: Duration = Duration::from_secs(1);
/// And resident memory under this, whatever the receivers do.
const MEMORY: u64 = 150 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn seventy_do_not_notice_thirty_bad_neighbours() {
    let dir = data_dir();
    let mut decnet = Decnet::serve(dir.path()).await;
    let mut api = decnet.api().await;
    let healthy = Receiver::builder(Behaviour::ok())
        .secret(Listen::SECRET)
        .start()
        .await;
    let trickle = Behaviour::Trickle {
        status: 200,
        every: Duration::from_millis(50),
        bytes: 10_000,
    };
    let mut bad = Vec::new();
    for (name, behaviour) in [
        ("hanging", Behaviour::HangBeforeAnswer),
        ("stalling", Behaviour::StallMidBody),
        ("resetting", Behaviour::ResetBeforeAnswer),
        ("trickling", trickle),
        ("endless", Behaviour::EndlessChunked),
    ] {
        bad.push((name, Receiver::start(behaviour).await));
    }
    let names = bad
        .iter()
        .flat_map(|(name, receiver)| (0..BAD).map(move |n| (format!("{name}-{n}"), receiver)));
    let names = names.chain((0..HEALTHY).map(|n| (healthy_name(n), &healthy)));
    for (n, (name, receiver)) in names.enumerate() {
        if n % CREATES == 0 {
            api = decnet.api().await;
        }
        let url = receiver.url_of(&format!("/{name}"));
        api.subscribe(&name, &url, Listen::SECRET, &["attacker.>"])
            .await;
    }

    let seconds = long_or_short(60, 10);
    let mut published = HashMap::new();
    let mut reconciler = Reconciler::new();
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    for _ in 0..RATE * seconds {
        ticks.tick().await;
        let at = Instant::now();
        let id = api.publish("attacker.observed", json!({})).await;
        (0..HEALTHY).for_each(|n| reconciler.expect(&format!("/{}", healthy_name(n)), &id));
        published.insert(id, at);
    }
    let all = HEALTHY * published.len();
    let got = healthy.wait_for(all, PATIENCE).await;
    let mut took: Vec<Duration> = got
        .iter()
        .map(|delivery| delivery.at - published[delivery.event_id().unwrap_or_default()])
        .collect();
    took.sort();
    for delivery in &got {
        reconciler.receive_all(&delivery.path, [delivery]);
    }
    let memory = peak_memory(decnet.pid());
    let (slowest, p99) = (took[took.len() - 1], took[took.len() * 99 / 100]);
    println!(
        "{}; p99 {p99:?}, slowest {slowest:?}, {} MiB at most",
        reconciler.report(),
        memory >> 20
    );
    reconciler.report().assert_exact();
    assert!(bad.iter().all(|(_, receiver)| receiver.count() >= BAD));
    assert!(slowest < SLOWEST, "the slowest took {slowest:?}");
    assert!(memory < MEMORY, "{memory} bytes");
    decnet.kill().await;
}

fn healthy_name(n: usize) -> String {
    format!("healthy-{n}")
}

/// The most memory a process ever had resident, in bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok())
        .expect("a size")
        << 10
}
