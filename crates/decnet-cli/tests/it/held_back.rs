//! What a subscription's events wait for, as an operator sees it, and what ends the wait.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use webhook_testkit::{Behaviour, Receiver};

use crate::support::{
    Api, Decnet, Listen, PATIENCE, Scrape, Starter, data_dir, run, stderr, succeeded,
};

/// Runs a command until it prints this, with success.
async fn prints(dir: &Path, line: &str, wanted: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let printed = async {
        loop {
            let text = succeeded(&run(dir, &words).await);
            if text.contains(wanted) {
                return text;
            }
        }
    };
    let found = tokio::time::timeout(PATIENCE, printed).await;
    found.unwrap_or_else(|_| panic!("{line}: never {wanted:?}"))
}

async fn subscribe(api: &Api, name: &str, receiver: &Receiver, more: Value) {
    receiver.trust(Listen::SECRET);
    let mut body = json!({
        "name": name, "url": receiver.url(), "secret": Listen::SECRET,
        "topic_patterns": ["attacker.>"],
    });
    let more = more.as_object().expect("an object").clone();
    body.as_object_mut().expect("an object").extend(more);
    let (status, made) = api.ask(Method::POST, "/api/v1/webhooks", Some(body)).await;
    assert_eq!(status, 201, "{made}");
}

/// Waits for the one waiting delivery of a subscription.
async fn waiting(dir: &Path, name: &str) -> Value {
    let line = format!("deliveries list --status retrying --json --subscription {name}");
    let list = prints(dir, &line, "\"retrying\"").await;
    let list: Value = serde_json::from_str(&list).expect("JSON");
    list["items"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_a_receiver_asked_for_is_told_and_ended_by_a_correction() {
    let dir = data_dir();
    let dir = dir.path();
    let decnet = Decnet::serve(dir).await;
    let api = decnet.api().await;
    let slow = Receiver::start(Behaviour::status_with(503, "retry-after", "3600")).await;
    subscribe(&api, "slow", &slow, json!({})).await;
    let id = api.publish("attacker.observed", json!({})).await;

    let status = prints(dir, "status", "  waiting").await;
    let line = status.lines().find(|line| line.starts_with("  waiting"));
    let line = line.expect("a line of its own");
    assert!(
        line.contains("slow") && line.contains("asked to be left alone until 2"),
        "{line}"
    );
    let shown = succeeded(&run(dir, &["subscriptions", "show", "slow"]).await);
    assert!(
        shown.contains("waiting; asked to be left alone until 2"),
        "{shown}"
    );
    let listed = succeeded(&run(dir, &["subscriptions", "list"]).await);
    assert!(
        listed.contains("HELD BACK") && listed.contains("waiting"),
        "{listed}"
    );
    let page = Scrape::of(decnet.url()).await;
    assert_eq!(page.value("decnet_webhook_receivers_paused", &[]), 1.0);
    let of_it = [("subscription", "slow")];
    let left = page.value("decnet_webhook_subscription_paused_seconds", &of_it);
    assert!((3_000.0..=3_600.0).contains(&left), "{left}");
    assert_eq!(page.value("decnet_webhook_local_faults_total", &[]), 0.0);

    let mended = Receiver::start(Behaviour::ok()).await;
    mended.trust(Listen::SECRET);
    let url = mended.url();
    let moved = ["subscriptions", "update", "slow", "--url", &url];
    let moved = succeeded(&run(dir, &moved).await);
    assert!(moved.contains("active") && !moved.contains("left alone"));
    mended.wait_for(1, PATIENCE).await;
    assert_eq!(mended.log(|log| log.times(&id)), 1);
    let listed = succeeded(&run(dir, &["subscriptions", "list"]).await);
    assert!(!listed.contains("HELD BACK"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trip_is_told_with_its_cause_and_the_next_probe() {
    let dir = data_dir();
    let dir = dir.path();
    let decnet = Starter::new("serve", dir)
        .var("DECNET_WEBHOOK_CIRCUIT_THRESHOLD", "1")
        .var("DECNET_WEBHOOK_CONTROL_PING", "false")
        .start()
        .await;
    let api = decnet.api().await;
    let strict = Receiver::start(Behaviour::status(400)).await;
    subscribe(&api, "strict", &strict, json!({})).await;
    let down = Receiver::start(Behaviour::status(503)).await;
    subscribe(&api, "down", &down, json!({})).await;
    api.publish("attacker.observed", json!({})).await;

    let status = prints(dir, "status", "strict since").await;
    let line = status.lines().find(|line| line.contains("strict"));
    let line = line.expect("a line of its own");
    assert!(
        line.contains("strict since 2") && line.contains(": non-retryable 400; next probe "),
        "{line}"
    );
    let shown = succeeded(&run(dir, &["subscriptions", "show", "strict"]).await);
    assert!(shown.contains("tripped; next probe "), "{shown}");
    let listed = succeeded(&run(dir, &["subscriptions", "list"]).await);
    assert!(
        listed.contains("non-retryable 400; next probe "),
        "{listed}"
    );
    let of_it = [("subscription", "down")];
    let waits = async {
        loop {
            let page = Scrape::of(decnet.url()).await;
            let left = page.get("decnet_webhook_subscription_next_probe_seconds", &of_it);
            if left.is_some_and(|left| left > 0.0) {
                return page;
            }
        }
    };
    let page = tokio::time::timeout(PATIENCE, waits).await;
    let page = page.expect("it is probed 30 s after it tripped");
    assert_eq!(page.value("decnet_webhook_receivers_paused", &[]), 0.0);
    let came = strict.received();
    let pinged = came.iter().any(|one| one.topic() == Some("test.ping"));
    assert!(!pinged, "none is sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_deliveries_are_sent_now_or_given_up() {
    let dir = data_dir();
    let dir = dir.path();
    let decnet = Decnet::serve(dir).await;
    let api = decnet.api().await;
    let schedule = json!({"redelivery_schedule": [3600, 3600]});
    let plain = Receiver::start(Behaviour::status(500)).await;
    subscribe(&api, "plain", &plain, schedule.clone()).await;
    let poison = |topic: &str| if topic == "attacker.poison" { 500 } else { 204 };
    let ordered = Receiver::start(Behaviour::decide(move |event| {
        Behaviour::status(poison(event.topic().unwrap_or_default()))
    }))
    .await;
    let mut in_order = schedule;
    in_order["ordered"] = json!(true);
    subscribe(&api, "ordered", &ordered, in_order).await;
    let first = api.publish("attacker.poison", json!({})).await;
    let second = api.publish("attacker.observed", json!({})).await;

    // It holds the second one back, and is to be seen.
    let head = waiting(dir, "ordered").await;
    assert_eq!(
        (&head["event_id"], &head["in_order"]),
        (&json!(first), &json!(true))
    );
    assert_eq!(ordered.log(|log| log.times(&second)), 0);
    let id = head["id"].to_string();
    let shown = succeeded(&run(dir, &["deliveries", "show", &id]).await);
    assert!(shown.contains("decnet deliveries skip"), "{shown}");
    let skipped = succeeded(&run(dir, &["deliveries", "skip", &id]).await);
    assert_eq!(skipped, format!("given up {id}\n"));
    let line = "deliveries list --subscription ordered --status delivered";
    prints(dir, line, "attacker.observed").await;
    let dead = succeeded(&run(dir, &["dead-letters", "list"]).await);
    assert!(dead.contains("skipped by an operator"), "{dead}");
    let again = run(dir, &["deliveries", "skip", &id, "999"]).await;
    assert_eq!(again.status.code(), Some(1));
    for part in ["The delivery does not wait", "999: Delivery not found"] {
        assert!(stderr(&again).contains(part), "{}", stderr(&again));
    }

    // An hour early.
    waiting(dir, "plain").await;
    plain.behave(Behaviour::ok());
    let line = "replay --subscription plain --status retrying --wait";
    prints(dir, line, "for plain").await;
    let line = "deliveries list --subscription plain --status delivered";
    prints(dir, line, "attacker.observed").await;
}
