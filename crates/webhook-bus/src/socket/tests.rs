use tokio::{io::AsyncWriteExt, net::UnixStream};
use webhook_model::TopicPattern;

use super::*;
use crate::{JournalConfig, Role};

#[tokio::test]
async fn what_the_journal_refuses_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let journal = Journal::open(JournalConfig::new(path, Role::Worker))
        .await
        .unwrap();
    journal.shared().space.set_least(u64::MAX);
    let bus = Bus::from(journal.clone());
    let mut watch = bus.watch(&TopicPattern::parse(">").unwrap()).await.unwrap();
    let config = SocketConfig::new(dir.path().join("bus.sock"));
    let server = BusServer::bind(&bus, config.clone()).await.unwrap();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(server.run(shutdown.clone()));

    let mut client = UnixStream::connect(&config.path).await.unwrap();
    for topic in ["a.1", "a.2"] {
        let frame = [b"PUB ", topic.as_bytes(), b"\n\0\0\0\x02{}"].concat();
        client.write_all(&frame).await.unwrap();
    }
    // It goes without waiting for what became of them.
    drop(client);
    tokio::task::yield_now().await;
    journal.shared().space.set_least(0);
    assert_eq!(watch.next().await.unwrap().topic.as_str(), "a.1");
    assert_eq!(watch.next().await.unwrap().topic.as_str(), "a.2");
    shutdown.cancel();
    server.await.unwrap();
}

#[tokio::test]
async fn orders_of_an_untrusted_user_are_refused_and_its_events_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let journal = Journal::open(JournalConfig::new(path, Role::Worker))
        .await
        .unwrap();
    let bus = Bus::from(journal);
    let mut watch = bus.watch(&TopicPattern::parse(">").unwrap()).await.unwrap();
    let config = SocketConfig::new(dir.path().join("bus.sock"));
    let mut server = BusServer::bind(&bus, config.clone()).await.unwrap();
    // As if our own user were another one's.
    server.trusted = Trusted::nobody();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(server.run(shutdown.clone()));
    let mut client = UnixStream::connect(&config.path).await.unwrap();
    let topics = [
        "system.webhook.control",
        "system.webhook.health",
        "system.webhook.subscriptions_changed",
        "system.mutator.state",
    ];
    for topic in topics {
        let frame = [b"PUB ", topic.as_bytes(), b"\n\0\0\0\x02{}"].concat();
        client.write_all(&frame).await.unwrap();
    }
    assert_eq!(
        watch.next().await.unwrap().topic.as_str(),
        "system.mutator.state"
    );
    assert_eq!(bus.position().await.unwrap().next_seq, 2);
    shutdown.cancel();
    server.await.unwrap();
}
