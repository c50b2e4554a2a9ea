//! Backups under load, and what is made of them.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use tokio_util::sync::CancellationToken;
use webhook_testkit::{Behaviour, Receiver};

use crate::support::{Api, Decnet, Listen, PATIENCE, data_dir, run, stderr, succeeded};

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
