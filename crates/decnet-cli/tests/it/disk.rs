//! A disk that fills up, and files that cannot be written: publishing is refused, nothing that was
//! accepted is lost, and service comes back by itself.

pub(crate) mod quota;

use std::{path::Path, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{interval, timeout};
use webhook_testkit::{Behaviour, Receiver, Reconciler};

use self::quota::Quota;
use crate::support::{Api, Decnet, Listen, PATIENCE, Starter, data_dir, decnet, finish, succeeded};

const JWT_SECRET: &str = "a-key-of-this-test-a-key-of-this-test";

async fn admin(decnet_at: &str) -> Api {
    let dir = data_dir();
    let mut create = decnet(dir.path(), ["token", "create", "--role", "admin"]);
    let made = finish(create.env("DECNET_JWT_SECRET", JWT_SECRET)).await;
    Api::with_token(decnet_at, succeeded(&made).trim())
}

async fn publish(api: &Api) -> (u16, Value) {
    let event = json!({"topic": "attacker.observed", "payload": {}});
    api.ask(Method::POST, "/api/v1/events", Some(event)).await
}

/// Publishes until the answer has this status, and says which ids were accepted on the way.
async fn publish_until(api: &Api, status: u16) -> (Vec<String>, Value) {
    let mut accepted = Vec::new();
    let mut ticks = interval(Duration::from_millis(50));
    let reached = async {
        loop {
            ticks.tick().await;
            let (answered, body) = publish(api).await;
            match answered {
                202 => accepted.push(body["ids"][0].as_str().expect("an id").to_owned()),
                503 => {}
                _ => panic!("{answered}: {body}"),
            }
            if answered == status {
                return body;
            }
        }
    };
    let last = timeout(PATIENCE, reached).await;
    (accepted, last.expect("the status is reached"))
}

async fn recorded(api: &Api, count: usize) {
    let mut ticks = interval(Duration::from_millis(50));
    let reached = async {
        loop {
            ticks.tick().await;
            let path = "/api/v1/deliveries?status=delivered&limit=500";
            let (status, body) = api.ask(Method::GET, path, None).await;
            if status == 200 && body["items"].as_array().map(Vec::len) == Some(count) {
                return;
            }
        }
    };
    timeout(PATIENCE, reached)
        .await
        .unwrap_or_else(|_| panic!("{count} deliveries are on record"));
}

#[tokio::test]
async fn a_full_disk_refuses_events_and_loses_none() {
    let dir = data_dir();
    room_runs_out(dir.path(), Quota::new(dir.path())).await;
}

#[tokio::test]
async fn files_that_may_not_grow_refuse_events_and_lose_none() {
    let dir = data_dir();
    room_runs_out(dir.path(), Quota::of_files(dir.path())).await;
}

async fn room_runs_out(dir: &Path, quota: Quota) {
    let starter = Starter::new("serve", dir).var("DECNET_JWT_SECRET", JWT_SECRET);
    let mut decnet = quota.start(starter).await;
    let api = admin(decnet.url()).await;
    let receiver = Receiver::builder(Behaviour::ok())
        .secret(Listen::SECRET)
        .start()
        .await;
    api.subscribe("siem", &receiver.url(), Listen::SECRET, &["attacker.>"])
        .await;
    let mut reconciler = Reconciler::new();
    let mut total = 0;
    let mut expect = |ids: Vec<String>| {
        total += ids.len();
        ids.iter().for_each(|id| reconciler.expect("siem", id));
        total
    };
    for _ in 0..20 {
        let (ids, _) = publish_until(&api, 202).await;
        expect(ids);
    }
    receiver.wait_for(20, PATIENCE).await;

    // Accepted, and then there is hardly any room.
    receiver.down().await;
    for _ in 0..20 {
        let (ids, _) = publish_until(&api, 202).await;
        expect(ids);
    }
    quota.fill_most(&decnet);
    let (ids, refused) = publish_until(&api, 503).await;
    expect(ids);
    assert!(refused["detail"].is_string(), "{refused}");

    // None at all: outcomes cannot be recorded, nor events acknowledged.
    quota.fill(&decnet);
    receiver.up().await.expect("its port is still free");
    let (ids, _) = publish_until(&api, 503).await;
    let arrived = expect(ids);
    receiver
        .wait_until(|log| log.unique() >= arrived, PATIENCE)
        .await;

    quota.free(&decnet);
    let (ids, _) = publish_until(&api, 202).await;
    let all = expect(ids);
    receiver
        .wait_until(|log| log.unique() == all, PATIENCE)
        .await;
    recorded(&api, all).await;
    assert!(decnet.terminate().await.success());
    reconciler.receive_all("siem", &receiver.received());
    let report = reconciler.report();
    assert!(report.lost.is_empty(), "{report}");
}

#[tokio::test]
async fn a_database_that_cannot_be_written_is_named_and_keeps_everything() {
    let dir = data_dir();
    let receiver = Receiver::builder(Behaviour::ok())
        .secret(Listen::SECRET)
        .start()
        .await;
    let accepted = {
        // Published while no worker runs.
        let mut decnet = Decnet::api_only(dir.path()).await;
        let api = decnet.api().await;
        api.subscribe("siem", &receiver.url(), Listen::SECRET, &["attacker.>"])
            .await;
        let (ids, _) = publish_until(&api, 202).await;
        assert!(decnet.terminate().await.success());
        ids
    };
    let quota = Quota::new(dir.path());
    let mut refused = quota.start_read_only(Starter::new("serve", dir.path()));
    assert!(!refused.wait().await.success());
    let said = refused.log().all().join("\n");
    assert!(said.contains("cannot be written"), "{said}");
    assert!(said.contains("DECNET_DATA_DIR"), "{said}");

    let mut decnet = Decnet::serve(dir.path()).await;
    receiver
        .wait_until(|log| log.times(&accepted[0]) == 1, PATIENCE)
        .await;
    assert!(decnet.terminate().await.success());
}
