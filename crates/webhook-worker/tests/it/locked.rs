use std::time::Duration;

use webhook_testkit::{Behaviour, Receiver, Reconciler};

use crate::rig::{PATIENCE, Rig};

/// Longer than a statement waits for SQLite's lock, so that recording fails and is tried again.
const LOCKED: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_written_holds_everything_back_and_loses_nothing() {
    let mut rig = Rig::started().await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    let subscription = rig
        .subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    let mut reconciler = Reconciler::new();
    let mut published = 0;
    for locked in [false, true, false] {
        let ids = rig.publish_many("attacker.observed", 100).await;
        published += ids.len();
        ids.iter().for_each(|id| reconciler.expect("siem", id));
        if locked {
            let database = rig.dir.path().join("decnet.db");
            let other = rusqlite::Connection::open(database).unwrap();
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            let more = rig.publish_many("attacker.observed", 200).await;
            published += more.len();
            more.iter().for_each(|id| reconciler.expect("siem", id));
            tokio::time::sleep(LOCKED).await;
            // What cannot be recorded stays within the window, unacknowledged.
            assert!(receiver.count() < published);
            other.execute_batch("ROLLBACK").unwrap();
        }
    }
    receiver
        .wait_until(|log| log.unique() == published, PATIENCE)
        .await;
    rig.recorded(&subscription.uuid, "delivered", published)
        .await;
    rig.drain().await;
    reconciler.receive_all("siem", &receiver.received());
    reconciler.report().assert_exact();
}
