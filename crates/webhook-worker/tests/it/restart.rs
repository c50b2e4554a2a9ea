use webhook_testkit::{Behaviour, Receiver, Reconciler};

use crate::rig::{PATIENCE, Rig};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_while_no_worker_ran_is_delivered() {
    let mut rig = Rig::new().await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    rig.subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    let mut reconciler = Reconciler::new();
    for id in rig.publish_many("attacker.observed", 500).await {
        reconciler.expect("siem", &id);
    }
    rig.start();
    reconciler.receive_all("siem", &receiver.wait_for(500, PATIENCE).await);
    reconciler.report().assert_exact();
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_journal_begins_anew_and_loses_nothing_of_its_own() {
    let mut rig = Rig::started().await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    rig.subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    rig.publish_many("attacker.observed", 10).await;
    receiver.wait_for(10, PATIENCE).await;
    rig.drain().await;

    rig.bus.clone().close().await.unwrap();
    rig.bus = crate::rig::open_bus(rig.dir.path().join("another.db")).await;
    let ids = rig.publish_many("attacker.observed", 10).await;
    rig.start();
    for id in &ids {
        receiver
            .wait_until(|log| log.times(id) == 1, PATIENCE)
            .await;
    }
    assert_eq!(receiver.log(|log| log.duplicates()), 0);
    rig.drain().await;
}
