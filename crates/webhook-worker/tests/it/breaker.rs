use std::time::{Duration, Instant};

use webhook_bus::Watch;
use webhook_model::{Settings, State, TopicPattern};
use webhook_store::SubscriptionPatch;
use webhook_testkit::{Behaviour, Receiver, Reconciler};
use webhook_worker::WorkerConfig;

use crate::rig::{PATIENCE, Rig};

fn quick() -> WorkerConfig {
    WorkerConfig {
        cool_down: Duration::from_millis(500),
        ..WorkerConfig::default()
    }
}

fn slow() -> WorkerConfig {
    WorkerConfig {
        cool_down: Duration::from_secs(300),
        ..WorkerConfig::default()
    }
}

async fn heard(watch: &mut Watch) -> serde_json::Value {
    let message = tokio::time::timeout(PATIENCE, watch.next())
        .await
        .expect("it is announced");
    let event = message.expect("the bus is open").event().unwrap();
    serde_json::from_str(event.payload.as_str()).unwrap()
}

async fn watch(rig: &Rig, topic: &str) -> Watch {
    rig.bus
        .watch(&TopicPattern::parse(topic).unwrap())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn five_failures_trip_and_a_probe_recovers_with_the_whole_backlog() {
    let mut rig = Rig::new().await;
    rig.start_with(quick());
    let mut tripped = watch(&rig, "system.webhook.tripped").await;
    let mut recovered = watch(&rig, "system.webhook.recovered").await;
    let receiver = Receiver::start(Behaviour::status(404)).await;
    let subscription = rig
        .subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    for _ in 0..5 {
        rig.publish("attacker.observed").await;
    }
    let said = heard(&mut tripped).await;
    assert_eq!(said["subscription"], subscription.uuid);
    let row = rig.store.get(&subscription.uuid).await.unwrap().unwrap();
    assert!(
        matches!(row.state, State::Tripped { .. }),
        "{:?}",
        row.state
    );

    // What comes now waits on the bus; the probes go on by themselves.
    let mut reconciler = Reconciler::new();
    for id in rig.publish_many("attacker.observed", 200).await {
        reconciler.expect("siem", &id);
    }
    let refused = receiver.count();
    receiver.wait_for(refused + 1, PATIENCE).await;
    receiver.behave(Behaviour::ok());
    heard(&mut recovered).await;
    receiver
        .wait_until(|log| log.unique() == 200, PATIENCE)
        .await;
    let row = rig.store.get(&subscription.uuid).await.unwrap().unwrap();
    assert_eq!((row.state, row.consecutive_failures), (State::Active, 0));
    rig.drain().await;
    reconciler.receive_all("siem", &receiver.received());
    reconciler.report().assert_exact();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_worker_goes_on_probing() {
    let mut rig = Rig::new().await;
    rig.start_with(quick());
    let mut tripped = watch(&rig, "system.webhook.tripped").await;
    let receiver = Receiver::start(Behaviour::status(400)).await;
    rig.subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    rig.publish_many("attacker.observed", 20).await;
    heard(&mut tripped).await;
    rig.drain().await;
    let answered = receiver.count();
    receiver.behave(Behaviour::ok());
    rig.start_with(quick());
    receiver.wait_for(20, PATIENCE).await;
    assert!(answered >= 5);
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gone_is_left_to_the_operator() {
    let mut rig = Rig::new().await;
    rig.start_with(quick());
    let mut tripped = watch(&rig, "system.webhook.tripped").await;
    let receiver =
        Receiver::start(Behaviour::first(1, Behaviour::status(410), Behaviour::ok())).await;
    let subscription = rig
        .subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    rig.publish("attacker.observed").await;
    assert!(heard(&mut tripped).await["probe_at"].is_null());
    let waiting = rig.publish("attacker.observed").await;
    assert_eq!(receiver.count(), 1);
    let patch = SubscriptionPatch {
        enabled: Some(true),
        ..SubscriptionPatch::default()
    };
    rig.patch(&subscription.uuid, patch).await;
    receiver
        .wait_until(|log| log.times(&waiting) == 1, PATIENCE)
        .await;
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_who_switches_it_on_need_not_wait_for_the_probe() {
    let mut rig = Rig::new().await;
    rig.start_with(WorkerConfig {
        // The receiver would take the ping.
        control_ping: false,
        ..slow()
    });
    let mut tripped = watch(&rig, "system.webhook.tripped").await;
    let receiver =
        Receiver::start(Behaviour::first(5, Behaviour::status(400), Behaviour::ok())).await;
    let subscription = rig
        .subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    rig.publish_many("attacker.observed", 5).await;
    heard(&mut tripped).await;
    let waiting = rig.publish("attacker.observed").await;
    let patch = SubscriptionPatch {
        enabled: Some(true),
        ..SubscriptionPatch::default()
    };
    rig.patch(&subscription.uuid, patch).await;
    receiver
        .wait_until(|log| log.times(&waiting) == 1, PATIENCE)
        .await;
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_wait_while_it_is_tripped() {
    let mut rig = Rig::new().await;
    rig.start_with(slow());
    let mut tripped = watch(&rig, "system.webhook.tripped").await;
    let receiver = Receiver::start(Behaviour::status(503)).await;
    let settings = Settings::default()
        .with_redelivery_schedule(vec![1; 20])
        .unwrap();
    let subscription = rig
        .subscribe_with("siem", &receiver.url(), &["attacker.>"], settings)
        .await;
    rig.publish_many("attacker.observed", 5).await;
    heard(&mut tripped).await;
    rig.recorded(&subscription.uuid, "retrying", 5).await;
    rig.drain().await;
    let rows = rig.rows(&subscription.uuid);
    assert!(rows.iter().all(|row| row.status == "retrying"), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_under_way_wait_for_the_recovery_too() {
    let mut rig = Rig::new().await;
    rig.start_with(WorkerConfig {
        circuit_threshold: 1,
        ..slow()
    });
    let mut tripped = watch(&rig, "system.webhook.tripped").await;
    let receiver = Receiver::start(Behaviour::decide(|received| {
        let refused = received.topic() == Some("attacker.refused");
        Behaviour::status(if refused { 400 } else { 503 })
    }))
    .await;
    let subscription = rig
        .subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    rig.publish_many("attacker.observed", 3).await;
    receiver.wait_for(3, PATIENCE).await;
    rig.publish("attacker.refused").await;
    heard(&mut tripped).await;
    // Nobody plays out the four attempts of a round at a receiver that is switched off.
    rig.recorded(&subscription.uuid, "retrying", 3).await;
    rig.drain().await;
    let rows = rig.rows(&subscription.uuid);
    let under_way = rows.iter().filter(|row| row.status == "retrying");
    assert!(under_way.clone().all(|row| row.attempts < 4), "{rows:?}");
    assert_eq!(under_way.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_the_receiver_asked_for_outlives_the_worker() {
    const PAUSE: Duration = Duration::from_secs(5);
    let mut rig = Rig::started().await;
    let receiver = Receiver::start(Behaviour::first(
        1,
        Behaviour::status_with(429, "retry-after", "5"),
        Behaviour::ok(),
    ))
    .await;
    // The one that asked is due again when the pause is over, not by a longer schedule.
    let settings = Settings::default()
        .with_redelivery_schedule(vec![1, 1])
        .unwrap();
    rig.subscribe_with("siem", &receiver.url(), &["attacker.>"], settings)
        .await;
    rig.publish("attacker.observed").await;
    receiver.wait_for(1, PATIENCE).await;
    let asked = Instant::now();
    let written = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while rig.store.snapshot().await.unwrap().subscriptions[0]
            .pause_until
            .is_none()
        {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, written).await.unwrap();
    rig.drain().await;
    rig.start();
    rig.publish("attacker.observed").await;
    receiver.wait_for(2, PATIENCE).await;
    // The answer took a moment to be seen here.
    assert!(asked.elapsed() > PAUSE - Duration::from_millis(500));
    receiver.wait_for(3, PATIENCE).await;
    rig.drain().await;
}
