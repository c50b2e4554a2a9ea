//! Streams that fit or not, servers without JetStream, and who may come in.

use std::time::Duration;

use tokio::{sync::mpsc, time::timeout};
use webhook_bus::{BusError, Hidden, JetStream, JetStreamConfig, NatsLogin};
use webhook_testkit::{NatsAccount, NatsServer, nats_certificates};

use super::support::{PATIENCE, config, consume, open, take};
use crate::support::{pattern, publish};

async fn refused(config: JetStreamConfig) -> BusError {
    JetStream::open(config).await.unwrap_err()
}

#[tokio::test]
async fn a_nats_without_jetstream_says_how_to_enable_it() {
    let server = NatsServer::with("").await;
    let error = refused(config(&server)).await;
    assert!(matches!(error, BusError::NoJetStream(_)), "{error}");
    assert!(
        error.to_string().contains("start nats-server with -js"),
        "{error}"
    );
}

#[tokio::test]
async fn a_stream_that_is_not_ours_is_only_checked() {
    let server = NatsServer::start().await;
    let mut mine = config(&server);
    mine.manage = false;
    let error = refused(mine.clone()).await;
    assert!(
        matches!(&error, BusError::NoStream(name) if name == "DECNET"),
        "{error}"
    );
    drop(open(config(&server)).await);
    let bus = open(mine.clone()).await;
    publish(&bus, "a.x", 1).await;
    mine.subjects.push(pattern("c.>"));
    let error = refused(mine.clone()).await.to_string();
    assert!(error.contains("lacks the subjects c.>"), "{error}");
    // Managed, it gets them, and keeps what it has.
    mine.manage = true;
    let bus = open(mine).await;
    assert_eq!(publish(&bus, "c.x", 1).await, [2]);
    assert_eq!(publish(&bus, "a.x", 1).await, [3]);
    let mut other = config(&server);
    other.stream = "OTHER".to_owned();
    let error = refused(other).await.to_string();
    assert!(
        error.contains("another stream captures some of its subjects"),
        "{error}"
    );
}

#[tokio::test]
async fn what_retention_takes_is_told() {
    let server = NatsServer::start().await;
    let (gaps, mut reports) = mpsc::channel(8);
    let mut config = config(&server);
    config.gaps = Some(gaps);
    config.gap_interval = Duration::from_millis(200);
    // Long enough that a loaded machine takes all of them before they go.
    config.max_age = Duration::from_secs(5);
    let bus = open(config).await;
    let mut idle = consume(&bus, "idle", "a.>").await;
    let mut busy = consume(&bus, "busy", "a.>").await;
    publish(&bus, "a.x", 5).await;
    for message in take(&mut busy, 5).await {
        busy.acker().ack(message.seq).await;
    }
    take(&mut idle, 1).await;
    let gap = timeout(PATIENCE, reports.recv()).await.unwrap().unwrap();
    assert_eq!((gap.consumer.as_str(), gap.from), ("idle", 1));
    let mut to = gap.to;
    while to < 5 {
        let more = timeout(PATIENCE, reports.recv()).await.unwrap().unwrap();
        assert_eq!((more.consumer.as_str(), more.from), ("idle", to + 1));
        to = more.to;
    }
    assert_eq!(to, 5);
    assert!(reports.try_recv().is_err(), "told twice");
}

#[tokio::test]
async fn a_user_needs_the_password() {
    let server = NatsServer::with(
        "jetstream: enabled\nauthorization { users: [{user: ann, password: secret-word}] }",
    )
    .await;
    let error = refused(config(&server)).await;
    assert!(matches!(error, BusError::NatsLogin { .. }), "{error}");
    let login = |password: &str| NatsLogin::Password {
        user: "ann".to_owned(),
        password: Hidden::new(password),
    };
    let mut wrong = config(&server);
    wrong.login = login("another-word");
    let error = refused(wrong).await;
    assert!(matches!(error, BusError::NatsLogin { .. }), "{error}");
    assert!(!format!("{error:?}").contains("another-word"));
    let mut right = config(&server);
    right.login = login("secret-word");
    publish(&open(right).await, "a.x", 1).await;
}

#[tokio::test]
async fn an_nkey_opens() {
    // A pair made for this test alone.
    const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    const PUBLIC: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    let server = NatsServer::with(&format!(
        "jetstream: enabled\nauthorization {{ users: [{{nkey: {PUBLIC}}}] }}"
    ))
    .await;
    let mut config = config(&server);
    assert!(matches!(
        refused(config.clone()).await,
        BusError::NatsLogin { .. }
    ));
    config.login = NatsLogin::Nkey(Hidden::new(SEED));
    publish(&open(config).await, "a.x", 1).await;
}

#[tokio::test]
async fn a_credentials_file_opens() {
    let account = NatsAccount::new();
    let server = NatsServer::with(&account.config()).await;
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        NatsLogin::Credentials(path)
    };
    let mut config = config(&server);
    config.login = file("ours.creds", &account.credentials());
    publish(&open(config.clone()).await, "a.x", 1).await;
    // Of an account that this server does not know.
    config.login = file("theirs.creds", &NatsAccount::new().credentials());
    let error = refused(config.clone()).await;
    assert!(matches!(error, BusError::NatsLogin { .. }), "{error}");
    config.login = file("none.creds", "nothing of the kind");
    let error = refused(config).await;
    assert!(matches!(error, BusError::NatsCredentials { .. }), "{error}");
}

#[tokio::test]
async fn tls_with_an_authority_and_a_client_certificate_of_ones_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let server = NatsServer::with(&nats_certificates(dir.path())).await;
    let url = format!("tls://127.0.0.1:{}", server.port());
    let mut config = JetStreamConfig::parse(&url).unwrap();
    config.subjects = vec![pattern("a.>")];
    config.ca = Some(file("ca.pem"));
    config.client_certificate = Some((file("client.pem"), file("client.key")));
    publish(&open(config.clone()).await, "a.x", 1).await;
    config.ca = Some(file("client.pem"));
    let error = refused(config).await;
    assert!(matches!(error, BusError::NatsTls { .. }), "{error}");
}
