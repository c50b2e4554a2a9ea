//! What somebody on this machine does to the socket and the files, by mistake or not.

use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};
use webhook_testkit::{Behaviour, Receiver};

use crate::{
    fixture,
    support::{Api, Decnet, Listen, PATIENCE, Starter, data_dir, decnet, finish, stderr},
};

const CONTROL: &str = "system.webhook.control";
const HEALTH: &str = "system.webhook.health";
/// Longest until something that is looked for every few seconds is noticed: a beat.
const BEAT: Duration = Duration::from_secs(30);
/// By which the helper below is told what to do.
const SOCKET: &str = "DECNET_TEST_SOCKET";

fn frame(topic: &str, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [format!("PUB {topic}\n").as_bytes(), &length, body].concat()
}

fn event(topic: &str, payload: &Value) -> Vec<u8> {
    frame(topic, json!({"payload": payload}).to_string().as_bytes())
}

/// Publishes these frames, and returns once the server has dealt with them.
async fn publish(socket: &Path, frames: &[Vec<u8>]) {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(&frames.concat()).await.unwrap();
    stream.write_all(b"BYE\n\0\0\0\0").await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

async fn status(api: &Api) -> Value {
    let (status, body) = api.ask(Method::GET, "/api/v1/status", None).await;
    assert_eq!(status, 200, "{body}");
    body
}

/// Asks `/readyz` until it answers so; what it said then.
async fn readiness(server: &mut Decnet, wanted: u16) -> String {
    let until = Instant::now() + BEAT;
    loop {
        let (status, text) = server.readiness().await;
        if status == wanted {
            return text;
        }
        assert!(Instant::now() < until, "{status}: {text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn receiver() -> Receiver {
    let receiver = Receiver::start(Behaviour::ok()).await;
    receiver.trust(Listen::SECRET);
    receiver
}

async fn taken(receiver: &Receiver, id: &str) {
    receiver.wait_until(|log| log.times(id) > 0, PATIENCE).await;
}

#[tokio::test]
async fn an_order_to_stop_ends_the_worker_and_not_the_api() {
    let dir = data_dir();
    let mut server = Decnet::serve(dir.path()).await;
    let (api, receiver) = (server.api().await, receiver().await);
    api.subscribe("siem", &receiver.url(), Listen::SECRET, &["attacker.>"])
        .await;
    assert_eq!(status(&api).await["worker"], "running");

    let stop = event(CONTROL, &json!({"action": "stop"}));
    publish(&dir.path().join("bus.sock"), &[stop]).await;
    server.log().wait_for("the API goes on").await;
    let stopped = status(&api).await["worker"].to_string();
    assert!(
        stopped.contains("stopped by an order over the bus at 2"),
        "{stopped}"
    );
    // Whoever looks after it has to learn that nothing is delivered.
    let (code, missing) = server.readiness().await;
    assert_eq!(code, 503, "{missing}");
    assert!(
        missing.contains("stopped by an order over the bus at 2")
            && missing.contains("start decnet again"),
        "{missing}"
    );
    let id = api.publish("attacker.observed", json!({})).await;
    assert!(server.terminate().await.success());

    let mut server = Decnet::serve(dir.path()).await;
    taken(&receiver, &id).await;
    assert!(server.terminate().await.success());
}

/// Not a test: what another user's program does, which only another process can be.
#[tokio::test]
#[ignore = "the test below runs it as another user"]
async fn another_user_publishes() {
    let Some(socket) = std::env::var_os(SOCKET) else {
        return;
    };
    let foreign = json!({"worker": "webhook", "deployment": "forged", "ts": 1});
    let frames = [
        event(HEALTH, &foreign),
        event(CONTROL, &json!({"action": "stop"})),
        event("attacker.observed", &json!({"from": "another user"})),
    ];
    publish(Path::new(&socket), &frames).await;
}

#[tokio::test]
async fn another_users_orders_and_heartbeats_are_refused_and_its_events_are_not() {
    if !nix::unistd::geteuid().is_root() {
        // Nobody else can become another user.
        return;
    }
    let dir = data_dir();
    let socket = dir.path().join("bus.sock");
    let mut server = Decnet::serve(dir.path()).await;
    let (api, receiver) = (server.api().await, receiver().await);
    api.subscribe("siem", &receiver.url(), Listen::SECRET, &["attacker.>"])
        .await;
    // As if the other user were of the socket's group.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let program = dir.path().join("other");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = finish(
        tokio::process::Command::new(&program)
            .args(["--exact", "hostile::another_user_publishes", "--ignored"])
            .env(SOCKET, &socket)
            .uid(65_534)
            .gid(65_534),
    )
    .await;
    assert!(output.status.success(), "{}", stderr(&output));
    receiver.wait_until(|log| log.len() == 1, PATIENCE).await;
    server.log().wait_for("an event is refused").await;
    assert_eq!(status(&api).await["worker"], "running");
    assert!(server.terminate().await.success());
    // Nor is it kept from starting by a worker that there is not.
    let mut server = Decnet::serve(dir.path()).await;
    assert!(server.terminate().await.success());

    // Who is named may.
    let mut server = Starter::new("serve", dir.path())
        .var("DECNET_BUS_TRUSTED_USERS", "65534")
        .start()
        .await;
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let output = finish(
        tokio::process::Command::new(&program)
            .args(["--exact", "hostile::another_user_publishes", "--ignored"])
            .env(SOCKET, &socket)
            .uid(65_534)
            .gid(65_534),
    )
    .await;
    assert!(output.status.success(), "{}", stderr(&output));
    server.log().wait_for("the API goes on").await;
    assert!(server.terminate().await.success());
}

#[tokio::test]
async fn what_is_no_json_becomes_a_dead_letter_and_the_next_event_is_delivered() {
    let dir = data_dir();
    let mut server = Decnet::serve(dir.path()).await;
    let (api, receiver) = (server.api().await, receiver().await);
    api.subscribe("siem", &receiver.url(), Listen::SECRET, &["attacker.>"])
        .await;
    let frames = [
        b"HELLO python-sniffer\n\0\0\0\0".to_vec(),
        frame("attacker.observed", br#"{"payload":{"score":NaN}}"#),
        frame("attacker.observed", b"{\"payload\":{\"name\":\"\xff\"}}"),
        frame("attacker.observed", br#"{"id":"behind","payload":{}}"#),
    ];
    publish(&dir.path().join("bus.sock"), &frames).await;
    taken(&receiver, "behind").await;
    let path = "/api/v1/deliveries?status=dead";
    let until = Instant::now() + PATIENCE;
    let dead = loop {
        let (_, page) = api.ask(Method::GET, path, None).await;
        let items = page["items"].as_array().unwrap().clone();
        if items.len() == 2 {
            break items;
        }
        assert!(Instant::now() < until, "{page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    for row in dead {
        let error = row["error"].as_str().unwrap();
        assert!(error.starts_with("undecodable"), "{error}");
    }
    let log = server.log().all();
    assert!(
        log.iter().any(|line| line.contains("python-sniffer")),
        "the log names the client: {log:#?}"
    );
    assert!(server.terminate().await.success());
}

#[tokio::test]
async fn a_socket_that_was_removed_is_made_again() {
    let dir = data_dir();
    let socket = dir.path().join("bus.sock");
    let mut server = Decnet::webhook(dir.path()).await;
    fs::remove_file(&socket).unwrap();
    server.log().wait_for("it is there again").await;
    publish(&socket, &[event("attacker.observed", &json!({}))]).await;
    assert!(server.terminate().await.success());
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_noticed_and_nothing_is_taken_until_it_is_back() {
    for file in ["journal.db", "decnet.db"] {
        let dir = data_dir();
        let (path, aside) = (dir.path().join(file), dir.path().join("aside"));
        let mut server = Decnet::serve(dir.path()).await;
        let (api, receiver) = (server.api().await, receiver().await);
        api.subscribe("siem", &receiver.url(), Listen::SECRET, &["attacker.>"])
            .await;
        fs::rename(&path, &aside).unwrap();
        server.log().wait_for("a file is not where it was").await;
        let missing = readiness(&mut server, 503).await;
        let part = if file == "journal.db" {
            "bus"
        } else {
            "database"
        };
        assert!(missing.contains(part), "{missing}");
        let body = json!({"topic": "attacker.observed", "payload": {}});
        let (refused, answer) = api.ask(Method::POST, "/api/v1/events", Some(body)).await;
        assert_eq!(refused, 503, "{file}: {answer}");
        if file == "decnet.db" {
            let body =
                json!({"name": "late", "url": receiver.url(), "topic_patterns": ["email.>"]});
            let (refused, answer) = api.ask(Method::POST, "/api/v1/webhooks", Some(body)).await;
            assert_eq!(refused, 503, "{answer}");
        }
        fs::rename(&aside, &path).unwrap();
        readiness(&mut server, 200).await;
        let id = api.publish("attacker.observed", json!({})).await;
        taken(&receiver, &id).await;
        assert!(server.terminate().await.success());
    }
}

#[tokio::test]
async fn a_data_directory_is_a_path_and_no_part_of_a_url() {
    let parent = data_dir();
    for name in ["hooks%20prod", "a?b", "a#b", "a b", "x?mode=memory"] {
        let dir = parent.path().join(name);
        fs::create_dir(&dir).unwrap();
        let mut server = Decnet::serve(&dir).await;
        let (api, receiver) = (server.api().await, receiver().await);
        api.subscribe("siem", &receiver.url(), Listen::SECRET, &["attacker.>"])
            .await;
        let id = api.publish("attacker.observed", json!({})).await;
        taken(&receiver, &id).await;
        assert!(server.terminate().await.success());
        assert!(dir.join("decnet.db").exists(), "{name}");
        assert!(dir.join("journal.db").exists(), "{name}");
        fs::remove_dir_all(&dir).unwrap();
        let left = fs::read_dir(parent.path()).unwrap().count();
        assert_eq!(left, 0, "{name}: something was made beside it");
    }
    let strange = parent.path().join(std::ffi::OsStr::from_bytes(b"a\xffb"));
    fs::create_dir(&strange).unwrap();
    let output = finish(&mut decnet(&strange, ["serve", "--port", "0"])).await;
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("UTF-8") && said.contains("another directory"),
        "{said}"
    );
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn ready_means_that_rows_of_decnets_get_what_is_published_from_then_on() {
    for _ in 0..5 {
        let dir = data_dir();
        let receiver = Receiver::builder(Behaviour::ok())
            .secret(fixture::DECNET_SECRET)
            .start()
            .await;
        let url = receiver.url();
        drop(fixture::make(
            &dir.path().join("decnet.db"),
            fixture::DECNET,
            &url,
        ));
        let server = Decnet::serve(dir.path()).await;
        let id = server
            .api()
            .await
            .publish("attacker.observed", json!({}))
            .await;
        taken(&receiver, &id).await;
    }
}

#[tokio::test]
async fn a_secret_that_was_deleted_or_rotated_is_in_no_file() {
    let dir = data_dir();
    let mut server = Decnet::serve(dir.path()).await;
    let (api, receiver) = (server.api().await, receiver().await);
    let secret = |word: &str| format!("{word}-a-secret-of-somebody");
    for name in ["deleted", "rotated"] {
        let body = json!({
            "name": name, "url": receiver.url(), "secret": secret(name),
            "topic_patterns": ["attacker.>"],
            "headers": {"x-token": format!("{name}-header-value")},
        });
        let (status, made) = api.ask(Method::POST, "/api/v1/webhooks", Some(body)).await;
        assert_eq!(status, 201, "{made}");
        let path = format!("/api/v1/webhooks/{}", made["uuid"].as_str().unwrap());
        let (status, answer) = if name == "deleted" {
            api.ask(Method::DELETE, &path, None).await
        } else {
            let patch = json!({
                "secret": "another-secret-by-now",
                "headers": {"x-token": "another-header-value"},
            });
            api.ask(Method::PATCH, &path, Some(patch)).await
        };
        assert_eq!(status, 200, "{answer}");
    }
    assert!(server.terminate().await.success());
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap_or_default();
        for word in ["deleted", "rotated"] {
            for old in [secret(word), format!("{word}-header-value")] {
                let found = bytes.windows(old.len()).any(|it| it == old.as_bytes());
                assert!(!found, "{old} is still in {}", path.display());
            }
        }
    }
}
