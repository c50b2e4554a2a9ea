//! What fails on this side is nobody's failure.

use std::{fs::File, process::Command};

use webhook_delivery::{LocalFault, Verdict};
use webhook_testkit::{Behaviour, Receiver};

use crate::{LONG, attempt_url, client, error};

/// In a process of its own, with few descriptors to use up.
#[test]
fn no_descriptor_is_left() {
    let test = "local::a_process_without_descriptors";
    let output = Command::new("sh")
        .args(["-c", r#"ulimit -n 64 && exec "$0" --exact "$1" --ignored"#])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{stdout}"
    );
}

#[tokio::test]
#[ignore = "uses up the descriptors of its process; run by no_descriptor_is_left"]
async fn a_process_without_descriptors() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let client = client();
    let mut held = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        held.push(file);
        assert!(held.len() < 1000, "there is no limit");
    }
    for url in [
        receiver.url(),
        receiver.url().replace("127.0.0.1", "hooks.example"),
    ] {
        let attempt = attempt_url(&client, &url, LONG).await;
        let ours = Verdict::Ourselves(LocalFault::Descriptors);
        assert_eq!(attempt.verdict, ours, "{attempt:?}");
        let text = error(&attempt);
        assert!(text.contains("no file descriptor left"), "{text}");
        assert!(text.contains("LimitNOFILE="), "{text}");
    }
    drop(held);
    let attempt = attempt_url(&client, &receiver.url(), LONG).await;
    assert_eq!(attempt.verdict, Verdict::DELIVERED, "{attempt:?}");
}
