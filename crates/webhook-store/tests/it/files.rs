//! Opening: the file, its rights, what else may be in it.

use std::{fs, os::unix::fs::PermissionsExt};

use webhook_store::{DatabaseConfig, Store, StoreError};

use crate::support::*;

on_each_engine!(
    the_deployment_keeps_its_name,
    processes_that_start_together_take_turns,
    a_newer_schema_is_refused_clearly,
);

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_file_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/data/decnet.db");
    let config = DatabaseConfig::new(format!("sqlite://{}", path.display()));
    let store = Store::open(&config).await.unwrap();
    store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&path.with_extension("db-wal")), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    store.close().await.unwrap();

    // One that is there keeps what DECNET gave it.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    Store::open(&config).await.unwrap();
    assert_eq!(mode(&path), 0o640);
}

#[tokio::test]
async fn readers_do_not_wait_for_writers() {
    let database = Database::new();
    let store = database.open().await;
    store.ping().await.unwrap();
    let journal = database
        .decnet()
        .await
        .text("PRAGMA journal_mode")
        .await
        .unwrap();
    assert_eq!(journal, "wal");
}

async fn the_deployment_keeps_its_name(database: Database) {
    let store = database.open().await;
    let id = store.deployment_id().to_owned();
    assert_eq!(id.len(), 36);
    store.close().await.unwrap();
    assert_eq!(database.open().await.deployment_id(), id);
    assert_ne!(Database::new().open().await.deployment_id(), id);
}

async fn processes_that_start_together_take_turns(database: Database) {
    let openings: Vec<_> = (0..8)
        .map(|_| {
            let config = database.config();
            tokio::spawn(async move { Store::open(&config).await.unwrap() })
        })
        .collect();
    let mut ids = Vec::new();
    for opening in openings {
        ids.push(opening.await.unwrap().deployment_id().to_owned());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

async fn a_newer_schema_is_refused_clearly(database: Database) {
    database.open().await.close().await.unwrap();
    let decnet = database.decnet().await;
    decnet
        .run("INSERT INTO webhook_migrations VALUES ('m9999_wonders', 0)")
        .await;
    let error = Store::open(&database.config()).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::NewerSchema { unknown, .. } if unknown == &["m9999_wonders"]),
        "{error:?}"
    );
    let said = error.to_string();
    let url = database.config().shown_url();
    for part in [&url, "m9999_wonders", "up to m0006_kept", "backup"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!error.is_connection(), "waiting does not help");
}

#[tokio::test]
async fn other_urls_are_refused_with_advice() {
    for (url, said) in [
        (
            "oracle://decnet:hunter2@db/decnet",
            "this build does not speak oracle",
        ),
        ("decnet.db", "no scheme"),
        ("sqlite::memory:", "in memory"),
        ("sqlite:///tmp/x.db?mode=memory", "in memory"),
        ("sqlite:///tmp/x.db?nonsense=1", "nonsense"),
    ] {
        let error = Store::open(&DatabaseConfig::new(url)).await.unwrap_err();
        assert!(matches!(error, StoreError::Url { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains(said) && text.contains("sqlite:///var/lib"),
            "{text}"
        );
        assert!(!text.contains("hunter2") && !format!("{error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named() {
    let error = Store::open(&DatabaseConfig::new("sqlite:///proc/none/decnet.db"))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::CreateFile { .. }), "{error:?}");
    assert!(error.to_string().contains("/proc/none/decnet.db"));
    assert!(error.is_connection(), "a folder may be mounted later");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("decnet.db");
    fs::write(
        &path,
        "this is no database, but long enough to look like one".repeat(40),
    )
    .unwrap();
    let url = format!("sqlite://{}", path.display());
    let error = Store::open(&DatabaseConfig::new(url)).await.unwrap_err();
    assert!(error.to_string().contains("DECNET_DATABASE_URL"), "{error}");
}
