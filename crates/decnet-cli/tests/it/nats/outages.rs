//! How soon it goes on after the bus was away, and how little it says meanwhile.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{interval, sleep},
};
use tokio_util::sync::CancellationToken;
use webhook_testkit::{Behaviour, NatsServer, Receiver};

use crate::support::{Api, Decnet, Listen, PATIENCE, Starter, data_dir};

/// Pause between two publications.
const PACE: Duration = Duration::from_millis(50);
/// After an outage of up to 30 s it goes on within this time.
const SOON: Duration = Duration::from_secs(2);

/// The bus's own, and one of what it stops: events that are refused, or the heartbeat.
const WARNINGS: usize = 2;

struct Outage {
    lasts: Duration,
    /// DECNET_WEBHOOK_BUS_RECONNECT_SECS.
    longest_pause: Duration,
    over_within: Duration,
}

/// Publishes until told to stop, whatever becomes of it; gives the ids that were promised.
fn publisher(api: Api, stop: CancellationToken) -> JoinHandle<Vec<String>> {
    tokio::spawn(async move {
        let mut promised = Vec::new();
        let mut ticks = interval(PACE);
        while !stop.is_cancelled() {
            ticks.tick().await;
            let event = json!({"topic": "attacker.observed", "payload": {}});
            let (status, body) = api.ask(Method::POST, "/api/v1/events", Some(event)).await;
            match status {
                202 => promised.push(body["ids"][0].as_str().expect("an id").to_owned()),
                503 => {}
                _ => panic!("{status}: {body}"),
            }
        }
        promised
    })
}

/// How many lines of a log have this in them.
fn lines(decnet: &Decnet, part: &str) -> usize {
    let all = decnet.log().all();
    all.iter().filter(|line| line.contains(part)).count()
}

async fn is_over_in_time(outage: Outage) {
    let dir = data_dir();
    let mut server = NatsServer::start().await;
    let pause = outage.longest_pause.as_secs().to_string();
    let start = |command: &str| {
        Starter::new(command, dir.path())
            .var("DECNET_BUS_URL", &server.url())
            .var("DECNET_WEBHOOK_BUS_RECONNECT_SECS", &pause)
            .start()
    };
    let mut processes = [start("api").await, start("webhook").await];
    let api = processes[0].api().await;
    let receiver = Receiver::builder(Behaviour::ok())
        .secret(Listen::SECRET)
        .start()
        .await;
    api.subscribe("siem", &receiver.url(), Listen::SECRET, &["attacker.>"])
        .await;
    let stop = CancellationToken::new();
    let publishing = publisher(api, stop.clone());
    receiver.wait_for(20, PATIENCE).await;
    let before = processes.each_ref().map(|it| it.log().all().len());

    server.kill();
    // How long the bus is away.
    sleep(outage.lasts).await;
    server.start_again().await;
    let back = Instant::now();
    let old = receiver.count();
    receiver.wait_for(old + 20, PATIENCE * 2).await;
    let first = receiver.received()[old].at.duration_since(back);
    eprintln!("after {:?} it went on within {first:?}", outage.lasts);
    assert!(first < outage.over_within, "{first:?}");

    stop.cancel();
    let promised = publishing.await.expect("the publisher does not panic");
    receiver
        .wait_until(|log| promised.iter().all(|id| log.times(id) > 0), PATIENCE)
        .await;
    for (decnet, before) in processes.iter_mut().zip(before) {
        let said = decnet.log().all().split_off(before);
        assert_eq!(
            lines(decnet, "the connection to NATS was lost"),
            1,
            "{said:#?}"
        );
        assert_eq!(lines(decnet, "NATS is back"), 1, "{said:#?}");
        let warned = said.iter().filter(|it| !it.contains(" INFO ")).count();
        assert!(warned <= WARNINGS, "{said:#?}");
        assert!(decnet.terminate().await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_seconds_are_over_within_two() {
    is_over_in_time(Outage {
        lasts: Duration::from_secs(10),
        longest_pause: Duration::from_secs(60),
        over_within: SOON,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "an outage of 30 s: cargo xtask test --full"]
async fn half_a_minute_is_over_within_two_seconds() {
    is_over_in_time(Outage {
        lasts: Duration::from_secs(30),
        longest_pause: Duration::from_secs(60),
        over_within: SOON,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "an outage of 90 s: cargo xtask test --full"]
async fn a_minute_and_a_half_is_over_within_one_pause() {
    let longest_pause = Duration::from_secs(8);
    is_over_in_time(Outage {
        lasts: Duration::from_secs(90),
        longest_pause,
        over_within: longest_pause + SOON,
    })
    .await;
}
