//! Draining a broker that is like DECNET's, and one that is worse.

use std::time::Duration;

use serde_json::json;
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use webhook_bus::{Begin, BrokerFeed, Bus, FeedConfig, FeedStatus, Role, Watch};
use webhook_model::TopicPattern;
use webhook_testkit::{Broker, DecnetWorker, Pace, Reloading};

use crate::support::{open, pattern, publication};

const NAME: &str = "decnet-webhook";
const CONTROL: &str = "system.webhook.control";
const CHANGED: &str = "system.webhook.subscriptions_changed";
const HEALTH: &str = "system.webhook.health";

struct Rig {
    _dir: tempfile::TempDir,
    broker: Broker,
    bus: Bus,
    journalled: Watch,
    patterns: watch::Sender<Vec<TopicPattern>>,
    status: FeedStatus,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

fn patterns(texts: &[&str]) -> Vec<TopicPattern> {
    texts.iter().map(|text| pattern(text)).collect()
}

impl Rig {
    async fn start(begin: Begin, wanted: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::start(dir.path().join("broker.sock")).await;
        let bus = open(dir.path(), Role::Worker).await;
        let journalled = bus.watch(&pattern(">")).await.unwrap();
        let config = FeedConfig {
            begin,
            ..FeedConfig::new(broker.path())
        };
        let feed = BrokerFeed::new(&bus, config).await.unwrap();
        let status = feed.status();
        let (patterns, wanted_patterns) = watch::channel(patterns(wanted));
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(feed.run(wanted_patterns, shutdown.clone()));
        Self {
            _dir: dir,
            broker,
            bus,
            journalled,
            patterns,
            status,
            shutdown,
            running,
        }
    }

    /// The ids of the next events in the journal.
    async fn next_ids(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let message = self.journalled.next().await.unwrap();
            ids.push(message.event().unwrap().id.as_str().to_owned());
        }
        ids
    }

    async fn stop(self) -> FeedStatus {
        self.shutdown.cancel();
        self.running.await.unwrap();
        self.bus.close().await.unwrap();
        self.status
    }
}

#[tokio::test]
async fn events_keep_what_the_envelope_says_and_come_once() {
    let mut rig = Rig::start(Begin::AtOnce, &["attacker.>", "attacker.*", CONTROL]).await;
    rig.broker.wait_for_pattern(NAME, CONTROL).await;
    let sent: Vec<String> = (0..50)
        .map(|number| {
            rig.broker
                .publish("attacker.observed", &json!({"number": number}))
        })
        .collect();
    rig.broker.publish("decky.unwanted", &json!({}));
    let last = rig.broker.publish("attacker.last", &json!({}));
    assert_eq!(rig.next_ids(50).await, sent);
    let message = rig.journalled.next().await.unwrap();
    let event = message.event().unwrap();
    assert_eq!(event.id.as_str(), last);
    assert_eq!(event.topic.as_str(), "attacker.last");
    let body = String::from_utf8(event.body().to_vec()).unwrap();
    assert!(body.contains("2025-04-18T"), "the broker's time: {body}");
    let status = rig.stop().await;
    assert_eq!((status.counts().received, status.counts().dropped), (51, 0));
}

#[tokio::test]
async fn orders_are_never_passed_on_to_the_broker() {
    let rig = Rig::start(Begin::AtOnce, &["attacker.>", CONTROL]).await;
    rig.broker.wait_for_pattern(NAME, CONTROL).await;
    let topics = [
        "system.mutator.control",
        CONTROL,
        "system.mutator.health",
        "decky.web-1.mutate_request",
        "system.webhook.health",
    ];
    rig.bus
        .publish(topics.map(publication).to_vec())
        .await
        .unwrap();
    rig.broker
        .wait_for_published(|it| it.topic == "system.webhook.health")
        .await;
    let came: Vec<String> = (rig.broker.published().into_iter())
        .map(|it| it.topic)
        .collect();
    assert_eq!(came, ["system.webhook.health"]);
    rig.stop().await;
}

#[tokio::test]
async fn what_is_published_here_reaches_the_broker_and_does_not_come_back() {
    let mut rig = Rig::start(Begin::AtOnce, &[">", CONTROL]).await;
    rig.broker.wait_for_pattern(NAME, CONTROL).await;
    let own = publication("system.webhook.tripped");
    rig.bus.publish(vec![own.clone()]).await.unwrap();
    let forwarded = rig
        .broker
        .wait_for_published(|it| it.topic == "system.webhook.tripped")
        .await;
    assert_eq!(forwarded.client, NAME);
    let foreign = rig.broker.publish("attacker.observed", &json!({}));
    let ids = rig.next_ids(2).await;
    assert_eq!(forwarded.envelope["id"], ids[0].as_str());
    assert_eq!(ids[1], foreign);
    // The event that came off the broker is not sent back to it.
    assert_eq!(rig.broker.published().len(), 1);
    assert_eq!(rig.stop().await.counts().forwarded, 1);
}

#[tokio::test]
async fn what_was_published_before_the_end_reaches_the_broker() {
    const LAST: usize = 200;
    let rig = Rig::start(Begin::AtOnce, &["attacker.>", CONTROL]).await;
    rig.broker.wait_for_pattern(NAME, CONTROL).await;
    let batch = (0..LAST).map(|n| publication(&format!("system.webhook.n{n}")));
    rig.bus.publish(batch.collect()).await.unwrap();
    rig.shutdown.cancel();
    rig.running.await.unwrap();
    let last = format!("system.webhook.n{}", LAST - 1);
    rig.broker.wait_for_published(|it| it.topic == last).await;
    let topics: Vec<String> = rig
        .broker
        .published()
        .into_iter()
        .map(|it| it.topic)
        .collect();
    let all: Vec<String> = (0..LAST).map(|n| format!("system.webhook.n{n}")).collect();
    assert_eq!(topics, all);
    assert_eq!(rig.status.counts().forwarded, LAST as u64);
    rig.bus.close().await.unwrap();
}

#[tokio::test]
async fn what_an_outage_left_out_is_counted_once() {
    // The feed lags behind by 1,024 at most.
    const MORE: usize = 2_048;
    let mut rig = Rig::start(Begin::AtOnce, &["attacker.>", CONTROL]).await;
    rig.broker.wait_for_pattern(NAME, CONTROL).await;
    rig.broker.down().await;
    let batch = (0..MORE).map(|_| publication("decky.d1.state"));
    rig.bus.publish(batch.collect()).await.unwrap();
    let mut skipped = Vec::new();
    for round in ["one", "two"] {
        rig.broker.up();
        rig.broker.wait_for_pattern(NAME, CONTROL).await;
        let topic = format!("system.{round}");
        rig.bus.publish(vec![publication(&topic)]).await.unwrap();
        rig.broker.wait_for_published(|it| it.topic == topic).await;
        skipped.push(rig.status.counts().skipped);
        rig.broker.down().await;
    }
    assert!(skipped[0] > 0 && skipped[0] == skipped[1], "{skipped:?}");
    rig.stop().await;
}

#[tokio::test]
async fn a_new_union_is_subscribed_before_the_old_one_is_dropped() {
    let mut rig = Rig::start(Begin::AtOnce, &["attacker.*", "email.>", CONTROL]).await;
    rig.broker.wait_for_pattern(NAME, CONTROL).await;
    let mut sent = Vec::new();
    // Each change still covers what is published all the while.
    for round in 0..20 {
        let (new, old) = if round % 2 == 0 {
            ("attacker.>", "attacker.*")
        } else {
            ("attacker.*", "attacker.>")
        };
        rig.patterns
            .send_replace(patterns(&[new, "email.>", CONTROL]));
        for _ in 0..20 {
            sent.push(rig.broker.publish("attacker.observed", &json!({})));
            tokio::task::yield_now().await;
        }
        rig.broker
            .wait_for_patterns(NAME, &[new, "email.>", CONTROL])
            .await;
        let said = rig.broker.said(NAME);
        let end = &said[said.len() - 2..];
        assert_eq!(end, [format!("SUB {new}"), format!("UNSUB {old}")]);
    }
    assert_eq!(rig.next_ids(sent.len()).await, sent);
    rig.stop().await;
}

#[tokio::test]
async fn a_broker_that_drops_and_cuts_frames_is_found_again() {
    let mut rig = Rig::start(Begin::AtOnce, &["attacker.>", CONTROL]).await;
    for round in 0..3 {
        rig.broker.wait_for_pattern(NAME, CONTROL).await;
        let before = rig.broker.publish("attacker.before", &json!({}));
        assert_eq!(rig.next_ids(1).await, [before]);
        if round == 1 {
            rig.broker.send_half();
        }
        rig.broker.hang_up();
        // Gone, before it may count as back.
        rig.broker.wait_for_connections(round + 2).await;
    }
    rig.broker.wait_for_pattern(NAME, CONTROL).await;
    let after = rig.broker.publish("attacker.after", &json!({}));
    assert_eq!(rig.next_ids(1).await, [after], "half an event is none");
    assert_eq!(rig.stop().await.counts().outages, 3);
}

#[tokio::test]
async fn an_outage_ends_within_two_seconds_with_the_union_first() {
    let mut rig = Rig::start(Begin::AtOnce, &["attacker.>", CONTROL]).await;
    rig.broker.wait_for_pattern(NAME, CONTROL).await;
    let event = rig.broker.publish("attacker.before", &json!({}));
    assert_eq!(rig.next_ids(1).await, [event]);
    rig.broker.down().await;
    // Meanwhile the union changes, and an event is published here.
    rig.patterns
        .send_replace(patterns(&["attacker.>", "email.>", CONTROL]));
    rig.bus
        .publish(vec![publication("decky.d1.state")])
        .await
        .unwrap();
    rig.next_ids(1).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    rig.broker.up();
    let back = rig
        .broker
        .wait_for_patterns(NAME, &["attacker.>", "email.>", CONTROL]);
    tokio::time::timeout(Duration::from_secs(2), back)
        .await
        .expect("back within 2 s");
    let event = rig.broker.publish("email.after", &json!({}));
    assert_eq!(rig.next_ids(1).await, [event]);
    rig.broker
        .wait_for_published(|it| it.topic == "decky.d1.state")
        .await;
    assert_eq!(rig.stop().await.counts().outages, 1);
}

#[tokio::test]
async fn a_silent_broker_is_kept_and_a_frame_that_does_not_end_is_not() {
    let mut rig = Rig::start(Begin::AtOnce, &["attacker.>", CONTROL]).await;
    rig.broker.wait_for_pattern(NAME, CONTROL).await;
    // Longer than a frame may pause.
    tokio::time::sleep(Duration::from_secs(11)).await;
    let event = rig.broker.publish("attacker.observed", &json!({}));
    assert_eq!(rig.next_ids(1).await, [event]);
    assert_eq!(rig.broker.connections(), 1);
    rig.broker.send_half();
    rig.broker.wait_for_connections(2).await;
    rig.broker.wait_for_pattern(NAME, CONTROL).await;
    let event = rig.broker.publish("attacker.observed", &json!({}));
    assert_eq!(rig.next_ids(1).await, [event]);
    rig.stop().await;
}

#[tokio::test]
async fn what_is_no_event_stops_nothing() {
    let mut rig = Rig::start(Begin::AtOnce, &["attacker.>", CONTROL]).await;
    rig.broker.wait_for_pattern(NAME, CONTROL).await;
    rig.broker
        .send_raw(b"PING\n\0\0\0\0EVT not..a.topic\n\0\0\0\x02{}");
    // No envelope, but an event that was sent: it becomes a dead letter, not nothing.
    rig.broker.send_raw(b"EVT attacker.odd\n\0\0\0\x03oh!");
    let event = rig.broker.publish("attacker.observed", &json!({}));
    let odd = rig.journalled.next().await.unwrap();
    assert!(odd.event().is_err());
    assert_eq!(&odd.bytes()[..], b"oh!");
    assert_eq!(rig.next_ids(1).await, [event]);
    assert_eq!(rig.broker.connections(), 1);
    rig.stop().await;
}

/// How the stand-in for DECNET's worker behaves, a hundred times as fast.
const PACE: Pace = Pace {
    heartbeat: Duration::from_millis(300),
    timer: Duration::from_millis(600),
    reload: Duration::from_millis(10),
};

struct Takeover {
    _dir: tempfile::TempDir,
    broker: Broker,
    journalled: Watch,
    status: FeedStatus,
    _patterns: watch::Sender<Vec<TopicPattern>>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Takeover {
    async fn prepare() -> (tempfile::TempDir, Broker) {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::start(dir.path().join("broker.sock")).await;
        (dir, broker)
    }

    async fn begin(dir: tempfile::TempDir, broker: Broker) -> Self {
        let bus = open(dir.path(), Role::Worker).await;
        let journalled = bus.watch(&pattern("attacker.>")).await.unwrap();
        let config = FeedConfig {
            begin: Begin::AfterStop,
            silence: PACE.heartbeat * 2,
            ..FeedConfig::new(broker.path())
        };
        let feed = BrokerFeed::new(&bus, config).await.unwrap();
        let status = feed.status();
        let (_patterns, wanted) =
            watch::channel(patterns(&["attacker.>", CONTROL, CHANGED, HEALTH]));
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(feed.run(wanted, shutdown.clone()));
        Self {
            _dir: dir,
            broker,
            journalled,
            status,
            _patterns,
            shutdown,
            running,
        }
    }

    fn stops(&self) -> usize {
        let published = self.broker.published();
        let stops = published
            .iter()
            .filter(|it| it.envelope["payload"]["action"] == "stop");
        stops.count()
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.running.await.unwrap();
    }
}

/// What it is woken for it no longer takes: each event once, theirs before ours.
#[tokio::test]
async fn a_takeover_begins_with_the_first_event_after_the_order() {
    let (dir, broker) = Takeover::prepare().await;
    let pace = Pace {
        timer: Duration::from_secs(60),
        ..PACE
    };
    let theirs =
        DecnetWorker::start(broker.path(), "attacker.>", None, pace, Reloading::Loses).await;
    broker.wait_for_pattern("webhook", "attacker.>").await;
    let mut takeover = Takeover::begin(dir, broker).await;
    let mut connected = takeover.status.connected();
    let mut sent = Vec::new();
    while !*connected.borrow_and_update() {
        sent.push(takeover.broker.publish("attacker.observed", &json!({})));
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        sent.push(takeover.broker.publish("attacker.observed", &json!({})));
    }
    // Woken in the same write, it does not wait for its timer.
    let mut all = theirs.ended().await;
    while all.len() < sent.len() {
        let message = takeover.journalled.next().await.unwrap();
        all.push(message.event().unwrap().id.as_str().to_owned());
    }
    assert_eq!(all, sent, "each once, theirs before ours");
    let published = takeover.broker.published();
    let orders: Vec<&str> = (published.iter())
        .filter(|it| it.client == "decnet-takeover" && it.envelope["type"] != "listen")
        .map(|it| it.topic.as_str())
        .collect();
    assert_eq!(orders, [CHANGED, CONTROL]);
    takeover.end().await;
}

/// One that is started again, as systemd does it, is heard and ordered again.
#[tokio::test]
async fn a_worker_that_is_heard_after_the_order_is_ordered_again() {
    let (dir, broker) = Takeover::prepare().await;
    let takeover = Takeover::begin(dir, broker).await;
    let mut connected = takeover.status.connected();
    connected.wait_for(|connected| *connected).await.unwrap();
    assert_eq!(takeover.stops(), 1);
    let path = takeover.broker.path();
    let again = DecnetWorker::start(path, "attacker.>", None, PACE, Reloading::Delivers).await;
    timeout(Duration::from_secs(30), again.ended())
        .await
        .expect("it is ordered to stop");
    assert!(takeover.stops() >= 2);
    // Neither order is one for us.
    assert!(!takeover.running.is_finished());
    takeover.end().await;
}
