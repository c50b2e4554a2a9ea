use std::{
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use webhook_bus::{Bus, BusError, BusServer, Role, SocketConfig, SocketCounts, Watch};
use webhook_model::topics;
use webhook_testkit::{DecnetWorker, Pace, Reloading};

use crate::{
    client::{Client, envelope},
    support::{consume, drain, open, pattern, publish},
};

struct Served {
    dir: tempfile::TempDir,
    bus: Bus,
    path: PathBuf,
    shutdown: CancellationToken,
    counts: SocketCounts,
    server: JoinHandle<()>,
}

async fn serve() -> Served {
    let dir = tempfile::tempdir().unwrap();
    let bus = open(dir.path(), Role::Worker).await;
    let path = dir.path().join("run/bus.sock");
    let server = BusServer::bind(&bus, SocketConfig::new(&path))
        .await
        .unwrap();
    assert_eq!(server.path(), path);
    let shutdown = CancellationToken::new();
    let counts = server.counts();
    let server = tokio::spawn(server.run(shutdown.clone()));
    Served {
        dir,
        bus,
        path,
        shutdown,
        counts,
        server,
    }
}

impl Served {
    async fn client(&self) -> Client {
        Client::connect(&self.path).await
    }

    /// A client whose subscriptions are in force when this returns: frames of one connection are
    /// dealt with in order, and what it publishes is seen after them.
    async fn subscriber(&self, patterns: &[&str]) -> Client {
        let mut client = self.client().await;
        for pattern in patterns {
            client.subscribe(pattern).await;
        }
        self.round_trip(&mut client).await;
        client
    }

    async fn round_trip(&self, client: &mut Client) {
        let mut watch = self.watch("probe.in").await;
        client.publish("probe.in", &json!({"payload": {}})).await;
        watch.next().await.unwrap();
    }

    async fn watch(&self, topics: &str) -> Watch {
        self.bus.watch(&pattern(topics)).await.unwrap()
    }

    async fn head(&self) -> u64 {
        self.bus.position().await.unwrap().next_seq - 1
    }

    async fn stop(self) -> (tempfile::TempDir, Bus) {
        self.shutdown.cancel();
        self.server.await.unwrap();
        (self.dir, self.bus)
    }
}

fn pair(topic: &str, id: &str) -> (String, String) {
    (topic.to_owned(), id.to_owned())
}

#[tokio::test]
async fn publish_and_subscribe() {
    let served = serve().await;
    let mut reader = served.subscriber(&["attacker.>"]).await;
    let mut writer = served.client().await;
    writer.send("HELLO prober-1", b"").await;
    writer
        .publish("decky.7.state", &envelope("e0", "state"))
        .await;
    writer
        .publish("attacker.observed", &envelope("e1", "observed"))
        .await;
    let frame = reader.receive().await.unwrap();
    assert_eq!(frame.line, "EVT attacker.observed");
    // The topic is the subject's; id and ts are the publisher's.
    let expected = json!({
        "v": 1, "id": "e1", "topic": "attacker.observed", "type": "observed",
        "ts": 1524614400.25, "payload": {},
    });
    assert_eq!(frame.body, expected);

    // What comes by other ways reaches it as well.
    publish(&served.bus, "attacker.here", 1).await;
    assert_eq!(reader.event().await.0, "attacker.here");
    let appender = open(served.dir.path(), Role::Appender).await;
    publish(&appender, "attacker.elsewhere", 1).await;
    assert_eq!(reader.event().await.0, "attacker.elsewhere");

    reader.send("UNSUB attacker.>", b"").await;
    reader.subscribe("decky.*.state").await;
    served.round_trip(&mut reader).await;
    writer
        .publish("attacker.observed", &envelope("e2", "observed"))
        .await;
    writer
        .publish("decky.8.state", &envelope("e3", "state"))
        .await;
    assert_eq!(reader.event().await, pair("decky.8.state", "e3"));
}

/// DECNET's clients parse `ts` as a float, and a frame that they cannot parse ends their reader.
#[tokio::test]
async fn frames_hold_nothing_that_a_reader_of_doubles_cannot_parse() {
    let served = serve().await;
    let mut reader = served.subscriber(&["attacker.>"]).await;
    let mut kept = served.watch("attacker.>").await;
    // It makes itself heard after it has subscribed.
    let mut heartbeats = served.watch("system.webhook.health").await;
    let pace = Pace {
        reload: std::time::Duration::from_millis(10),
        ..Pace::default()
    };
    let worker =
        DecnetWorker::start(&served.path, "attacker.>", None, pace, Reloading::Delivers).await;
    heartbeats.next().await.unwrap();
    let huge = "9".repeat(400);
    let payload = format!(r#"{{"exact":1180591620717411303424,"far":1e400,"huge":[-{huge}]}}"#);
    let body = format!(r#"{{"v":1,"id":"e1","ts":"2018-04-25T00:00:00.25Z","payload":{payload}}}"#);
    let event = webhook_bus::Publication {
        topic: webhook_model::Topic::parse("attacker.observed").unwrap(),
        bytes: body.into(),
        dedup: None,
    };
    served.bus.publish(vec![event]).await.unwrap();
    let frame = reader.receive().await.unwrap();
    assert_eq!(frame.body["ts"], 1524614400.25);
    let shown = &frame.body["payload"];
    assert_eq!(shown["far"], "1e400");
    assert_eq!(shown["huge"][0], format!("-{huge}"));
    assert_eq!(shown["exact"], 2f64.powi(70));
    // What receivers get has the publisher's digits and time.
    let event = kept.next().await.unwrap().event().unwrap();
    assert_eq!(event.payload.as_str(), payload);
    assert_eq!(event.ts.iso(), "2018-04-25T00:00:00.25Z");
    // DECNET's worker reads on: it hears what it is told afterwards.
    let mut orders = served.client().await;
    let order = |payload| json!({"ts": 1.5, "payload": payload});
    for (topic, payload) in [
        ("subscriptions_changed", json!({})),
        ("control", json!({"action": "stop"})),
    ] {
        let topic = format!("system.webhook.{topic}");
        orders.publish(&topic, &order(payload)).await;
    }
    assert_eq!(worker.ended().await, ["e1"]);
    served.stop().await;
}

#[tokio::test]
async fn no_echo_and_one_frame_an_event() {
    let served = serve().await;
    let mut first = served.subscriber(&["a.>", "a.*", "a.b"]).await;
    let mut second = served.subscriber(&[">", "a.b"]).await;
    first.publish("a.b", &envelope("e1", "")).await;
    assert_eq!(second.event().await, pair("a.b", "e1"));
    second.publish("a.b", &envelope("e2", "")).await;
    assert_eq!(first.event().await, pair("a.b", "e2"));
    second.publish("a.c", &envelope("e3", "")).await;
    assert_eq!(first.event().await, pair("a.c", "e3"));
    first.publish("a.d", &envelope("e4", "")).await;
    assert_eq!(second.event().await, pair("a.d", "e4"));
}

#[tokio::test]
async fn no_echo_even_among_the_events_of_other_processes() {
    let served = serve().await;
    let mut client = served.subscriber(&["a.>"]).await;
    let appender = open(served.dir.path(), Role::Appender).await;
    let expected = 40;
    let appending = async {
        for _ in 0..expected {
            publish(&appender, "a.other", 1).await;
        }
    };
    let talking = async {
        let mut received = 0;
        let mut own = 0;
        while received < expected {
            if own < 40 {
                own += 1;
                client.publish("a.own", &envelope("own", "")).await;
            }
            assert_eq!(client.event().await.0, "a.other");
            received += 1;
        }
    };
    tokio::join!(appending, talking);
}

#[tokio::test]
async fn what_was_published_is_journalled_as_it_came() {
    let served = serve().await;
    let mut consumer = consume(&served.bus, "c", ">").await;
    let mut client = served.client().await;
    let body = br#"{ "b": 1e400, "a": "\u00e4" }"#;
    client.send("PUB attacker.raw\r", body).await;
    client
        .publish(topics::CONTROL, &json!({"payload": {"action": "stop"}}))
        .await;
    client.send("BYE", b"").await;
    assert_eq!(client.receive().await, None);
    let messages = drain(&mut consumer, 2).await;
    assert_eq!(&messages[0].bytes()[..], body);
    let event = messages[0].event().unwrap();
    assert_eq!(event.payload.as_str(), "{\"a\":\"ä\",\"b\":1e400}");
    assert_eq!(messages[1].topic.as_str(), topics::CONTROL);
}

#[tokio::test]
async fn a_malformed_frame_ends_its_connection_and_no_other() {
    let served = serve().await;
    let mut bystander = served.subscriber(&["a.*"]).await;
    let large = (1_u32 << 20) + 1;
    let inputs: [Vec<u8>; 5] = [
        b"GET / HTTP/1.1\r\n\0\0\0\0".to_vec(),
        b"PUB a..b\n\0\0\0\x02{}".to_vec(),
        b"SUB a.>.b\n\0\0\0\0".to_vec(),
        [&b"PUB a.b\n"[..], &large.to_be_bytes()].concat(),
        vec![b'A'; 5_000],
    ];
    for (number, input) in inputs.iter().enumerate() {
        let mut client = served.client().await;
        // What came before it counts.
        let id = format!("e{number}");
        client.publish("a.b", &envelope(&id, "")).await;
        client.raw(input).await;
        assert_eq!(client.receive().await, None, "{number}");
        assert_eq!(bystander.event().await, pair("a.b", &id));
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_is_an_event_and_the_next_one_is_read() {
    let served = serve().await;
    let mut consumer = consume(&served.bus, "c", "a.*").await;
    let mut client = served.client().await;
    client.send("HELLO python", b"").await;
    let bodies: [&[u8]; 4] = [
        b"{\"payload\":{\"x\":NaN}}",
        b"{\"a\":\"\xff\"}",
        b"",
        b"[1]",
    ];
    for body in bodies {
        client.send("PUB a.b", body).await;
    }
    client.publish("a.c", &envelope("behind", "")).await;
    client.send("BYE", b"").await;
    assert_eq!(client.receive().await, None);
    let messages = drain(&mut consumer, 5).await;
    for (message, body) in messages.iter().zip(bodies) {
        assert_eq!(&message.bytes()[..], body);
        assert_eq!(message.event().is_ok(), body == b"[1]");
    }
    let why = messages[0].event().unwrap_err().to_string();
    assert!(why.starts_with("undecodable: not JSON"), "{why}");
    assert_eq!(messages[4].event().unwrap().id.as_str(), "behind");
}

#[tokio::test]
async fn half_a_frame_is_not_published() {
    let served = serve().await;
    let mut bystander = served.subscriber(&["a.*"]).await;
    let before = served.head().await;
    let mut client = served.client().await;
    client.publish("a.b", &envelope("whole", "")).await;
    client.raw(b"PUB a.b\n\0\0\0\x20{\"id\":").await;
    drop(client);
    assert_eq!(bystander.event().await.1, "whole");
    served.round_trip(&mut bystander).await;
    assert_eq!(served.head().await, before + 2);
}

#[tokio::test]
async fn a_slow_reader_skips_the_oldest_and_stops_nobody() {
    let served = serve().await;
    let mut slow = served.subscriber(&["a.*"]).await;
    let mut quick = served.subscriber(&["a.last"]).await;
    // Far more than the system buffers for a socket, and than it may be behind.
    let mut count = 0;
    for _ in 0..40 {
        publish(&served.bus, "a.b", 1_000).await;
        // Who reads nothing for longer than the broker's patience is cut off, and a loaded machine
        // may take that long to publish all of it.
        for _ in 0..200 {
            assert_eq!(slow.event().await.0, "a.b");
            count += 1;
        }
    }
    publish(&served.bus, "a.last", 1).await;
    assert_eq!(quick.event().await.0, "a.last");
    while slow.event().await.0 != "a.last" {
        count += 1;
    }
    assert!((1_000..39_000).contains(&count), "{count}");
}

#[tokio::test]
async fn who_reads_nothing_is_cut_off() {
    let served = serve().await;
    let mut stuck = served.subscriber(&["a.*"]).await;
    for _ in 0..5 {
        publish(&served.bus, "a.b", 1_000).await;
    }
    // Virtual from here on: the broker's patience passes as soon as nothing else happens.
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(60)).await;
    tokio::time::resume();
    let mut count = 0;
    while let Some(frame) = stuck.receive().await {
        assert_eq!(frame.line, "EVT a.b");
        count += 1;
    }
    assert!(count < 5_000, "{count}");
}

#[tokio::test]
async fn everything_received_is_journalled_at_shutdown() {
    let served = serve().await;
    let mut client = served.client().await;
    for number in 0..500 {
        client
            .publish("a.b", &envelope(&format!("e{number}"), ""))
            .await;
    }
    client.send("BYE", b"").await;
    assert_eq!(client.receive().await, None);
    // Who waits for the end of the connection knows that its events are safe.
    assert_eq!(served.head().await, 500);
    let path = served.path.clone();
    let mut idle = served.client().await;
    served.round_trip(&mut idle).await;
    let (_dir, bus) = served.stop().await;
    assert_eq!(idle.receive().await, None);
    assert!(!path.exists());
    assert_eq!(bus.position().await.unwrap().next_seq, 502);
}

#[tokio::test]
async fn the_file_is_for_the_group_and_a_stale_one_is_replaced() {
    let served = serve().await;
    let meta = std::fs::symlink_metadata(&served.path).unwrap();
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o777, 0o660);
    let second = BusServer::bind(&served.bus, SocketConfig::new(&served.path)).await;
    assert!(matches!(second, Err(BusError::SocketInUse(_))));

    let stale = served.dir.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let third = BusServer::bind(&served.bus, SocketConfig::new(&stale))
        .await
        .unwrap();
    Client::connect(&stale).await;
    drop(third);
    assert!(!stale.exists());

    let file = served.dir.path().join("notes.txt");
    std::fs::write(&file, "precious").unwrap();
    let error = BusServer::bind(&served.bus, SocketConfig::new(&file))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("choose another path"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");

    let long = served.dir.path().join("x".repeat(120));
    let error = BusServer::bind(&served.bus, SocketConfig::new(&long))
        .await
        .unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "a socket's path has at most 106 bytes");
}

#[tokio::test]
async fn clients_beyond_the_limit_are_turned_away() {
    let served = serve().await;
    let mut clients = Vec::new();
    for _ in 0..64 {
        let mut client = served.client().await;
        served.round_trip(&mut client).await;
        clients.push(client);
    }
    let mut one_more = served.client().await;
    assert_eq!(one_more.receive().await, None);
    assert_eq!((served.counts.gave_way(), served.counts.refused()), (0, 1));
    clients[0].send("BYE", b"").await;
    assert_eq!(clients[0].receive().await, None);
    let mut next = served.client().await;
    served.round_trip(&mut next).await;
}

#[tokio::test]
async fn who_says_nothing_gives_way() {
    let served = serve().await;
    let mut honest = served.subscriber(&["a.*"]).await;
    let mut silent = Vec::new();
    for _ in 0..63 {
        let mut client = served.client().await;
        client.send("HELLO nobody", b"").await;
        silent.push(client);
    }
    // Every place is taken: newcomers get in all the same, and who listens stays.
    for number in 0..10 {
        let mut newcomer = served.client().await;
        let id = format!("e{number}");
        newcomer.publish("a.b", &envelope(&id, "")).await;
        assert_eq!(honest.event().await, pair("a.b", &id));
        newcomer.send("BYE", b"").await;
        assert_eq!(newcomer.receive().await, None);
        silent.push(served.client().await);
    }
    // The longest silent went first.
    assert_eq!(silent[0].receive().await, None);
    assert!(served.counts.gave_way() >= 10);
    assert_eq!(served.counts.refused(), 0);
}

#[tokio::test]
async fn a_socket_file_that_was_removed_is_made_again() {
    let served = serve().await;
    let mut connected = served.subscriber(&["a.*"]).await;
    std::fs::remove_file(&served.path).unwrap();
    let within = Instant::now() + Duration::from_secs(30);
    while !served.path.exists() {
        assert!(Instant::now() < within, "the file stays away");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut client = served.client().await;
    client.publish("a.b", &envelope("e1", "")).await;
    // Nobody who was connected noticed.
    assert_eq!(connected.event().await, pair("a.b", "e1"));

    // What another program has put there is not touched.
    std::fs::remove_file(&served.path).unwrap();
    std::fs::write(&served.path, "precious").unwrap();
    let path = served.path.clone();
    let (_dir, _bus) = served.stop().await;
    assert_eq!(std::fs::read_to_string(path).unwrap(), "precious");
}

#[tokio::test]
async fn patterns_of_a_connection_are_limited() {
    let served = serve().await;
    let mut client = served.client().await;
    for number in 0..1_024 {
        client.subscribe(&format!("a.{number}")).await;
    }
    // One that it has already is none more.
    client.subscribe("a.7").await;
    served.round_trip(&mut client).await;
    client.subscribe("a.1024").await;
    assert_eq!(client.receive().await, None);
}
