//! A receiver that is down at 200 events a second, for ten seconds and for a day of test time.
//!
//! A day is 20 s here: the schedule and the cool-down are shorter by the same factor, 4,320, where
//! they can be (no delay of a schedule is shorter than 1 s). The soak is down for five minutes with
//! the real schedule and cool-down instead, 60,000 events behind.

use std::time::Duration;

use webhook_model::{Settings, State};
use webhook_testkit::{Behaviour, Receiver, Reconciler, soak};
use webhook_worker::WorkerConfig;

use crate::rig::Rig;

/// Events come in so many at a time, 200 a second.
const AT_A_TIME: usize = 10;
const PACE: Duration = Duration::from_millis(50);
/// Events flow before and after the outage.
const BESIDE: Duration = Duration::from_secs(2);
/// What a receiver may take twice: requests that were open when it went down.
const OPEN: usize = 64;

struct Outage {
    down: Duration,
    cool_down: Duration,
    schedule: Vec<u32>,
    /// Longest wait for the backlog, the ordered one's event by event.
    patience: Duration,
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_a_receiver_is_down_for_ten_seconds() {
    survives(Outage {
        down: Duration::from_secs(10),
        cool_down: Duration::from_secs(1),
        schedule: vec![1, 2, 4, 8, 16, 32],
        patience: Duration::from_secs(180),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_a_receiver_is_down_for_a_day() {
    survives(if soak() {
        Outage {
            down: Duration::from_secs(300),
            cool_down: WorkerConfig::default().cool_down,
            schedule: Settings::default().redelivery_schedule().to_vec(),
            patience: Duration::from_secs(3_600),
        }
    } else {
        Outage {
            down: Duration::from_secs(20),
            cool_down: Duration::from_millis(250),
            schedule: vec![1, 1, 1, 1, 1, 3, 5, 10],
            patience: Duration::from_secs(240),
        }
    })
    .await;
}

async fn survives(outage: Outage) {
    let mut rig = Rig::new().await;
    rig.start_with(WorkerConfig {
        cool_down: outage.cool_down,
        ..WorkerConfig::default()
    });
    let mut subscriptions = Vec::new();
    for (name, ordered) in [("plain", false), ("ordered", true)] {
        let settings = Settings::default()
            .with_ordered(ordered)
            .with_redelivery_schedule(outage.schedule.clone())
            .unwrap();
        let receiver = Receiver::builder(Behaviour::ok())
            .secret(crate::rig::SECRET)
            .without_bodies()
            .start()
            .await;
        let patterns = ["attacker.>"];
        let made = rig
            .subscribe_with(name, &receiver.url(), &patterns, settings)
            .await;
        subscriptions.push((made, receiver));
    }

    let mut ids = flow(&rig, BESIDE).await;
    for (_, receiver) in &subscriptions {
        receiver.down().await;
    }
    ids.extend(flow(&rig, outage.down).await);
    for (_, receiver) in &subscriptions {
        receiver.up().await.unwrap();
    }
    ids.extend(flow(&rig, BESIDE).await);

    let mut reconciler = Reconciler::new();
    for (made, receiver) in &subscriptions {
        let all = ids.len();
        receiver
            .wait_until(|log| log.unique() == all, outage.patience)
            .await;
        ids.iter().for_each(|id| reconciler.expect(&made.name, id));
        let row = rig.store.get(&made.uuid).await.unwrap().unwrap();
        assert_eq!(row.state, State::Active, "nobody had to switch it on");
        rig.recorded(&made.uuid, "dead", 0).await;
    }
    rig.drain().await;
    for (made, receiver) in &subscriptions {
        reconciler.receive_all(&made.name, &receiver.received());
    }
    let report = reconciler.report();
    report.assert_at_least_once(OPEN);
    let ordered = |(of, _): &&(String, String)| of == "ordered";
    assert_eq!(report.out_of_order.iter().find(ordered), None, "{report}");
    // That the plain one is out of order is as it may be.
    let counts = report.to_string();
    let counts = counts.lines().next().unwrap_or_default();
    println!("down for {:?}: {counts}", outage.down);
}

/// Publishes for a while; the ids in their order.
async fn flow(rig: &Rig, time: Duration) -> Vec<String> {
    let mut ids = Vec::new();
    let mut ticks = tokio::time::interval(PACE);
    for _ in 0..time.as_millis() / PACE.as_millis() {
        ticks.tick().await;
        ids.extend(rig.publish_many("attacker.observed", AT_A_TIME).await);
    }
    ids
}
