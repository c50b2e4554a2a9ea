use std::{fs, io::Write, process::Stdio, time::Instant};

use crate::support::{Decnet, Lines, Listen, data_dir, decnet, signal};

#[tokio::test]
async fn a_growing_file_is_published_as_it_grows_through_rotation() {
    let dir = data_dir();
    let server = Decnet::serve(dir.path()).await;
    let listen = Listen::start(dir.path(), &[]).await;
    server
        .api()
        .await
        .subscribe("all", listen.url(), Listen::SECRET, &["attacker.>"])
        .await;

    let file = dir.path().join("cowrie.json");
    let args = ["publish", "--follow", "--topic", "attacker.{e}", "--jsonl"];
    let mut child = decnet(dir.path(), args)
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = Lines::of(child.stderr.take().unwrap());

    let append = |text: &str| {
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&file)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    append("{\"e\":\"first\"}\n");
    listen
        .wait_for(|row| row["topic"] == "attacker.first")
        .await;
    let start = Instant::now();
    append("{\"e\":\"second\"}\n");
    listen
        .wait_for(|row| row["topic"] == "attacker.second")
        .await;
    assert!(start.elapsed().as_millis() < 2_000, "{:?}", start.elapsed());

    append("{\"x\":\"no topic\"}\n");
    said.wait_for("line 3").await;
    fs::rename(&file, dir.path().join("cowrie.json.1")).unwrap();
    append("{\"e\":\"rotated\"}\n");
    listen
        .wait_for(|row| row["topic"] == "attacker.rotated")
        .await;

    signal(child.id().unwrap(), "INT").await;
    assert_eq!(
        child.wait().await.unwrap().code(),
        Some(1),
        "one line was refused"
    );
    said.wait_for("published 3, 1 refused in").await;
}
