use std::time::Duration;

use webhook_model::{Settings, UtcTime};
use webhook_testkit::{Behaviour, Receiver, Reconciler};

use crate::rig::{PATIENCE, Rig};

/// A schedule short enough for a test.
fn soon() -> Settings {
    Settings::default()
        .with_redelivery_schedule(vec![1; 8])
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_was_down_gets_everything_by_itself() {
    let mut rig = Rig::started().await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    receiver.down().await;
    let subscription = rig
        .subscribe_with("siem", &receiver.url(), &["attacker.>"], soon())
        .await;
    let mut reconciler = Reconciler::new();
    for id in rig.publish_many("attacker.observed", 4).await {
        reconciler.expect("siem", &id);
    }
    // The rounds are over: rows wait for the schedule, the bus is done with them.
    rig.recorded(&subscription.uuid, "retrying", 4).await;
    receiver.up().await.unwrap();
    receiver.wait_until(|log| log.unique() == 4, PATIENCE).await;
    rig.recorded(&subscription.uuid, "delivered", 4).await;
    reconciler.receive_all("siem", &receiver.received());
    reconciler.report().assert_exact();
    let row = rig.store.get(&subscription.uuid).await.unwrap().unwrap();
    assert_eq!(row.consecutive_failures, 0);
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_of_its_schedule_a_delivery_is_a_dead_letter() {
    let mut rig = Rig::started().await;
    let poison = Receiver::start(Behaviour::decide(|received| {
        let poisoned = received.topic() == Some("attacker.poison");
        Behaviour::status(if poisoned { 500 } else { 200 })
    }))
    .await;
    let settings = Settings::default()
        .with_redelivery_schedule(vec![1])
        .unwrap();
    let subscription = rig
        .subscribe_with("siem", &poison.url(), &["attacker.>"], settings)
        .await;
    let id = rig.publish("attacker.poison").await;
    let others = rig.publish_many("attacker.observed", 50).await;
    // A poison event holds back no other.
    poison
        .wait_until(|log| others.iter().all(|id| log.times(id) == 1), PATIENCE)
        .await;
    rig.recorded(&subscription.uuid, "dead", 1).await;
    rig.drain().await;
    let rows = rig.rows(&subscription.uuid);
    let dead: Vec<_> = rows.iter().filter(|row| row.status == "dead").collect();
    assert_eq!(
        (dead.len(), dead[0].event_id.as_str(), dead[0].attempts),
        (1, id.as_str(), 8)
    );
    assert!(dead[0].body.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_of_the_schedule_goes_on_with_it() {
    let mut rig = Rig::started().await;
    let receiver = Receiver::start(Behaviour::status(503)).await;
    let subscription = rig
        .subscribe_with("siem", &receiver.url(), &["attacker.>"], soon())
        .await;
    let id = rig.publish("attacker.observed").await;
    rig.recorded(&subscription.uuid, "retrying", 1).await;
    rig.drain().await;
    receiver.behave(Behaviour::ok());
    rig.start();
    receiver
        .wait_until(|log| log.times(&id) == 1, PATIENCE)
        .await;
    rig.recorded(&subscription.uuid, "delivered", 1).await;
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_pauses_the_whole_subscription_and_counts_for_nothing() {
    let mut rig = Rig::started().await;
    let receiver = Receiver::start(Behaviour::first(
        1,
        Behaviour::status_with(429, "Retry-After", "2"),
        Behaviour::ok(),
    ))
    .await;
    let subscription = rig
        .subscribe_with("siem", &receiver.url(), &["attacker.>"], soon())
        .await;
    rig.publish("attacker.observed").await;
    rig.recorded(&subscription.uuid, "retrying", 1).await;
    let asked = UtcTime::now();
    rig.publish_many("attacker.observed", 5).await;
    let got = receiver.wait_for(7, PATIENCE).await;
    let waited = UtcTime::from(got[1].wall).since(asked);
    assert!(
        waited > Duration::from_millis(1_500),
        "it came after {waited:?}"
    );
    rig.recorded(&subscription.uuid, "delivered", 6).await;
    let row = rig.store.get(&subscription.uuid).await.unwrap().unwrap();
    assert_eq!(row.consecutive_failures, 0);
    rig.drain().await;
}
