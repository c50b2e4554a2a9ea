//! `decnet` beside an existing DECNET: its broker, its database, its worker.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    task::JoinHandle,
    time::{interval, timeout},
};
use webhook_testkit::{Behaviour, Broker, DecnetWorker, Pace, Published, Receiver, Reloading};

use crate::{
    disk::quota::Quota,
    fixture,
    support::{PATIENCE, Scrape, Starter, data_dir, signal},
};

const NAME: &str = "decnet-webhook";
const CONTROL: &str = "system.webhook.control";
const HEALTH: &str = "system.webhook.health";

/// The worker beside DECNET, on its database; it takes over.
fn worker(dir: &Path, broker: &Broker) -> Starter {
    Starter::new("webhook", dir)
        .var("DECNET_BUS_SOCKET", broker.path().to_str().unwrap())
        .var("DECNET_WEBHOOK_TAKEOVER", "true")
}

async fn decnets_receiver(dir: &Path) -> Receiver {
    let receiver = Receiver::builder(Behaviour::ok())
        .secret(fixture::DECNET_SECRET)
        .start()
        .await;
    drop(fixture::make(
        &dir.join("decnet.db"),
        fixture::DECNET,
        &receiver.url(),
    ));
    receiver
}

async fn delivered(receiver: &Receiver, ids: &[String]) {
    receiver
        .wait_until(|log| ids.iter().all(|id| log.times(id) > 0), PATIENCE)
        .await;
}

#[tokio::test]
async fn events_of_a_decnet_broker_are_delivered_through_outages_and_ours_reach_it() {
    let dir = data_dir();
    let mut broker = Broker::start(dir.path().join("broker.sock")).await;
    let receiver = decnets_receiver(dir.path()).await;
    let mut worker = worker(dir.path(), &broker).start().await;
    let mut sent = Vec::new();
    for round in 0..3 {
        broker.wait_for_pattern(NAME, "attacker.>").await;
        broker.wait_for_pattern(NAME, CONTROL).await;
        let event = || broker.publish("attacker.observed", &json!({"round": round}));
        sent.extend((0..50).map(|_| event()));
        delivered(&receiver, &sent).await;
        broker.down().await;
        broker.up();
    }
    assert!(receiver.received().iter().all(|it| it.is_verified()));
    assert_eq!(receiver.log(|log| log.duplicates()), 0);
    let heartbeat = broker
        .wait_for_published(|it| it.topic == HEALTH && it.client == NAME)
        .await;
    assert_eq!(heartbeat.envelope["payload"]["worker"], "webhook");
    broker.wait_for_pattern(NAME, CONTROL).await;
    let page = Scrape::of(worker.url()).await;
    let feed = |name: &str| page.value(&format!("decnet_webhook_feed_{name}"), &[]);
    assert_eq!(feed("received_total"), sent.len() as f64);
    assert_eq!((feed("dropped_total"), feed("skipped_total")), (0.0, 0.0));
    assert_eq!(feed("outages_total"), 3.0);
    assert!(feed("forwarded_total") >= 1.0);

    // A subscription that is made here, by another process, has its pattern at the broker at once.
    let api_process = Starter::new("api", dir.path())
        .var("DECNET_BUS_SOCKET", broker.path().to_str().unwrap())
        .start()
        .await;
    let api = api_process.api().await;
    api.subscribe(
        "mail",
        &receiver.url(),
        fixture::DECNET_SECRET,
        &["email.>"],
    )
    .await;
    broker.wait_for_pattern(NAME, "email.>").await;
    let mail = broker.publish("email.received", &json!({}));
    delivered(&receiver, &[mail]).await;
    // What that process publishes is delivered here and known there.
    let own = api.publish("attacker.seen", json!({})).await;
    delivered(&receiver, std::slice::from_ref(&own)).await;
    broker
        .wait_for_published(|it| it.envelope["id"] == own.as_str())
        .await;
    broker
        .wait_for_published(|it| it.topic == "system.webhook.subscriptions_changed")
        .await;
    assert_eq!(receiver.log(|log| log.duplicates()), 0);

    // DECNET's master orders the worker to stop.
    broker.publish(CONTROL, &json!({"action": "stop"}));
    assert_eq!(
        worker.wait().await.code(),
        Some(0),
        "{:#?}",
        worker.log().all()
    );
}

#[tokio::test]
async fn a_worker_that_drains_still_hears_the_broker_and_tells_it() {
    const DEAD: &str = "system.webhook.dead";
    let dir = data_dir();
    let broker = Broker::start(dir.path().join("broker.sock")).await;
    let receiver = decnets_receiver(dir.path()).await;
    receiver.behave(Behaviour::status(404).after(Duration::from_secs(2)));
    let mut first = worker(dir.path(), &broker).start().await;
    broker.wait_for_pattern(NAME, "attacker.>").await;
    broker.wait_for_pattern(NAME, CONTROL).await;
    broker.publish("attacker.observed", &json!({}));
    receiver.wait_for(1, PATIENCE).await;
    signal(first.pid(), "TERM").await;
    first.log().wait_for("SIGTERM: stopping").await;
    receiver.behave(Behaviour::ok());
    let meanwhile = broker.publish("attacker.observed", &json!({}));
    assert!(first.wait().await.success());
    let told = broker.wait_for_published(|it| it.topic == DEAD).await;
    assert_eq!(told.envelope["payload"]["count"], 1);

    let mut second = worker(dir.path(), &broker).start().await;
    delivered(&receiver, &[meanwhile]).await;
    assert!(second.terminate().await.success());
}

/// The broker's protocol acknowledges nothing: what the journal cannot take has to wait here.
#[tokio::test]
async fn a_brokers_events_wait_for_a_journal_without_room() {
    let dir = data_dir();
    let broker = Broker::start(dir.path().join("broker.sock")).await;
    let receiver = decnets_receiver(dir.path()).await;
    let quota = Quota::of_files(dir.path());
    let mut worker = quota.start(worker(dir.path(), &broker)).await;
    broker.wait_for_pattern(NAME, "attacker.>").await;
    broker.wait_for_pattern(NAME, CONTROL).await;
    let first = broker.publish("attacker.observed", &json!({}));
    delivered(&receiver, &[first]).await;

    quota.fill_most(&worker);
    let publish = |n| broker.publish("attacker.observed", &json!({ "n": n }));
    let waiting: Vec<String> = (0..200).map(publish).collect();
    let mut looks = interval(Duration::from_millis(50));
    let feed = |page: &Scrape, name| page.value(&format!("decnet_webhook_feed_{name}"), &[]);
    let come = async {
        while feed(&Scrape::of(worker.url()).await, "received_total") < 201.0 {
            looks.tick().await;
        }
    };
    timeout(PATIENCE, come).await.expect("all of them come");
    assert_eq!(receiver.count(), 1, "none is sent before it is kept");

    quota.free(&worker);
    delivered(&receiver, &waiting).await;
    let page = Scrape::of(worker.url()).await;
    assert_eq!(feed(&page, "dropped_total"), 0.0);
    assert_eq!(receiver.log(|log| log.duplicates()), 0);
    assert!(worker.terminate().await.success());
}

#[tokio::test]
async fn without_a_broker_it_is_up_and_says_so() {
    let dir = data_dir();
    let mut broker = Broker::start(dir.path().join("broker.sock")).await;
    broker.down().await;
    let receiver = decnets_receiver(dir.path()).await;
    let mut decnet = worker(dir.path(), &broker).spawn();
    decnet
        .log()
        .wait_for("no connection to DECNET's broker")
        .await;
    let (status, lacks) = decnet.readiness().await;
    assert_eq!(status, 503);
    assert!(lacks.contains("DECNET's broker"), "{lacks}");
    broker.up();
    broker.wait_for_pattern(NAME, CONTROL).await;
    decnet.log().wait_for("connected to DECNET's broker").await;
    let event = broker.publish("attacker.observed", &json!({}));
    delivered(&receiver, &[event]).await;
    let lines = decnet.log().all();
    let warned = lines.iter().filter(|it| it.contains("no connection to"));
    assert_eq!(warned.count(), 1, "one warning an outage: {lines:#?}");
    assert!(decnet.terminate().await.success());
}

#[tokio::test]
async fn it_refuses_to_start_beside_decnets_worker() {
    let dir = data_dir();
    let broker = Broker::start(dir.path().join("broker.sock")).await;
    let receiver = decnets_receiver(dir.path()).await;
    let mut decnet = Starter::new("webhook", dir.path())
        .var(
            "DECNET_BUS_URL",
            &format!("unix://{}", broker.path().display()),
        )
        .spawn();
    broker.wait_for_pattern(NAME, HEALTH).await;
    decnet.log().wait_for("listening 35 s").await;
    broker.publish("attacker.observed", &json!({}));
    broker.publish(HEALTH, &json!({"worker": "webhook", "ts": 1}));
    assert_eq!(decnet.wait().await.code(), Some(1));
    decnet
        .log()
        .wait_for("another webhook worker is alive")
        .await;
    assert_eq!(receiver.count(), 0, "theirs delivers");
}

/// DECNET's worker, which ends in a tenth of the time once it is woken and never looks on its own.
const PACE: Pace = Pace {
    heartbeat: Duration::from_secs(30),
    timer: Duration::from_secs(600),
    reload: Duration::from_millis(100),
};

/// How late a busy machine may run a task that was woken.
const SLACK: Duration = Duration::from_millis(500);

/// A broker on which somebody publishes 200 events a second, DECNET's worker, and a receiver.
struct Cutover {
    dir: TempDir,
    broker: Arc<Broker>,
    receiver: Arc<Receiver>,
    publishing: JoinHandle<Vec<(String, Instant)>>,
    enough: Arc<AtomicBool>,
}

impl Cutover {
    async fn begin() -> Self {
        let dir = data_dir();
        let broker = Arc::new(Broker::start(dir.path().join("broker.sock")).await);
        let receiver = Arc::new(decnets_receiver(dir.path()).await);
        let enough = Arc::new(AtomicBool::new(false));
        let publishing = tokio::spawn({
            let (broker, enough) = (broker.clone(), enough.clone());
            async move {
                broker.wait_for_pattern("webhook", "attacker.>").await;
                let mut sent = Vec::new();
                let mut ticks = interval(Duration::from_millis(5));
                while !enough.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    let payload = json!({"n": sent.len()});
                    sent.push((
                        broker.publish("attacker.observed", &payload),
                        Instant::now(),
                    ));
                }
                sent
            }
        });
        Self {
            dir,
            broker,
            receiver,
            publishing,
            enough,
        }
    }

    async fn theirs(&self, reloading: Reloading) -> DecnetWorker {
        let receiver = Some(self.receiver.clone());
        let broker = self.broker.path();
        DecnetWorker::start(broker, "attacker.>", receiver, PACE, reloading).await
    }

    /// Until so many more have arrived.
    async fn more(&self, events: usize) {
        let so_far = self.receiver.count();
        self.receiver
            .wait_until(|log| log.len() >= so_far + events, PATIENCE)
            .await;
    }

    /// Ends the publishing. Every event has arrived; answers when those that came twice were sent.
    async fn end(self) -> Vec<Instant> {
        self.enough.store(true, Ordering::Relaxed);
        let sent = self.publishing.await.unwrap();
        // The stand-in does not sign, so its requests are refused as forged, but they came.
        let times = |log: &webhook_testkit::Log| {
            let mut times: BTreeMap<String, usize> = BTreeMap::new();
            for request in log.all() {
                *times
                    .entry(request.event_id().unwrap().to_owned())
                    .or_default() += 1;
            }
            times
        };
        // Counting ten thousand requests with each that comes would keep the receiver from taking them.
        let mut looks = interval(Duration::from_millis(500));
        let all = async {
            loop {
                looks.tick().await;
                let times = self.receiver.log(times);
                if times.len() >= sent.len() {
                    return times;
                }
            }
        };
        let Ok(times) = timeout(PATIENCE, all).await else {
            let times = self.receiver.log(times);
            let lost: Vec<usize> = (0..sent.len())
                .filter(|&n| !times.contains_key(&sent[n].0))
                .collect();
            panic!("{} of {} never came: {lost:?}", lost.len(), sent.len());
        };
        assert_eq!(times.len(), sent.len(), "what came twice has its one id");
        assert!(sent.iter().all(|(id, _)| (1..=2).contains(&times[id])));
        let doubled = sent.iter().filter(|(id, _)| times[id] == 2);
        doubled.map(|(_, at)| *at).collect()
    }
}

/// Where DECNET's worker takes nothing more once it is woken, every event published across the change
/// to ours arrives exactly once.
#[tokio::test]
async fn the_cutover_loses_and_doubles_nothing() {
    let cutover = Cutover::begin().await;
    let theirs = cutover.theirs(Reloading::Loses).await;
    cutover.more(100).await;
    let mut ours = worker(cutover.dir.path(), &cutover.broker).start().await;
    let by_them = theirs.ended().await;
    cutover.more(200).await;
    assert!(by_them.len() >= 100);
    assert_eq!(cutover.end().await.len(), 0);
    assert!(ours.terminate().await.success());
}

/// To our worker and back to DECNET's: nothing is lost either way. Twice comes what is published from
/// the order until theirs has ended, and while both run on the way back.
#[tokio::test]
async fn the_cutover_and_the_way_back_lose_nothing() {
    let cutover = Cutover::begin().await;
    let theirs = cutover.theirs(Reloading::Delivers).await;
    cutover.more(100).await;
    let orders = |it: &Published| it.envelope["payload"]["action"] == "stop";
    let ordering = async {
        cutover.broker.wait_for_published(orders).await;
        Instant::now()
    };
    let starting = worker(cutover.dir.path(), &cutover.broker).start();
    let (mut ours, ordered) = tokio::join!(starting, ordering);
    let by_them = theirs.ended().await;
    let over = Instant::now();
    assert!(by_them.len() >= 100);
    ours.log()
        .wait_for("no other webhook worker was heard")
        .await;

    // Back: theirs is started first, and heard; then ours is stopped.
    let back = Instant::now();
    let theirs = cutover.theirs(Reloading::Delivers).await;
    ours.log().wait_for("another webhook worker is alive").await;
    cutover.more(100).await;
    assert!(ours.terminate().await.success());
    let gone = Instant::now();
    cutover.more(200).await;
    assert!(!theirs.is_over(), "nobody ordered it to stop");
    let doubled = cutover.end().await;
    // Between the order's way through the broker and our seeing it there.
    let ordered = ordered - SLACK;
    let strays = doubled
        .iter()
        .filter(|at| !(ordered..=over).contains(*at) && !(back..=gone).contains(*at));
    assert_eq!(strays.count(), 0, "of {}", doubled.len());
}

/// DECNET's worker, started beside ours, makes everything arrive twice: that is said everywhere.
#[tokio::test]
async fn decnets_worker_beside_ours_is_told_of() {
    let dir = data_dir();
    let broker = Broker::start(dir.path().join("broker.sock")).await;
    let _receiver = decnets_receiver(dir.path()).await;
    let mut ours = worker(dir.path(), &broker).start().await;
    broker.wait_for_pattern(NAME, HEALTH).await;
    let api_process = Starter::new("api", dir.path())
        .var("DECNET_BUS_SOCKET", broker.path().to_str().unwrap())
        .start()
        .await;
    let api = api_process.api().await;
    let named = async || {
        let (status, body) = api.ask(Method::GET, "/api/v1/status", None).await;
        assert_eq!(status, 200);
        body["other_worker"].clone()
    };
    assert_eq!(named().await, Value::Null);

    let theirs =
        DecnetWorker::start(broker.path(), "attacker.>", None, PACE, Reloading::Delivers).await;
    ours.log().wait_for("another webhook worker is alive").await;
    let (status, lacks) = ours.readiness().await;
    assert_eq!(status, 503);
    assert!(lacks.contains("being the only webhook worker"), "{lacks}");
    let page = Scrape::of(ours.url()).await;
    assert!(page.value("decnet_webhook_foreign_heartbeats_total", &[]) >= 1.0);
    let other = named().await;
    assert!(other["last_heartbeat"].is_string(), "{other}");
    drop(theirs);
    assert!(ours.terminate().await.success());
}
