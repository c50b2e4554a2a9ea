//! Memory stays bounded whatever clients send and do not read.

use std::process::Command;

use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use webhook_bus::{BusServer, Role, SocketConfig};

use crate::{
    client::{Client, envelope},
    support::{consume, open},
};

/// Of the whole product 150 MiB are promised.
const MOST: u64 = 110 << 20;
const PUBLISHERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the other half of memory_is_bounded, which measures it in a process of its own"]
async fn child() {
    let dir = tempfile::tempdir().unwrap();
    let bus = open(dir.path(), Role::Worker).await;
    let path = dir.path().join("bus.sock");
    let server = BusServer::bind(&bus, SocketConfig::new(&path))
        .await
        .unwrap();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(server.run(shutdown.clone()));

    // Nobody reads any of it.
    let _consumer = consume(&bus, "c", ">").await;
    let mut readers = Vec::new();
    for _ in 0..8 {
        let mut reader = Client::connect(&path).await;
        reader.subscribe(">").await;
        readers.push(reader);
    }
    let mut publishers = JoinSet::new();
    for _ in 0..PUBLISHERS {
        let mut client = Client::connect(&path).await;
        publishers.spawn(async move {
            let large = json!({"payload": {"text": "x".repeat(200 << 10)}});
            for _ in 0..5_000 {
                client.publish("a.small", &envelope("e", "t")).await;
            }
            for _ in 0..100 {
                client.publish("a.large", &large).await;
            }
            client.send("BYE", b"").await;
            assert_eq!(client.receive().await, None);
        });
    }
    publishers.join_all().await;
    let published = bus.position().await.unwrap().next_seq - 1;
    assert_eq!(published, 5_100 * PUBLISHERS as u64);
    shutdown.cancel();
    server.await.unwrap();
    if let Some(most) = peak() {
        println!("{} MiB", most >> 20);
        assert!(most < MOST, "{} MiB", most >> 20);
    }
}

#[test]
fn memory_is_bounded() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::child", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && output.contains("1 passed"),
        "{child:?}"
    );
}

/// The most memory this process ever occupied, where the system tells.
fn peak() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}
