use webhook_model::DeliveryStatus;
use webhook_store::{NewReplay, Replay, ReplayState};
use webhook_testkit::{Behaviour, Receiver};

use crate::rig::{PATIENCE, Rig};

fn all(subscription: &str, status: DeliveryStatus) -> NewReplay {
    NewReplay {
        subscription: subscription.to_owned(),
        source: None,
        status,
        topic: None,
        error: None,
        since: None,
        until: None,
    }
}

async fn done(rig: &Rig, id: &str) -> Replay {
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
    let done = async {
        loop {
            ticks.tick().await;
            let job = rig.store.replay(id).await.unwrap().unwrap();
            if job.state != ReplayState::Running {
                return job;
            }
        }
    };
    tokio::time::timeout(PATIENCE, done)
        .await
        .expect("the replay ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_sent_again_with_their_ids() {
    let mut rig = Rig::started().await;
    let receiver = Receiver::start(Behaviour::status(404)).await;
    let subscription = rig
        .subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    let ids = rig.publish_many("attacker.observed", 4).await;
    rig.recorded(&subscription.uuid, "dead", 4).await;

    receiver.behave(Behaviour::ok());
    let job = all(&subscription.uuid, DeliveryStatus::Dead);
    let job = rig.store.create_replay(job).await.unwrap().unwrap();
    assert_eq!(job.matched, 4);
    receiver
        .wait_until(|log| ids.iter().all(|id| log.times(id) == 1), PATIENCE)
        .await;
    let job = done(&rig, &job.id).await;
    assert_eq!(
        (job.state, job.replayed, job.unavailable),
        (ReplayState::Done, 4, 0)
    );
    rig.recorded(&subscription.uuid, "delivered", 4).await;
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delivered_events_come_from_the_bus_again_also_after_a_restart() {
    let mut rig = Rig::started().await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    let subscription = rig
        .subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    let ids = rig.publish_many("attacker.observed", 300).await;
    rig.recorded(&subscription.uuid, "delivered", 300).await;
    rig.drain().await;

    let job = all(&subscription.uuid, DeliveryStatus::Delivered);
    let job = rig.store.create_replay(job).await.unwrap().unwrap();
    rig.start();
    receiver.wait_for(310, PATIENCE).await;
    rig.drain().await;
    rig.start();
    receiver
        .wait_until(|log| ids.iter().all(|id| log.times(id) >= 2), PATIENCE)
        .await;
    let job = done(&rig, &job.id).await;
    assert_eq!((job.matched, job.replayed, job.unavailable), (300, 300, 0));
    rig.drain().await;
    assert_eq!(
        receiver.count(),
        600,
        "each once more, and no more than once"
    );
}
