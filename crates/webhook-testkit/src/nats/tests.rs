use super::*;

async fn streams(port: u16) -> u64 {
    let info = wire::ask(port, "$JS.API.INFO").await.expect("an answer");
    info["streams"].as_u64().expect("JetStream is enabled")
}

#[tokio::test]
async fn a_server_comes_back_with_its_store() {
    let mut server = NatsServer::start().await;
    assert_eq!(streams(server.port()).await, 0);
    server.restart().await;
    assert_eq!(streams(server.port()).await, 0);
    assert!(server.dir().join("store").is_dir());
    server.kill();
    assert!(!wire::greets(server.port()).await);
    server.start_again().await;
}

#[tokio::test]
async fn a_frozen_server_is_silent() {
    let server = NatsServer::start().await;
    server.freeze();
    assert!(!wire::greets(server.port()).await);
    server.thaw();
    assert!(wire::greets(server.port()).await);
}

#[tokio::test]
async fn without_jetstream_there_is_none() {
    let server = NatsServer::with("").await;
    assert_eq!(wire::ask(server.port(), "$JS.API.INFO").await, None);
}

#[tokio::test]
async fn three_are_one() {
    let mut cluster = NatsCluster::start().await;
    cluster.nodes()[0].kill();
    cluster.nodes()[0].start_again().await;
    assert_eq!(cluster.urls().len(), 3);
}
