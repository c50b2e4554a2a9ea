//! A process that is killed while it publishes.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Stdio},
};

use webhook_bus::{Publication, Role, dedup_key};
use webhook_model::{Event, Payload};

use crate::support::{consume, drain, open, topic};

const DIRECTORY: &str = "WEBHOOK_BUS_TEST_JOURNAL";

/// Publishes for ever, from several tasks, and prints what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the other half of nothing_acknowledged_is_lost, which starts it"]
async fn child() {
    let dir = PathBuf::from(std::env::var(DIRECTORY).unwrap());
    let bus = open(&dir, Role::Appender).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let bus = bus.clone();
        tasks.spawn(async move {
            loop {
                let topic = topic("a.b");
                let event = Event::new(topic.clone(), "t", Payload::empty());
                let publication = Publication {
                    dedup: Some(dedup_key(&event.id, &topic, &event.envelope())),
                    bytes: event.envelope(),
                    topic,
                };
                let seqs = bus.publish(vec![publication]).await.unwrap();
                let line = format!("acknowledged {} {}\n", seqs[0], event.id);
                std::io::stdout().write_all(line.as_bytes()).unwrap();
            }
        });
    }
    tasks.join_next().await;
}

/// Kills two publishing processes after so many lines, and returns what they had been promised.
fn killed(dir: &std::path::Path, lines: usize) -> HashMap<u64, String> {
    let spawn = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child", "--ignored", "--nocapture"])
            .env(DIRECTORY, dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut children = [spawn(), spawn()];
    let mut promised = HashMap::new();
    let outputs = children
        .each_mut()
        .map(|it| BufReader::new(it.stdout.take().unwrap()));
    for (child, output) in children.iter_mut().zip(outputs) {
        let mut count = 0;
        // The last line may have been cut.
        for line in output.split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8(line).unwrap();
            let mut words = line
                .split_whitespace()
                .skip_while(|it| !it.ends_with("acknowledged"));
            if let (Some(_), Some(seq), Some(id)) = (words.next(), words.next(), words.next())
                && id.len() == 36
            {
                promised.insert(seq.parse().unwrap(), id.to_owned());
                count += 1;
            }
            if count == lines {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(count >= lines);
    }
    promised
}

#[tokio::test]
async fn nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut promised = HashMap::new();
    for lines in [1, 50, 400] {
        promised.extend(killed(dir.path(), lines));
    }
    let bus = open(dir.path(), Role::Worker).await;
    let mut consumer = consume(&bus, "c", ">").await;
    let end = bus.position().await.unwrap().next_seq - 1;
    let found = drain(&mut consumer, end).await;
    assert_eq!(found.len() as u64, end);
    for message in found {
        if let Some(id) = promised.remove(&message.seq) {
            assert_eq!(message.event().unwrap().id.as_str(), id);
        }
    }
    assert!(promised.is_empty(), "lost: {promised:?}");
}
