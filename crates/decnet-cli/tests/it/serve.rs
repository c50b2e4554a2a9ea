use std::time::{Duration, Instant};

use serde_json::json;
use webhook_testkit::{Behaviour, Receiver};

use crate::support::{Api, Decnet, Listen, PATIENCE, Starter, data_dir, signal};

#[tokio::test]
async fn an_event_comes_out_signed_and_sigterm_ends_it_cleanly() {
    let dir = data_dir();
    let mut decnet = Decnet::serve(dir.path()).await;
    let listen = Listen::start(dir.path(), &[]).await;
    let api = decnet.api().await;
    api.subscribe("siem", listen.url(), Listen::SECRET, &["attacker.>"])
        .await;
    let id = api
        .publish("attacker.observed", json!({"ip": "192.0.2.7"}))
        .await;
    let row = listen.wait_for(|row| row["event_id"] == id.as_str()).await;
    assert_eq!(row["verified"], true, "{row}");
    assert_eq!(row["body"]["payload"], json!({"ip": "192.0.2.7"}));

    let status = decnet.terminate().await;
    assert_eq!(status.code(), Some(0), "{:#?}", decnet.log().all());
    decnet.log().wait_for("drained").await;
    assert!(
        !dir.path().join("api.url").exists(),
        "it takes its address with it"
    );
}

#[tokio::test]
async fn api_and_webhook_as_two_processes_do_the_same() {
    let dir = data_dir();
    let mut api_process = Decnet::api_only(dir.path()).await;
    let mut worker = Decnet::webhook(dir.path()).await;
    let listen = Listen::start(dir.path(), &[]).await;
    let api = api_process.api().await;
    api.subscribe("siem", listen.url(), Listen::SECRET, &["decky.*.state"])
        .await;
    let id = api
        .publish("decky.decky-01.state", json!({"state": "up"}))
        .await;
    listen.wait_for(|row| row["event_id"] == id.as_str()).await;
    assert!(worker.terminate().await.success());
    assert!(api_process.terminate().await.success());
}

#[tokio::test]
async fn sigterm_lets_what_is_in_flight_end() {
    let dir = data_dir();
    let mut decnet = Decnet::serve(dir.path()).await;
    let receiver = Receiver::start(Behaviour::ok().after(Duration::from_millis(1_500))).await;
    let api = decnet.api().await;
    api.subscribe("slow", &receiver.url(), Listen::SECRET, &["attacker.>"])
        .await;
    receiver.trust(Listen::SECRET);
    api.publish("attacker.observed", json!({})).await;
    receiver
        .wait_until(|log| log.len() == 1, Duration::from_secs(30))
        .await;
    assert!(decnet.terminate().await.success());
    assert_eq!(
        receiver.log(|log| log.taken()),
        1,
        "the request was cut off"
    );

    // Recorded and acknowledged: it does not come again.
    let decnet = Decnet::serve(dir.path()).await;
    let api = decnet.api().await;
    api.publish("attacker.observed", json!({"second": true}))
        .await;
    receiver
        .wait_until(|log| log.unique() == 2, Duration::from_secs(30))
        .await;
    assert_eq!(receiver.log(|log| log.duplicates()), 0);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let dir = data_dir();
    let mut decnet = Decnet::serve(dir.path()).await;
    let receiver = Receiver::start(Behaviour::ok().after(Duration::from_secs(9))).await;
    let api = decnet.api().await;
    api.subscribe("slow", &receiver.url(), Listen::SECRET, &["attacker.>"])
        .await;
    api.publish("attacker.observed", json!({})).await;
    receiver
        .wait_until(|log| log.len() == 1, Duration::from_secs(30))
        .await;
    let start = Instant::now();
    signal(decnet.pid(), "INT").await;
    decnet.log().wait_for("SIGINT: stopping").await;
    signal(decnet.pid(), "TERM").await;
    assert_eq!(decnet.wait().await.code(), Some(143));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_disabled_bus_leaves_the_worker_up_and_idle() {
    let dir = data_dir();
    let mut worker = Starter::new("webhook", dir.path())
        .var("DECNET_BUS_ENABLED", "false")
        .spawn();
    worker.log().wait_for("the worker is idle").await;
    let found = worker.log().find(|line| {
        line.trim_start()
            .starts_with("health")
            .then(|| line.trim_start()[6..].trim().to_owned())
    });
    let url = found.await.expect("it says where");
    crate::support::install_tls();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http.get(&url).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    let text = answer.text().await.unwrap();
    assert!(text.contains("DECNET_BUS_ENABLED=false"), "{text}");
    assert!(worker.terminate().await.success());
}

#[tokio::test]
async fn an_order_over_the_bus_stops_the_worker_with_success() {
    let dir = data_dir();
    let mut worker = Decnet::webhook(dir.path()).await;
    // Only DECNET itself speaks on that topic, over the socket; the API refuses it to everybody.
    let api = Decnet::api_only(dir.path()).await;
    let client = Api::new(api.url(), dir.path(), "admin").await;
    let body = json!({"topic": "system.webhook.control", "payload": {"action": "stop"}});
    let refused = client
        .ask(reqwest::Method::POST, "/api/v1/events", Some(body))
        .await;
    assert_eq!(refused.0, 403, "{}", refused.1);

    use tokio::io::AsyncWriteExt;
    let mut socket = tokio::net::UnixStream::connect(dir.path().join("bus.sock"))
        .await
        .unwrap();
    let body = br#"{"v":1,"id":"stop1","type":"stop","payload":{"action":"stop","requested_by":"test","ts":1}}"#;
    let mut frame = b"PUB system.webhook.control\n".to_vec();
    frame.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(body);
    let mut hello = b"HELLO test\n".to_vec();
    hello.extend_from_slice(&0u32.to_be_bytes());
    socket.write_all(&hello).await.unwrap();
    socket.write_all(&frame).await.unwrap();
    assert_eq!(
        worker.wait().await.code(),
        Some(0),
        "{:#?}",
        worker.log().all()
    );
}

/// As with `decnet serve 2>&1 | head`, or a log on a disk that is full.
#[tokio::test]
async fn a_server_whose_words_cannot_be_written_delivers_and_stops_all_the_same() {
    let dir = data_dir();
    let mut decnet = Decnet::serve(dir.path()).await;
    decnet.log().hang_up().await;
    let down = Receiver::start(Behaviour::status(404)).await;
    let up = Receiver::start(Behaviour::ok()).await;
    let api = decnet.api().await;
    // Its breaker trips, of which the log would have a warning.
    api.subscribe("down", &down.url(), Listen::SECRET, &["attacker.>"])
        .await;
    for _ in 0..6 {
        api.publish("attacker.observed", json!({})).await;
    }
    down.wait_for(5, PATIENCE).await;
    api.subscribe("up", &up.url(), Listen::SECRET, &["attacker.>"])
        .await;
    api.publish("attacker.observed", json!({})).await;
    up.wait_for(1, PATIENCE).await;
    assert!(decnet.terminate().await.success());
}
