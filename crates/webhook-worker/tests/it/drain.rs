use std::time::{Duration, Instant};

use webhook_testkit::{Behaviour, Receiver, event};
use webhook_worker::{DrainReport, Phase, WorkerConfig, WorkerError};

use crate::rig::{PATIENCE, Rig};

#[tokio::test(flavor = "multi_thread")]
async fn a_post_under_way_completes_and_is_recorded() {
    let mut rig = Rig::started().await;
    let receiver = Receiver::start(Behaviour::ok().after(Duration::from_millis(500))).await;
    let subscription = rig
        .subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    rig.publish("attacker.observed").await;
    receiver.wait_for(1, PATIENCE).await;

    assert_eq!(rig.drain().await, DrainReport::Drained);
    let rows = rig.rows(&subscription.uuid);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].status, "delivered");

    // It was acknowledged, too: a new worker has nothing to send.
    rig.start();
    rig.publish("attacker.observed").await;
    let got = receiver.wait_for(2, PATIENCE).await;
    assert_ne!(got[0].event_id(), got[1].event_id());
    assert_eq!(rig.drain().await, DrainReport::Drained);
    assert_eq!(receiver.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_between_attempts_is_ended_and_the_event_kept() {
    let mut rig = Rig::started().await;
    let receiver =
        Receiver::start(Behaviour::first(1, Behaviour::status(503), Behaviour::ok())).await;
    rig.subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    let id = rig.publish("attacker.observed").await;
    receiver.wait_for(1, PATIENCE).await;
    let begun = Instant::now();
    assert_eq!(rig.drain().await, DrainReport::Drained);
    assert!(begun.elapsed() < Duration::from_secs(5));

    rig.start();
    let got = receiver.wait_for(2, PATIENCE).await;
    assert_eq!(got[1].event_id(), Some(id.as_str()));
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_outlives_the_deadline_is_cut_and_comes_again() {
    let mut rig = Rig::new().await;
    rig.start_with(WorkerConfig {
        drain_deadline: Duration::from_millis(300),
        ..WorkerConfig::default()
    });
    let receiver = Receiver::start(Behaviour::HangBeforeAnswer).await;
    rig.subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    let id = rig.publish("attacker.observed").await;
    receiver.wait_for(1, PATIENCE).await;
    assert_eq!(rig.drain().await, DrainReport::Cut);

    receiver.behave(Behaviour::ok());
    rig.start();
    receiver
        .wait_until(|log| log.times(&id) == 1, PATIENCE)
        .await;
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_may_order_a_stop_and_nothing_else() {
    let mut rig = Rig::started().await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    rig.subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    rig.publish_raw(
        "system.webhook.control",
        br#"{"payload":{"action":"dance"}}"#,
    )
    .await;
    rig.publish_raw("system.webhook.control", b"nonsense").await;
    rig.publish("attacker.observed").await;
    receiver.wait_for(1, PATIENCE).await;
    let status = rig.status();
    let running = async {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(10));
        while status.phase() != Phase::Running {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, running).await.unwrap();

    let stop = br#"{"v":1,"payload":{"action":"stop","requested_by":"test","ts":1}}"#;
    rig.publish_raw("system.webhook.control", stop).await;
    assert_eq!(rig.ended().await.unwrap(), DrainReport::Drained);
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_foreign_worker_it_does_not_start() {
    let mut rig = Rig::new().await;
    let health = br#"{"v":1,"type":"health","payload":{"worker":"webhook","ts":1}}"#;
    rig.publish_raw("system.webhook.health", health).await;
    rig.start();
    assert!(matches!(
        rig.ended().await,
        Err(WorkerError::ForeignWorker { .. })
    ));

    rig.start_with(WorkerConfig {
        takeover: true,
        ..WorkerConfig::default()
    });
    let receiver = Receiver::start(Behaviour::ok()).await;
    rig.subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    rig.publish("attacker.observed").await;
    receiver.wait_for(1, PATIENCE).await;
    rig.drain().await;
}

/// Started beside a worker that delivers, it is told of: what both deliver arrives twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_worker_that_comes_later_is_noticed() {
    let mut rig = Rig::started().await;
    let status = rig.status();
    // Its own are no news.
    let ours = format!(
        r#"{{"v":1,"type":"health","payload":{{"worker":"webhook","deployment":"{}"}}}}"#,
        rig.store.deployment_id()
    );
    rig.publish_raw("system.webhook.health", ours.as_bytes())
        .await;
    let health = br#"{"v":1,"type":"health","payload":{"worker":"webhook","ts":1}}"#;
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    tokio::time::timeout(PATIENCE, async {
        // Until the session listens.
        while status.other_worker().is_none() {
            rig.publish_raw("system.webhook.health", health).await;
            ticks.tick().await;
        }
    })
    .await
    .expect("it is noticed");
    assert!(status.counters().totals().foreign_heartbeats >= 1);
    assert!(matches!(status.phase(), Phase::Opening | Phase::Running));
    rig.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_heartbeat_does_not_keep_it_from_starting() {
    let mut rig = Rig::started().await;
    let pattern = webhook_model::TopicPattern::parse("system.webhook.health").unwrap();
    let since = webhook_model::UtcTime::now() - Duration::from_secs(60);
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let heard = tokio::time::timeout(PATIENCE, async {
        loop {
            ticks.tick().await;
            let heard = rig.bus.recent(&pattern, since).await.unwrap();
            if let Some(first) = heard.into_iter().next() {
                return first;
            }
        }
    })
    .await
    .expect("a heartbeat");
    let payload: serde_json::Value =
        serde_json::from_str(heard.event().unwrap().payload.as_str()).unwrap();
    assert_eq!(payload["worker"], "webhook");
    assert!(payload["ts"].is_number() && payload["delivered"].is_number());
    rig.drain().await;
    rig.start();
    rig.publish_event(&event("attacker.observed")).await;
    assert_eq!(rig.drain().await, DrainReport::Drained);
}
