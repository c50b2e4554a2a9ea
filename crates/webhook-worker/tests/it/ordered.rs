use std::time::Duration;

use webhook_model::{Settings, State};
use webhook_testkit::{Behaviour, Receiver, Reconciler};
use webhook_worker::WorkerConfig;

use crate::rig::{PATIENCE, Rig};

fn ordered() -> Settings {
    Settings::default()
        .with_ordered(true)
        .with_redelivery_schedule(vec![1; 30])
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_holds_through_failures_and_a_restart() {
    let mut rig = Rig::started().await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    let patterns = ["attacker.*", "*.observed", "decky.>"];
    rig.subscribe_with("siem", &receiver.url(), &patterns, ordered())
        .await;
    let mut reconciler = Reconciler::new();
    let mut published = 0;
    for down in [false, true, false] {
        if down {
            receiver.behave(Behaviour::status(503));
        }
        for topic in ["attacker.observed", "decky.d1.state", "attacker.gone"] {
            for id in rig.publish_many(topic, 20).await {
                reconciler.expect("siem", &id);
                published += 1;
            }
        }
        if down {
            let before = receiver.count();
            receiver.wait_for(before + 2, PATIENCE).await;
            rig.drain().await;
            receiver.behave(Behaviour::ok());
            rig.start();
        }
    }
    receiver
        .wait_until(|log| log.unique() == published, PATIENCE)
        .await;
    rig.drain().await;
    reconciler.receive_all("siem", &receiver.received());
    let report = reconciler.report();
    report.assert_exact();
    assert!(report.out_of_order.is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tripped_one_recovers_in_order() {
    let mut rig = Rig::new().await;
    rig.start_with(WorkerConfig {
        circuit_threshold: 1,
        cool_down: Duration::from_millis(300),
        ..WorkerConfig::default()
    });
    let receiver = Receiver::start(Behaviour::status(503)).await;
    let subscription = rig
        .subscribe_with("siem", &receiver.url(), &["attacker.>"], ordered())
        .await;
    let mut reconciler = Reconciler::new();
    for id in rig.publish_many("attacker.observed", 30).await {
        reconciler.expect("siem", &id);
    }
    // The first round, and at least one probe.
    receiver.wait_for(5, PATIENCE).await;
    let row = rig.store.get(&subscription.uuid).await.unwrap().unwrap();
    assert_eq!(row.state.as_str(), "tripped");
    receiver.behave(Behaviour::ok());
    receiver
        .wait_until(|log| log.unique() == 30, PATIENCE)
        .await;
    rig.drain().await;
    reconciler.receive_all("siem", &receiver.received());
    let report = reconciler.report();
    report.assert_exact();
    assert!(report.out_of_order.is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_in_place_count_across_a_restart() {
    let mut rig = Rig::new().await;
    let config = || WorkerConfig {
        circuit_threshold: 2,
        control_ping: false,
        cool_down: Duration::from_secs(300),
        ..WorkerConfig::default()
    };
    rig.start_with(config());
    let receiver = Receiver::start(Behaviour::status(500)).await;
    let subscription = rig
        .subscribe_with("siem", &receiver.url(), &["attacker.>"], ordered())
        .await;
    rig.publish("attacker.observed").await;
    let row = async || rig.store.get(&subscription.uuid).await.unwrap().unwrap();
    let counted = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while row().await.consecutive_failures == 0 {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.unwrap();
    assert_eq!(row().await.last_error.as_deref(), Some("http 500"));
    rig.drain().await;
    rig.start_with(config());
    let tripped = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while rig
            .store
            .get(&subscription.uuid)
            .await
            .unwrap()
            .unwrap()
            .state
            == State::Active
        {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, tripped).await.unwrap();
    assert_eq!(receiver.count(), 8, "two rounds of four attempts");
    rig.drain().await;
}
