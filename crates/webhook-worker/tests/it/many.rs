//! Several workers on NATS JetStream and PostgreSQL.

use std::time::{Duration, Instant};

use webhook_model::Settings;
use webhook_testkit::{Behaviour, Receiver, Reconciler};
use webhook_worker::WorkerConfig;

use crate::rig::{PATIENCE, Rig};

async fn two_workers() -> Rig {
    with_two(WorkerConfig::default()).await
}

async fn with_two(config: WorkerConfig) -> Rig {
    let mut rig = Rig::on_servers().await;
    for _ in 0..2 {
        rig.add_worker(config.clone()).await;
    }
    rig.workers_alive(2).await;
    rig
}

#[tokio::test(flavor = "multi_thread")]
async fn adding_a_subscription_touches_none_of_a_hundred_that_are_busy() {
    const BUSY: usize = 100;
    const EVENTS: usize = 60;
    let mut rig = two_workers().await;
    let receiver = Receiver::builder(Behaviour::ok())
        .without_bodies()
        .start()
        .await;
    let mut reconciler = Reconciler::new();
    for n in 0..BUSY {
        let url = receiver.url_of(&format!("/{n}"));
        rig.subscribe(&format!("busy-{n}"), &url, &["attacker.>"])
            .await;
    }
    let late = Receiver::start(Behaviour::ok()).await;
    let mut ids = Vec::new();
    for round in 0..6 {
        ids.extend(rig.publish_many("attacker.observed", EVENTS / 6).await);
        if round == 2 {
            rig.subscribe("late", &late.url(), &["attacker.>"]).await;
        }
    }
    ids[EVENTS / 2..]
        .iter()
        .for_each(|id| reconciler.expect("late", id));
    receiver
        .wait_until(
            |log| ids.iter().all(|id| log.times(id) >= BUSY),
            PATIENCE * 4,
        )
        .await;
    late.wait_for(EVENTS / 2, PATIENCE).await;
    rig.drain().await;
    assert_eq!(receiver.count(), BUSY * EVENTS, "none lost, none repeated");
    reconciler.receive_all("late", &late.received());
    reconciler.report().assert_exact();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_subscription_stays_ordered_while_workers_come_and_go() {
    let mut rig = two_workers().await;
    let receiver = Receiver::start(Behaviour::ok().after(Duration::from_millis(5))).await;
    let settings = Settings::default().with_ordered(true);
    rig.subscribe_with("siem", &receiver.url(), &["attacker.>"], settings)
        .await;
    let mut reconciler = Reconciler::new();
    let mut published = 0;
    for change in 0..3 {
        for id in rig.publish_many("attacker.observed", 60).await {
            reconciler.expect("siem", &id);
            published += 1;
        }
        receiver.wait_for(published - 30, PATIENCE).await;
        match change {
            0 => rig.add_worker(WorkerConfig::default()).await,
            1 => drop(rig.drain_one().await),
            _ => {}
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
async fn limits_hold_for_the_subscription_not_for_each_worker() {
    let mut rig = two_workers().await;
    let slow = Duration::from_millis(200);
    let narrow = Receiver::start(Behaviour::ok().after(slow)).await;
    let settings = Settings::default().with_max_in_flight(4).unwrap();
    rig.subscribe_with("narrow", &narrow.url(), &["attacker.>"], settings)
        .await;
    let paced = Receiver::start(Behaviour::ok()).await;
    let settings = Settings::default()
        .with_rate_per_second(20)
        .and_then(|it| it.with_burst(Some(2)))
        .unwrap();
    rig.subscribe_with("paced", &paced.url(), &["attacker.>"], settings)
        .await;
    let begun = Instant::now();
    rig.publish_many("attacker.observed", 60).await;
    narrow.wait_for(60, PATIENCE).await;
    let narrow_took = begun.elapsed();
    paced.wait_for(60, PATIENCE).await;
    let paced_took = begun.elapsed();
    rig.drain().await;
    // 60 by at most 4 at a time; the last four need not have been answered yet.
    assert!(narrow_took >= slow * (60 / 4 - 1), "{narrow_took:?}");
    // 20 a second after a burst of 2.
    assert!(paced_took >= Duration::from_millis(2_850), "{paced_took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_them_probes_and_the_backlog_follows() {
    let mut rig = with_two(WorkerConfig {
        cool_down: Duration::from_millis(500),
        ..WorkerConfig::default()
    })
    .await;
    let receiver = Receiver::start(Behaviour::status(404)).await;
    let subscription = rig
        .subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    rig.publish_many("attacker.observed", 20).await;
    let tripped = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            let row = rig.store.get(&subscription.uuid).await.unwrap().unwrap();
            if row.state.auto_disabled_at().is_some() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, tripped).await.unwrap();
    let mut reconciler = Reconciler::new();
    let backlog = rig.publish_many("attacker.observed", 100).await;
    backlog.iter().for_each(|id| reconciler.expect("siem", id));
    // Probes go on, one at a time.
    let before = receiver.count();
    receiver.wait_for(before + 2, PATIENCE).await;
    receiver.behave(Behaviour::ok());
    receiver
        .wait_until(|log| backlog.iter().all(|id| log.times(id) > 0), PATIENCE)
        .await;
    rig.drain().await;
    let taken = receiver.received();
    let of_backlog = taken.iter().filter(|it| {
        it.event_id()
            .is_some_and(|id| backlog.iter().any(|one| one == id))
    });
    reconciler.receive_all("siem", of_backlog);
    reconciler.report().assert_exact();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_while_no_worker_ran_is_delivered_by_all() {
    let mut rig = Rig::on_servers().await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    rig.subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    let mut reconciler = Reconciler::new();
    for id in rig.publish_many("attacker.observed", 500).await {
        reconciler.expect("siem", &id);
    }
    for _ in 0..2 {
        rig.add_worker(WorkerConfig::default()).await;
    }
    receiver.wait_for(500, PATIENCE).await;
    rig.drain().await;
    reconciler.receive_all("siem", &receiver.received());
    reconciler.report().assert_exact();
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_killed_and_come_back_lose_nothing() {
    let mut rig = two_workers().await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    rig.subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    let mut ids = rig.publish_many("attacker.observed", 200).await;
    receiver.wait_for(50, PATIENCE).await;
    rig.servers.as_mut().unwrap().nats.restart().await;
    receiver
        .wait_until(|log| ids.iter().all(|id| log.times(id) > 0), PATIENCE * 2)
        .await;
    ids.extend(rig.publish_many("attacker.observed", 200).await);
    receiver.wait_for(250, PATIENCE).await;
    rig.servers.as_mut().unwrap().postgres.restart().await;
    ids.extend(rig.publish_many("attacker.observed", 50).await);
    receiver
        .wait_until(|log| ids.iter().all(|id| log.times(id) > 0), PATIENCE * 2)
        .await;
    rig.drain().await;
    let repeated = receiver.log(|log| log.duplicates());
    // What was in the windows of two workers, twice.
    assert!(repeated <= 2 * 2 * 64, "{repeated} came again");
}
