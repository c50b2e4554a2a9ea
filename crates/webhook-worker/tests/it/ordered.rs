use std::time::Duration;

use webhook_model::Settings;
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
