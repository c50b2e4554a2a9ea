//! Connections are kept, and lead nowhere else.

use webhook_delivery::Verdict;
use webhook_testkit::{Behaviour, Receiver};

use crate::{LONG, attempt, attempt_url, client, endpoint, event, rerun};

#[tokio::test]
async fn one_connection_serves_them_all() {
    let receiver = Receiver::start(Behaviour::first(
        10,
        Behaviour::ok(),
        Behaviour::first(10, Behaviour::status(503), Behaviour::status(404)),
    ))
    .await;
    let client = client();
    for _ in 0..30 {
        attempt_url(&client.clone(), &receiver.url(), LONG).await;
    }
    assert_eq!((receiver.count(), receiver.connections()), (30, 1));
}

#[tokio::test]
async fn a_kept_connection_that_died_is_replaced() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let client = client();
    for _ in 0..3 {
        let attempt = attempt_url(&client, &receiver.url(), LONG).await;
        assert_eq!(attempt.verdict, Verdict::DELIVERED, "{:?}", attempt.error);
        receiver.down().await;
        receiver.up().await.unwrap();
        // The client hears of the close before it is asked again.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn many_at_once() {
    let receiver = Receiver::builder(Behaviour::ok())
        .secret(crate::SECRET)
        .start()
        .await;
    let (client, endpoint) = (client(), endpoint(&receiver.url()));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (client, endpoint) = (client.clone(), endpoint.clone());
        tasks.spawn(async move { client.attempt(&endpoint, &event()).await.verdict });
    }
    let verdicts = tasks.join_all().await;
    assert!(verdicts.iter().all(|&v| v == Verdict::DELIVERED));
    receiver.log(|log| {
        assert_eq!((log.unique(), log.duplicates()), (200, 0));
        assert!(log.all().iter().all(|got| got.is_verified()));
    });
}

#[tokio::test]
async fn proxies_of_the_environment_are_ignored() {
    let proxy = Receiver::start(Behaviour::status(502)).await;
    let url = format!("http://{}", proxy.addr());
    let names = [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ];
    let environment = names.map(|name| (name, url.clone()));
    let test = "connections::a_delivery_goes_straight_to_its_receiver";
    tokio::task::spawn_blocking(move || rerun(test, &environment))
        .await
        .unwrap();
    assert_eq!(proxy.connections(), 0);
}

/// Also what [`proxies_of_the_environment_are_ignored`] runs.
#[tokio::test]
async fn a_delivery_goes_straight_to_its_receiver() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    assert_eq!(attempt(&receiver, LONG).await.verdict, Verdict::DELIVERED);
}
