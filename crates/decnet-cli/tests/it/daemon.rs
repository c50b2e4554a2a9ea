use std::{fs, path::Path};

use crate::support::{Lines, PATIENCE, data_dir, decnet, finish, signal, stderr, succeeded};

fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state comes after the name in parentheses; a zombie has ended.
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

async fn wait_for_end(pid: u32) {
    let ended = async {
        while is_running(pid) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended)
        .await
        .expect("the daemon ends");
}

fn start(dir: &Path) -> tokio::process::Command {
    let mut command = decnet(dir, ["webhook", "-d"]);
    command.env("DECNET_METRICS_ADDR", "127.0.0.1:0");
    command
}

#[tokio::test]
async fn it_is_ready_when_the_command_ends_and_stops_when_told() {
    let dir = data_dir();
    let output = finish(&mut start(dir.path())).await;
    let pid: u32 = succeeded(&output)
        .trim()
        .parse()
        .expect("it prints a process id");
    assert!(is_running(pid));
    let log = dir.path().join("webhook.log");
    assert!(
        stderr(&output).contains(log.to_str().unwrap()),
        "{}",
        stderr(&output)
    );
    let text = fs::read_to_string(&log).unwrap();
    let health = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("health"))
        .expect("its log has its address")
        .trim();
    crate::support::install_tls();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(
        http.get(health).send().await.unwrap().status(),
        200,
        "ready means ready"
    );

    let second = finish(&mut start(dir.path())).await;
    assert_eq!(second.status.code(), Some(1));
    assert!(
        stderr(&second).contains("another worker runs"),
        "{}",
        stderr(&second)
    );

    signal(pid, "HUP").await;
    assert!(is_running(pid), "a daemon outlives its terminal");
    signal(pid, "TERM").await;
    wait_for_end(pid).await;
    assert!(fs::read_to_string(&log).unwrap().contains("drained"));
}

#[tokio::test]
async fn what_keeps_it_from_starting_is_said_where_it_was_started() {
    let dir = data_dir();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let logs = dir.path().join("system.log");
    let mut command = decnet(dir.path(), ["webhook", "--daemon", "--metrics-addr", &addr]);
    let output = finish(command.env("DECNET_SYSTEM_LOGS", &logs)).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("DECNET_METRICS_ADDR"),
        "{}",
        stderr(&output)
    );
    assert!(
        fs::read_to_string(&logs)
            .unwrap()
            .contains("DECNET_METRICS_ADDR")
    );

    let mut command = decnet(dir.path(), ["webhook", "-d"]);
    let output = finish(command.env("DECNET_BUS_URL", "amqp://n")).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("DECNET_BUS_URL=\"amqp://…\""),
        "{}",
        stderr(&output)
    );
}

/// `pid=$(decnet webhook -d)` returns: the daemon does not hold the pipe.
#[tokio::test]
async fn a_shell_that_captures_the_output_gets_on() {
    let dir = data_dir();
    let mut command = start(dir.path());
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let out = Lines::of(child.stdout.take().unwrap());
    let err = Lines::of(child.stderr.take().unwrap());
    let ended = tokio::time::timeout(PATIENCE, child.wait())
        .await
        .unwrap()
        .unwrap();
    assert!(ended.success(), "{:?}", err.all());
    // The pipes have ended too, or this would wait.
    assert!(
        err.find(|line| (line == "no such line").then_some(()))
            .await
            .is_none()
    );
    let pid = out
        .find(|line| line.parse().ok())
        .await
        .expect("a process id");
    signal(pid, "TERM").await;
    wait_for_end(pid).await;
}
