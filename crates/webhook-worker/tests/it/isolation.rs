use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use webhook_testkit::{Behaviour, Receiver, long_or_short};

use crate::rig::{PATIENCE, Rig};

/// The promise: with bad neighbours, a healthy subscription's slowest delivery stays under this.
const SLOWEST: Duration = Duration::from_secs(1);
const RATE: u32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_subscription_does_not_notice_its_neighbours() {
    let mut rig = Rig::alone().await;
    rig.start();
    let mut bad = Vec::new();
    for (name, behaviour) in [
        ("hanging", Behaviour::HangBeforeAnswer),
        ("stalling", Behaviour::StallMidBody),
        ("endless", Behaviour::EndlessContentLength),
    ] {
        let receiver = Receiver::start(behaviour).await;
        rig.subscribe(name, &receiver.url(), &["attacker.>"]).await;
        bad.push(receiver);
    }
    let healthy = Receiver::start(Behaviour::ok()).await;
    rig.subscribe("healthy", &healthy.url(), &["attacker.>"])
        .await;

    let count = RATE * long_or_short(60, 5);
    let mut published = HashMap::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE);
    for _ in 0..count {
        ticks.tick().await;
        let at = Instant::now();
        published.insert(rig.publish("attacker.observed").await, at);
    }
    let got = healthy.wait_for(count as usize, PATIENCE).await;
    let slowest = got
        .iter()
        .map(|delivery| delivery.at - published[delivery.event_id().unwrap()])
        .max()
        .unwrap();
    assert!(slowest < SLOWEST, "the slowest took {slowest:?}");
    assert!(bad.iter().all(|receiver| receiver.count() > 0));
    rig.drain().await;
}
