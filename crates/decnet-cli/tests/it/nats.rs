//! The same binary on a NATS server.

mod logins;
mod outages;

use serde_json::json;
use webhook_testkit::{NatsServer, tools::run_tests_again};

use crate::support::{Listen, Starter, data_dir};

#[tokio::test]
async fn events_come_out_through_jetstream_and_again_after_its_restart() {
    let users = "jetstream: enabled\nauthorization { users: [{user: ann, password: hunter2}] }";
    let mut server = NatsServer::with(users).await;
    let dir = data_dir();
    let url = format!("nats://ann:hunter2@127.0.0.1:{}", server.port());
    let mut decnet = Starter::new("serve", dir.path())
        .var("DECNET_BUS_URL", &url)
        .start()
        .await;
    let listen = Listen::start(dir.path(), &[]).await;
    let api = decnet.api().await;
    api.subscribe("siem", listen.url(), Listen::SECRET, &["attacker.>"])
        .await;
    for round in 0..2 {
        let id = api
            .publish("attacker.observed", json!({"round": round}))
            .await;
        let row = listen.wait_for(|row| row["event_id"] == id.as_str()).await;
        assert_eq!(row["verified"], true, "{row}");
        server.restart().await;
        decnet.log().wait_for("NATS is back").await;
    }
    assert!(decnet.terminate().await.success());
    let log = format!("{:#?}", decnet.log().all());
    assert!(
        log.contains(&server.url()) && !log.contains("hunter2"),
        "{log}"
    );
}

/// Whatever else is about NATS: a restart of it, clocks apart, two workers.
const ON_THE_OLDEST: [&str; 5] = [
    "nats::events_come_out_through_jetstream_and_again_after_its_restart",
    "clocks::an_api_that_is_an_hour_ahead_of_nats",
    "servers::the_bus_is_killed_and_comes_back",
    "servers::one_worker_is_killed",
    "servers::the_day_comes_out_once_with_two_workers",
];

#[tokio::test]
#[ignore = "nats-server 2.9: cargo xtask test --full"]
async fn the_same_on_nats_2_9() {
    let passed = run_tests_again(&ON_THE_OLDEST, &NatsServer::oldest().await);
    assert_eq!(passed as usize, ON_THE_OLDEST.len());
}
