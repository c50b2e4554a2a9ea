//! Backups under load, and what is made of them.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use rusqlite::Connection;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use webhook_testkit::{Behaviour, Receiver};

use crate::{
    fixture,
    support::{
        Api, Decnet, Listen, PATIENCE, Starter, data_dir, decnet, finish, run, stderr, succeeded,
    },
};

/// Publishes until it is told to stop, and notes what was acknowledged.
fn publishing(
    api: Api,
    stop: CancellationToken,
) -> (Arc<Mutex<Vec<String>>>, tokio::task::JoinHandle<()>) {
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let task = tokio::spawn({
        let acknowledged = acknowledged.clone();
        async move {
            while !stop.is_cancelled() {
                let id = api.publish("attacker.observed", json!({})).await;
                acknowledged.lock().unwrap().push(id);
            }
        }
    });
    (acknowledged, task)
}

async fn backup(dir: &Path, to: &Path) -> String {
    succeeded(&run(dir, &["backup", to.to_str().unwrap()]).await)
}

#[tokio::test]
async fn what_was_accepted_before_a_backup_under_load_is_delivered_from_it() {
    let dir = data_dir();
    let mut decnet = Decnet::serve(dir.path()).await;
    let api = decnet.api().await;
    let quick = Receiver::builder(Behaviour::ok())
        .secret(Listen::SECRET)
        .start()
        .await;
    // Is far behind when the backup is made: most of it waits on the bus.
    let slow = Receiver::builder(Behaviour::ok().after(Duration::from_millis(200)))
        .secret(Listen::SECRET)
        .start()
        .await;
    api.subscribe("quick", &quick.url(), Listen::SECRET, &["attacker.>"])
        .await;
    api.subscribe("slow", &slow.url(), Listen::SECRET, &["attacker.>"])
        .await;
    let stop = CancellationToken::new();
    let (acknowledged, publisher) = publishing(api, stop.clone());
    quick.wait_for(300, PATIENCE).await;

    let before = acknowledged.lock().unwrap().clone();
    let copied = dir.path().join("copied");
    backup(dir.path(), &copied).await;
    let during = acknowledged.lock().unwrap().len() - before.len();
    // It goes on, and delivers what the copied database cannot know.
    quick.wait_for(before.len() + during + 200, PATIENCE).await;
    stop.cancel();
    publisher.await.unwrap();
    decnet.kill().await;

    for file in ["journal.db", "decnet.db", "jwt.secret", "backup.json"] {
        let mode = fs::metadata(copied.join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let elsewhere = data_dir();
    succeeded(&run(elsewhere.path(), &["restore", copied.to_str().unwrap()]).await);
    slow.behave(Behaviour::ok());
    let decnet = Decnet::serve(elsewhere.path()).await;
    // The key came along, so tokens made here count there; new events have numbers of their own.
    let api = Api::new(decnet.url(), dir.path(), "admin").await;
    let mut wanted: BTreeSet<String> = before.into_iter().collect();
    for _ in 0..300 {
        wanted.insert(api.publish("attacker.later", json!({})).await);
    }
    for receiver in [&quick, &slow] {
        receiver
            .wait_until(|log| wanted.iter().all(|id| log.times(id) > 0), PATIENCE)
            .await;
        assert!(receiver.received().iter().all(|it| it.is_verified()));
    }
}

#[tokio::test]
async fn nothing_is_overwritten_and_nothing_replaced_under_a_server() {
    let dir = data_dir();
    let mut decnet = Decnet::serve(dir.path()).await;
    let copied = dir.path().join("copied");
    let said = backup(dir.path(), &copied).await;
    assert!(said.contains("copied journal.db"), "{said}");
    let again = run(dir.path(), &["backup", copied.to_str().unwrap()]).await;
    assert!(!again.status.success());
    assert!(
        stderr(&again).contains("is not empty"),
        "{}",
        stderr(&again)
    );

    let restore = async |dir: &Path, extra: &[&str]| {
        let mut args = vec!["restore", copied.to_str().unwrap()];
        args.extend(extra);
        let output = run(dir, &args).await;
        (output.status.success(), stderr(&output))
    };
    let (done, said) = restore(dir.path(), &[]).await;
    assert!(!done && said.contains("is not empty"), "{said}");
    let (done, said) = restore(dir.path(), &["--force"]).await;
    assert!(!done && said.contains("stop it first"), "{said}");
    decnet.terminate().await;
    let mut api_only = Decnet::api_only(dir.path()).await;
    let (done, said) = restore(dir.path(), &["--force"]).await;
    assert!(!done && said.contains("an API runs"), "{said}");
    api_only.terminate().await;
    let (done, said) = restore(dir.path(), &["--force"]).await;
    assert!(done, "{said}");
    let mut decnet = Decnet::serve(dir.path()).await;
    let status = decnet.terminate().await;
    assert!(status.success(), "{status}: {:#?}", decnet.log().all());

    // Damaged, and incomplete.
    let elsewhere = data_dir();
    let database = copied.join("decnet.db");
    let mut bytes = fs::read(&database).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0xAA);
    fs::write(&database, bytes).unwrap();
    let (done, said) = restore(elsewhere.path(), &[]).await;
    assert!(!done, "{said}");
    let left: Vec<_> = fs::read_dir(elsewhere.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != "journal.lock")
        .collect();
    assert!(left.is_empty(), "{left:?}");
    fs::remove_file(copied.join("backup.json")).unwrap();
    let (done, said) = restore(elsewhere.path(), &[]).await;
    assert!(!done && said.contains("not a whole one"), "{said}");
}

#[tokio::test]
async fn of_decnets_database_only_the_webhook_tables_are_restored() {
    let dir = data_dir();
    let file = dir.path().join("main.db");
    drop(fixture::make(&file, fixture::DECNET, "http://127.0.0.1:9/"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let url = format!("sqlite://{}", file.display());
    let with = async |args: &[&str]| {
        let mut command = decnet(dir.path(), args);
        finish(command.env("DECNET_DATABASE_URL", &url)).await
    };
    let starter = || Starter::new("serve", dir.path()).var("DECNET_DATABASE_URL", &url);
    let mut server = starter().start().await;
    let api = server.api().await;
    api.subscribe("ours", "http://127.0.0.1:9/x", Listen::SECRET, &["a.>"])
        .await;
    let copied = dir.path().join("copied");
    let copied = copied.to_str().unwrap();
    succeeded(&with(&["backup", copied]).await);
    assert!(server.terminate().await.success());

    // DECNET goes on, and holds its database open.
    let decnets = Connection::open(&file).unwrap();
    decnets
        .execute_batch(
            "INSERT INTO attackers VALUES ('a-2', '192.0.2.8'); DELETE FROM webhook_subscriptions;",
        )
        .unwrap();
    let before = fs::metadata(&file).unwrap();
    let refused = with(&["restore", "--force", copied]).await;
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("process {}", std::process::id())),
        "{said}"
    );
    assert!(said.contains("stop it first"), "{said}");
    drop(decnets);
    let said = stderr(&with(&["restore", copied]).await);
    assert!(said.contains("is not empty"), "{said}");
    let said = succeeded(&with(&["restore", "--force", copied]).await);
    assert!(said.contains("DECNET's others are as they were"), "{said}");

    let after = fs::metadata(&file).unwrap();
    assert_eq!(after.ino(), before.ino(), "another file is in its place");
    assert_eq!((after.mode(), after.uid()), (before.mode(), before.uid()));
    let decnets = Connection::open(&file).unwrap();
    let count = |sql: &str| -> i64 { decnets.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(count("SELECT count(*) FROM attackers"), 2);
    assert_eq!(count("SELECT count(*) FROM webhook_subscriptions"), 2);
    let indexes =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND name LIKE '%webhook%'";
    assert!(count(indexes) > 2);
    drop(decnets);
    let mut server = starter().start().await;
    assert!(server.terminate().await.success());
}

#[tokio::test]
async fn what_is_replaced_keeps_its_mode() {
    let dir = data_dir();
    let mut server = Decnet::serve(dir.path()).await;
    let copied = dir.path().join("copied");
    backup(dir.path(), &copied).await;
    assert!(server.terminate().await.success());
    let file = dir.path().join("decnet.db");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o660)).unwrap();
    succeeded(
        &run(
            dir.path(),
            &["restore", "--force", copied.to_str().unwrap()],
        )
        .await,
    );
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o660);
    let key = dir.path().join("jwt.secret");
    assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn without_a_server_to_copy_from_it_says_what_to_name() {
    let dir = data_dir();
    let to = dir.path().join("copied");
    let output = run(dir.path(), &["backup", to.to_str().unwrap()]).await;
    assert!(!output.status.success());
    assert!(
        stderr(&output).contains("--data-dir"),
        "{}",
        stderr(&output)
    );
    assert!(fs::read_dir(&to).is_ok_and(|mut left| left.next().is_none()));
}
