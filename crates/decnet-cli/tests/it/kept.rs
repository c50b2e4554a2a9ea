//! What the bus keeps when one publisher floods it.

use std::{path::Path, time::Duration};

use reqwest::Method;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use webhook_testkit::{Behaviour, Receiver};

use crate::support::{Api, Listen, Starter, data_dir, run, succeeded};

/// The least that the bus can be bounded to.
const MAX_BYTES: u64 = 16 << 20;
/// An event of the flood.
const LARGE: usize = 900_000;
/// The journal looks for what it can let go of every half minute; then it takes a thousand at once.
const SWEPT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

async fn publisher(url: &str, dir: &Path, name: &str) -> Api {
    let create = ["token", "create", "--role", "publisher", "--name", name];
    let token = succeeded(&run(dir, &create).await);
    Api::with_token(url, token.trim())
}

async fn publish(api: &Api, topic: &str, bytes: usize) -> (u16, Value) {
    let event = json!({"topic": topic, "payload": {"text": "x".repeat(bytes)}});
    api.ask(Method::POST, "/api/v1/events", Some(event)).await
}

/// How many events of a topic the bus has, and what all of them come to.
fn kept(dir: &Path, topic: &str) -> (u64, u64) {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let journal = Connection::open_with_flags(dir.join("journal.db"), flags).expect("it opens");
    let query = "SELECT count(*) FILTER (WHERE topic = ?1), sum(length(body)) FROM events";
    let row = journal.query_row(query, [topic], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
    });
    let (count, bytes) = row.expect("it can be read");
    (count.cast_unsigned(), bytes.cast_unsigned())
}

async fn swept(dir: &Path) {
    let until = Instant::now() + SWEPT;
    while kept(dir, "").1 > MAX_BYTES {
        assert!(Instant::now() < until, "{:?}", kept(dir, ""));
        sleep(POLL).await;
    }
}

#[tokio::test]
async fn a_flood_takes_its_own_place_and_then_waits() {
    let dir = data_dir();
    let dir = dir.path();
    let server = Starter::new("serve", dir)
        .var("DECNET_BUS_MAX_BYTES", &MAX_BYTES.to_string())
        .start()
        .await;
    let api = server.api().await;
    // It takes none within the test, and what was not tried waits on the bus.
    let hanging = Behaviour::ok().after(Duration::from_secs(3_600));
    let receiver = Receiver::start(hanging).await;
    api.subscribe("siem", &receiver.url(), Listen::SECRET, &["email.>"])
        .await;
    let honest = publisher(server.url(), dir, "honest").await;
    let noisy = publisher(server.url(), dir, "noisy").await;
    for _ in 0..20 {
        assert_eq!(publish(&honest, "email.evidence", 50_000).await.0, 202);
    }
    // Younger than the evidence, and wanted by nobody.
    for _ in 0..40 {
        assert_eq!(publish(&noisy, "attacker.noise", LARGE).await.0, 202);
    }
    swept(dir).await;
    assert_eq!(kept(dir, "email.evidence").0, 20, "undelivered, all of it");
    let lost = |line: &String| line.contains("retention took events");
    assert!(
        !server.log().all().iter().any(lost),
        "{:#?}",
        server.log().all()
    );

    // What nobody has taken fills the bus: now the oldest of it go, and who put most there waits.
    for _ in 0..24 {
        assert_eq!(publish(&noisy, "email.noise", LARGE).await.0, 202);
    }
    swept(dir).await;
    server
        .log()
        .wait_for("retention took events that were not delivered yet")
        .await;
    let (status, refused) = publish(&noisy, "email.noise", 1).await;
    let said = refused["detail"].as_str().unwrap_or_default();
    assert_eq!(status, 429, "{refused}");
    for part in [
        "The bus is full of undelivered events",
        "more than its share, 50 % of 16777216;",
        "DECNET_PUBLISH_BUS_SHARE or --bus-max-bytes",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(publish(&honest, "email.evidence", 1).await.0, 202);
    assert_eq!(publish(&api, "email.evidence", 1).await.0, 202, "an admin");
}
