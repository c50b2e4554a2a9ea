//! Who comes to the doors of a server with nothing good in mind, and what an operator's signals do.

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use serde_json::json;
use webhook_testkit::{Behaviour, Receiver};

use crate::support::{
    Api, Decnet, Listen, PATIENCE, Scrape, Starter, data_dir, decnet, finish, run, signal, stderr,
    succeeded,
};

/// One request, whose answer's status line is returned.
async fn asked(stream: &mut TcpStream, path: &str) -> std::io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = [0; 512];
    let count = stream.read(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer[..count]).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Waits until a log file has a line; standard error has it a moment before.
async fn comes_to_hold(log: &std::path::Path, line: &str) {
    let held = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while !fs::read_to_string(log).unwrap_or_default().contains(line) {
            ticks.tick().await;
        }
    };
    timeout(PATIENCE, held).await.expect("the log has the line");
}

#[tokio::test]
async fn a_hang_up_has_the_log_opened_again_and_ends_nothing() {
    let dir = data_dir();
    let log = dir.path().join("system.log");
    let rotated = dir.path().join("system.log.1");
    let mut decnet = Starter::new("serve", dir.path())
        .var("DECNET_SYSTEM_LOGS", log.to_str().unwrap())
        .start()
        .await;
    fs::rename(&log, &rotated).unwrap();
    signal(decnet.pid(), "HUP").await;
    decnet.log().wait_for("logs opened again").await;
    comes_to_hold(&log, "opened again").await;
    assert!(
        !fs::read_to_string(&rotated)
            .unwrap()
            .contains("opened again")
    );

    // A log that cannot be opened is told, and written on where it was.
    fs::rename(&log, &rotated).unwrap();
    fs::create_dir(&log).unwrap();
    signal(decnet.pid(), "HUP").await;
    decnet.log().wait_for("cannot be opened again").await;
    comes_to_hold(&rotated, "cannot be opened again").await;
    assert_eq!(decnet.readiness().await.0, 200);
    assert!(decnet.terminate().await.success());
}

#[tokio::test]
async fn what_was_ignored_at_start_stays_ignored() {
    let dir = data_dir();
    let nohup = ["sh", "-c", "trap '' HUP INT; exec \"$0\" \"$@\""];
    let mut decnet = Starter::new("serve", dir.path())
        .wrapped(&nohup)
        .start()
        .await;
    let status = fs::read_to_string(format!("/proc/{}/status", decnet.pid())).unwrap();
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
    };
    assert_eq!((mask("SigIgn:") & 0b11, mask("SigCgt:") & 0b11), (0b11, 0));
    signal(decnet.pid(), "INT").await;
    signal(decnet.pid(), "HUP").await;
    assert_eq!(decnet.readiness().await.0, 200);
    assert!(decnet.terminate().await.success());
}

#[tokio::test]
async fn the_programs_own_token_is_shown_to_no_impostor() {
    let dir = data_dir();
    let mut decnet = Decnet::serve(dir.path()).await;
    decnet.kill().await;
    // The address is still in the data directory; now somebody else listens there.
    let impostor = TcpListener::bind(("127.0.0.1", decnet.port()))
        .await
        .unwrap();
    let listening = tokio::spawn(async move {
        let mut heard = String::new();
        while let Ok(Ok((mut stream, _))) = timeout(PATIENCE, impostor.accept()).await {
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).await.unwrap_or(0);
            heard.push_str(&String::from_utf8_lossy(&bytes[..count]));
            let body = r#"{"proof":"00","items":[]}"#;
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            if heard.contains("/end") {
                break;
            }
        }
        heard
    });
    let output = run(dir.path(), &["subscriptions", "list"]).await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(
        said.contains("does not prove to have this machine's key"),
        "{said}"
    );
    assert!(said.contains("DECNET_TOKEN"), "{said}");
    let mut end = TcpStream::connect(("127.0.0.1", decnet.port()))
        .await
        .unwrap();
    asked(&mut end, "/end").await.unwrap();
    let heard = listening.await.unwrap();
    assert!(heard.contains("/api/v1/proof?challenge="), "{heard}");
    assert!(
        !heard.to_ascii_lowercase().contains("authorization"),
        "{heard}"
    );
}

#[tokio::test]
async fn a_thousand_idle_connections_within_256_files_keep_nobody_out() {
    // This process holds the other ends, beside what other tests hold.
    let (_, all) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, all, all).unwrap();
    let dir = data_dir();
    let few_files = ["sh", "-c", "ulimit -n 256; exec \"$0\" \"$@\""];
    let mut decnet = Starter::new("serve", dir.path())
        .wrapped(&few_files)
        .start()
        .await;
    let mut idle = Vec::new();
    for n in 0..1_000 {
        let mut stream = TcpStream::connect(("127.0.0.1", decnet.port()))
            .await
            .unwrap();
        if n % 2 == 0 {
            let status = asked(&mut stream, "/healthz").await.unwrap();
            assert_eq!(status, "HTTP/1.1 200 OK");
        }
        idle.push(stream);
    }
    let begun = Instant::now();
    let mut probe = TcpStream::connect(("127.0.0.1", decnet.port()))
        .await
        .unwrap();
    let status = asked(&mut probe, "/healthz").await.unwrap();
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    // The rest of the program has files left: a database, a bus, a request to a receiver.
    let api = decnet.api().await;
    succeeded(&finish(decnet_with(dir.path(), api.token()).args(["status"])).await);
    let published = ["publish", "attacker.observed", "{}"];
    succeeded(&finish(decnet_with(dir.path(), api.token()).args(published)).await);
    decnet.log().wait_for("idle connections give way").await;
    assert!(decnet.terminate().await.success());
}

/// More receivers than files, each with a connection of its own, and the API's idle ones beside them.
#[tokio::test(flavor = "multi_thread")]
async fn more_receivers_than_files_lose_nothing_and_trip_nobody() {
    const RECEIVERS: usize = 300;
    const EVENTS: usize = 10;
    /// Subscriptions that one token may create in a minute.
    const CREATES: usize = 20;
    let (_, all) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, all, all).unwrap();
    let dir = data_dir();
    let few_files = ["sh", "-c", "ulimit -n 256; exec \"$0\" \"$@\""];
    let mut decnet = Starter::new("serve", dir.path())
        .wrapped(&few_files)
        .start()
        .await;
    let slow = Behaviour::ok().after(Duration::from_millis(100));
    let (mut receivers, mut api) = (Vec::new(), decnet.api().await);
    for n in 0..RECEIVERS {
        if n % CREATES == 0 {
            api = decnet.api().await;
        }
        let receiver = Receiver::start(slow.clone()).await;
        let name = format!("siem-{n}");
        api.subscribe(&name, &receiver.url(), Listen::SECRET, &["attacker.>"])
            .await;
        receivers.push(receiver);
    }
    let mut idle = Vec::new();
    for _ in 0..1_000 {
        idle.push(
            TcpStream::connect(("127.0.0.1", decnet.port()))
                .await
                .unwrap(),
        );
    }
    // The connection that it kept has given way to those.
    let api = decnet.api().await;
    for _ in 0..EVENTS {
        api.publish("attacker.observed", json!({})).await;
    }
    for receiver in &receivers {
        let begun = Instant::now();
        let mut probe = TcpStream::connect(("127.0.0.1", decnet.port()))
            .await
            .unwrap();
        let status = asked(&mut probe, "/healthz").await.unwrap();
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "{:?}",
            begun.elapsed()
        );
        receiver
            .wait_until(|log| log.unique() == EVENTS, PATIENCE)
            .await;
    }
    let page = Scrape::of(decnet.url()).await;
    assert_eq!(page.value("decnet_webhook_breaker_trips_total", &[]), 0.0);
    let dead = [("result", "dead")];
    assert_eq!(page.value("decnet_webhook_deliveries_total", &dead), 0.0);
    assert!(decnet.terminate().await.success());
}

/// The most memory that a process ever occupied, where the system tells.
fn peak_mib(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib >> 10)
}

/// Of the whole program 200 MiB are promised, some fifty of which are its text in a debug build.
const MOST_MIB: u64 = 150;

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_ask_for_much_and_read_nothing_cost_little_memory_and_keep_nobody_waiting() {
    const DEAF: usize = 1_100;
    let (_, all) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, all, all).unwrap();
    let dir = data_dir();
    let mut decnet = Decnet::serve(dir.path()).await;
    let api = decnet.api().await;
    // The connection is known from now on.
    api.publish("attacker.observed", json!({})).await;
    let pipelined = "GET /openapi.json HTTP/1.1\r\nHost: test\r\n\r\n".repeat(120);
    let mut deaf = Vec::new();
    for n in 0..DEAF {
        let mut stream = TcpStream::connect(("127.0.0.1", decnet.port()))
            .await
            .unwrap();
        // Who gave way meanwhile cannot be written to.
        let _ = timeout(PATIENCE, stream.write_all(pipelined.as_bytes())).await;
        deaf.push(stream);
        if n % 10 == 0 {
            let begun = Instant::now();
            api.publish("attacker.observed", json!({})).await;
            assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
        }
    }
    let mut probe = TcpStream::connect(("127.0.0.1", decnet.port()))
        .await
        .unwrap();
    let status = asked(&mut probe, "/healthz").await.unwrap();
    assert_eq!(status, "HTTP/1.1 200 OK");
    if let Some(peak) = peak_mib(decnet.pid()) {
        println!("{peak} MiB");
        assert!(peak < MOST_MIB, "{peak} MiB");
    }
    assert!(decnet.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn wide_lists_at_once_cost_little_memory_and_small_events_do_not_wait_for_them() {
    const PUBLISHERS: usize = 5;
    let dir = data_dir();
    let mut decnet = Decnet::serve(dir.path()).await;
    let api = decnet.api().await;
    let members: Vec<String> = (0..90_000).map(|n| format!("\"{n}\":1")).collect();
    let event = format!(
        r#"{{"topic":"attacker.observed","payload":{{{}}}}}"#,
        members.join(",")
    );
    let list = format!("[{}]", [event.as_str(); 12].join(","));
    let ones = format!("[{}1]", "1,".repeat(6_000_000));
    let mut publishers = tokio::task::JoinSet::new();
    for n in 0..PUBLISHERS {
        let body = if n > 0 { &list } else { &ones };
        let publisher = Api::new(decnet.url(), dir.path(), "publisher").await;
        let request = format!(
            "POST /api/v1/events HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
             Connection: close\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
            publisher.token(),
            body.len()
        );
        let port = decnet.port();
        publishers.spawn(async move {
            let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (mut read, mut write) = stream.into_split();
            // Who is refused is not read to the end.
            let _ = write.write_all(request.as_bytes()).await;
            let mut answer = String::new();
            let _ = read.read_to_string(&mut answer).await;
            answer.lines().next().unwrap_or_default().to_owned()
        });
    }
    // It is not their bytes that small ones wait for.
    for _ in 0..20 {
        let begun = Instant::now();
        api.publish("attacker.observed", json!({})).await;
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
    }
    while let Some(status) = publishers.join_next().await {
        let status = status.unwrap();
        // Room for large bodies may be long in coming on a small machine.
        let expected = ["202", "422", "503"];
        assert!(
            expected.iter().any(|it| status.contains(it)),
            "answered {status:?}"
        );
    }
    if let Some(peak) = peak_mib(decnet.pid()) {
        println!("{peak} MiB");
        assert!(peak < MOST_MIB + 30, "{peak} MiB");
    }
    assert!(decnet.terminate().await.success());
}

fn decnet_with(dir: &std::path::Path, token: &str) -> tokio::process::Command {
    let mut command = decnet(dir, [] as [&str; 0]);
    command.env("DECNET_TOKEN", token);
    command
}

#[tokio::test]
async fn what_is_no_request_leaves_no_error_in_the_log() {
    let dir = data_dir();
    let mut decnet = Decnet::serve(dir.path()).await;
    for _ in 0..200 {
        let mut stream = TcpStream::connect(("127.0.0.1", decnet.port()))
            .await
            .unwrap();
        stream.write_all(b"GARBAGE\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{answer}"
        );
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
    let page = Scrape::of(decnet.url()).await;
    let labels = [("route", "other"), ("method", "other"), ("status", "400")];
    assert_eq!(
        page.value("decnet_webhook_api_requests_total", &labels),
        200.0
    );
    assert!(page.get("decnet_webhook_api_connections", &[]).is_some());
    for reason in ["gave_way", "refused"] {
        let ended = "decnet_webhook_socket_connections_ended_total";
        assert_eq!(page.value(ended, &[("reason", reason)]), 0.0);
    }
    assert!(decnet.terminate().await.success());
    let log = decnet.log().all().join("\n");
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
}

#[tokio::test]
async fn a_database_server_that_refuses_is_named_with_the_reason_within_seconds() {
    for scheme in ["postgres", "mysql"] {
        let dir = data_dir();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = closed.local_addr().unwrap().port();
        drop(closed);
        let url = format!("{scheme}://decnet:hunter2@127.0.0.1:{port}/decnet");
        let begun = Instant::now();
        let decnet = Starter::new("api", dir.path())
            .var("DECNET_DATABASE_URL", &url)
            .spawn();
        decnet
            .log()
            .wait_for("idle until the database answers")
            .await;
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        let log = decnet.log().all().join("\n");
        let reason = format!("127.0.0.1, port {port}: Connection refused");
        assert!(log.contains(&reason), "{log}");
        assert!(!log.contains("hunter2"), "{log}");
    }
}
