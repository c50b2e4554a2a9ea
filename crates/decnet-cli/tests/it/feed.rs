//! `decnet` beside an existing DECNET: its broker, its database, its worker.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::{interval, timeout},
};
use webhook_testkit::{Behaviour, Broker, Receiver};

use crate::{
    disk::quota::Quota,
    fixture,
    support::{Decnet, PATIENCE, Scrape, Starter, data_dir, signal},
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

/// Every event published across the change from DECNET's worker to ours arrives exactly once.
#[tokio::test]
async fn the_cutover_loses_and_doubles_nothing() {
    let dir = data_dir();
    let broker = Arc::new(Broker::start(dir.path().join("broker.sock")).await);
    let receiver = Arc::new(decnets_receiver(dir.path()).await);
    let theirs = tokio::spawn(decnets_worker(broker.path().to_owned(), receiver.clone()));
    broker.wait_for_pattern("webhook", "attacker.>").await;
    let publishing = tokio::spawn({
        let broker = broker.clone();
        async move {
            let mut sent = Vec::new();
            let mut ticks = tokio::time::interval(Duration::from_millis(2));
            loop {
                ticks.tick().await;
                sent.push(broker.publish("attacker.observed", &json!({"n": sent.len()})));
                // Until long after theirs has gone.
                let stops = broker.published();
                let stopped = stops
                    .iter()
                    .any(|it| it.envelope["payload"]["action"] == "stop");
                if stopped && sent.len() % 500 == 0 {
                    return sent;
                }
            }
        }
    });
    let mut ours: Decnet = worker(dir.path(), &broker).start().await;
    let by_them = theirs.await.unwrap();
    let sent = publishing.await.unwrap();
    // The stand-in does not sign, so its requests are refused as forged, but they came.
    receiver
        .wait_until(|log| log.len() >= sent.len(), PATIENCE)
        .await;
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for request in receiver.received() {
        *times
            .entry(request.event_id().unwrap().to_owned())
            .or_default() += 1;
    }
    let doubled: Vec<_> = times.iter().filter(|(_, count)| **count > 1).collect();
    assert_eq!(doubled, []);
    assert_eq!(times.len(), sent.len());
    assert!(
        by_them > 0 && by_them < sent.len(),
        "{by_them} of {}",
        sent.len()
    );
    assert!(ours.terminate().await.success());
}

/// A stand-in for DECNET's worker: it makes itself heard and delivers until it is told to stop.
async fn decnets_worker(path: std::path::PathBuf, receiver: Arc<Receiver>) -> usize {
    let mut stream = UnixStream::connect(path).await.unwrap();
    let mut say = Vec::new();
    let heartbeat = json!({"v": 1, "type": "health", "payload": {"worker": "webhook", "ts": 1}});
    for (line, body) in [
        ("HELLO webhook".to_owned(), String::new()),
        (format!("SUB {CONTROL}"), String::new()),
        ("SUB attacker.>".to_owned(), String::new()),
        (format!("PUB {HEALTH}"), heartbeat.to_string()),
    ] {
        say.extend_from_slice(line.as_bytes());
        say.push(b'\n');
        say.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
        say.extend_from_slice(body.as_bytes());
    }
    stream.write_all(&say).await.unwrap();
    let mut delivered = 0;
    loop {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.push(stream.read_u8().await.unwrap());
        }
        let mut body = vec![0; stream.read_u32().await.unwrap() as usize];
        stream.read_exact(&mut body).await.unwrap();
        let event: Value = serde_json::from_slice(&body).unwrap();
        if line == format!("EVT {CONTROL}\n").into_bytes() {
            if event["payload"]["action"] == "stop" {
                return delivered;
            }
            continue;
        }
        let id = event["id"].as_str().unwrap();
        receiver
            .post_raw("/", &[("x-decnet-event-id", id)], &body)
            .await;
        delivered += 1;
    }
}
