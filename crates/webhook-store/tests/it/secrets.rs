//! A secret appears in no log line, however much is logged, and in no `Debug`.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter};
use webhook_model::{DeliveryStatus, Secret};
use webhook_store::SubscriptionPatch;

use crate::support::*;

const OTHER: &str = "rotated-secret-of-the-test";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[test]
fn no_secret_is_logged_or_shown() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    // For the whole process: the driver logs from threads of its own. This is the only test that
    // sets it, and others' lines do no harm.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let shown = runtime.block_on(work());
    let log = log.text();
    assert!(
        log.contains("cannot be read and is skipped"),
        "the log works"
    );
    assert!(log.contains("bad-row"));
    for text in [&shown, &log] {
        for secret in [SECRET, OTHER] {
            assert!(!text.contains(secret), "found {secret} in {text}");
        }
    }
    assert_eq!(log.matches("uuid=\"bad-row\"").count(), 1, "warned of once");
}

async fn work() -> String {
    let database = Database::new();
    let store = database.open().await;
    let new = new("siem", &["a"]);
    let mut shown = format!("{new:?} {:?} {store:?}", database.config());
    let made = store.create(new.clone(), &at(1)).await.unwrap();
    let patch = SubscriptionPatch {
        secret: Some(Secret::parse(OTHER).unwrap()),
        ..SubscriptionPatch::default()
    };
    shown.push_str(&format!(
        "{made:?} {patch:?} {:?}",
        store.create(new, &at(1)).await
    ));
    shown.push_str(&format!(
        "{:?}",
        store.patch(&made.uuid, patch, &at(1)).await.unwrap()
    ));
    store
        .record(&[record(&made, "p", 1, DeliveryStatus::Dead)])
        .await
        .unwrap();
    let decnet = database.decnet().await;
    decnet.insert("bad-row", "bad", "no url", r#"["a"]"#).await;
    for _ in 0..3 {
        shown.push_str(&format!(
            "{:?} {:?}",
            store.list().await,
            store.snapshot().await
        ));
    }
    shown.push_str(&format!("{:?}", store.get("bad-row").await));
    // A database that refuses to take a secret does not repeat it, either.
    decnet
        .run(
            "CREATE TRIGGER refuse BEFORE UPDATE OF secret ON webhook_subscriptions
            BEGIN SELECT RAISE(ABORT, 'no'); END",
        )
        .await;
    let patch = SubscriptionPatch {
        secret: Some(Secret::parse(SECRET).unwrap()),
        ..SubscriptionPatch::default()
    };
    shown.push_str(&format!(
        "{:?}",
        store.patch(&made.uuid, patch, &at(1)).await.unwrap_err()
    ));
    shown
}
