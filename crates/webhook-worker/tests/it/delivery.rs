use std::collections::HashSet;

use webhook_testkit::{Behaviour, Receiver, Reconciler};

use crate::rig::{PATIENCE, Rig, SECRET};

#[tokio::test(flavor = "multi_thread")]
async fn every_subscription_gets_what_it_asked_for_once() {
    let rig = Rig::started().await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    receiver.trust(SECRET);
    rig.subscribe("attackers", &receiver.url_of("/attackers"), &["attacker.>"])
        .await;
    rig.subscribe(
        "overlap",
        &receiver.url_of("/overlap"),
        &["attacker.*", "*.observed"],
    )
    .await;

    let mut reconciler = Reconciler::new();
    for topic in [
        "attacker.observed",
        "attacker.gone",
        "decky.observed",
        "decky.d1.state",
    ] {
        for _ in 0..50 {
            let id = rig.publish(topic).await;
            if topic.starts_with("attacker.") {
                reconciler.expect("/attackers", &id);
            }
            if topic != "decky.d1.state" {
                reconciler.expect("/overlap", &id);
            }
        }
    }
    let all = receiver.wait_for(100 + 150, PATIENCE).await;
    assert!(all.iter().all(|delivery| delivery.is_verified()));
    for delivery in &all {
        reconciler.receive(&delivery.path, delivery.event_id().unwrap());
    }
    reconciler.report().assert_exact();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_becomes_a_dead_letter_with_its_body() {
    let mut rig = Rig::started().await;
    let receiver = Receiver::start(Behaviour::status(404)).await;
    let subscription = rig
        .subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    let id = rig.publish("attacker.observed").await;
    let sent = receiver.wait_for(1, PATIENCE).await;
    rig.recorded(&subscription.uuid, "dead", 1).await;
    rig.drain().await;

    let rows = rig.rows(&subscription.uuid);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].event_id, id);
    assert_eq!((rows[0].attempts, rows[0].status_code), (1, Some(404)));
    assert_eq!(rows[0].error.as_deref(), Some("non-retryable 404"));
    assert_eq!(rows[0].body.as_deref(), Some(&sent[0].body[..]));

    let row = rig.store.get(&subscription.uuid).await.unwrap().unwrap();
    assert_eq!(row.consecutive_failures, 1);
    assert_eq!(row.last_error.as_deref(), Some("non-retryable 404"));
    assert!(row.last_failure_at.is_some() && row.last_success_at.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_after_failures_starts_the_count_anew() {
    let rig = Rig::started().await;
    let receiver =
        Receiver::start(Behaviour::first(2, Behaviour::status(400), Behaviour::ok())).await;
    let subscription = rig
        .subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    rig.publish("attacker.observed").await;
    rig.publish("attacker.observed").await;
    rig.recorded(&subscription.uuid, "dead", 2).await;
    let row = rig.store.get(&subscription.uuid).await.unwrap().unwrap();
    assert_eq!(row.consecutive_failures, 2);

    rig.publish("attacker.observed").await;
    rig.recorded(&subscription.uuid, "delivered", 1).await;
    let row = rig.store.get(&subscription.uuid).await.unwrap().unwrap();
    assert_eq!(row.consecutive_failures, 0);
    assert!(row.last_success_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_becomes_a_dead_letter_and_holds_up_nobody() {
    let mut rig = Rig::started().await;
    let receiver = Receiver::start(Behaviour::ok()).await;
    let subscription = rig
        .subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    let garbage = b"\xff\x00not json".repeat(20_000);
    rig.publish_raw("attacker.observed", &garbage).await;
    rig.publish_raw("attacker.observed", b"[1, 2]").await;
    let id = rig.publish("attacker.observed").await;

    let got = receiver.wait_for(2, PATIENCE).await;
    let ids: HashSet<_> = got.iter().filter_map(|r| r.event_id()).collect();
    assert!(ids.contains(id.as_str()));
    assert!(
        got.iter()
            .any(|r| r.body.windows(15).any(|w| w == br#"{"value":[1,2]}"#))
    );

    rig.recorded(&subscription.uuid, "dead", 1).await;
    rig.drain().await;
    let dead: Vec<_> = rig
        .rows(&subscription.uuid)
        .into_iter()
        .filter(|r| r.status == "dead")
        .collect();
    assert!(dead[0].error.as_deref().unwrap().starts_with("undecodable"));
    assert_eq!(dead[0].body.as_deref(), Some(&garbage[..64 << 10]));
    let row = rig.store.get(&subscription.uuid).await.unwrap().unwrap();
    assert_eq!(
        row.consecutive_failures, 0,
        "it says nothing about the receiver"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_outage_is_bridged_by_the_round() {
    let rig = Rig::started().await;
    let receiver =
        Receiver::start(Behaviour::first(1, Behaviour::status(503), Behaviour::ok())).await;
    let subscription = rig
        .subscribe("siem", &receiver.url(), &["attacker.>"])
        .await;
    let id = rig.publish("attacker.observed").await;
    let got = receiver.wait_for(2, PATIENCE).await;
    assert!(got.iter().all(|delivery| delivery.event_id() == Some(&id)));
    rig.recorded(&subscription.uuid, "delivered", 1).await;
    assert_eq!(rig.rows(&subscription.uuid)[0].attempts, 2);
}
