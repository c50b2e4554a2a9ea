//! A member of the bus socket's group, in a process of its own, as another user where that can be had:
//! who connects, not what it says, decides what it may.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    process::Command,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::{TOPIC, pace, report::Tally};

/// By which the process is told where the socket is, and for how many seconds.
const SOCKET: &str = "DECNET_TEST_SOCKET";
const SECONDS: &str = "DECNET_TEST_SECONDS";
/// Nobody's id.
const NOBODY: u32 = 65_534;

/// Connections that say nothing: more than there are places.
const SILENT: usize = 100;
/// Clients that subscribe to everything and read nothing.
const DEAF: usize = 8;
/// How long one waits before it comes again, so that all of them come some hundred times a second.
const AGAIN: Duration = Duration::from_secs(1);
/// Clients that send nearly all of the largest event and no more, which has to be kept meanwhile.
const HALF: usize = 48;
/// Between two events of the largest size, on each of some connections.
const LARGE: Duration = Duration::from_secs(2);
const LARGE_ONES: usize = 8;
/// Largest body of a frame.
const LARGEST: usize = 1 << 20;
/// Between two frames that are none.
const MALFORMED: Duration = Duration::from_millis(50);
/// Between two orders that are not its to give.
const FORGED: Duration = Duration::from_millis(50);
/// Between two bursts of events: five hundred a second, which the journal writes, and twenty that
/// everybody subscribed to, which go to a dozen receivers each.
const BURST: Duration = Duration::from_millis(100);
const UNSUBSCRIBED: usize = 50;
const SUBSCRIBED: usize = 2;

/// Runs this test binary as another user for that time, and takes over what it counted.
pub(crate) fn start(dir: &Path, tally: &Tally, time: Duration) -> JoinHandle<()> {
    let socket = dir.join("bus.sock");
    let program = dir.join("member");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut command = Command::new(&program);
    command
        .args(["--exact", "member::attacks", "--ignored", "--nocapture"])
        .env(SOCKET, &socket)
        .env(SECONDS, time.as_secs().to_string())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    if nix::unistd::geteuid().is_root() {
        // As if that user were of the socket's group.
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    let tally = tally.clone();
    tokio::spawn(async move {
        let output = command.output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        tally.take_over(&text);
    })
}

/// Not a test: what the other user's process does.
#[tokio::test]
#[ignore = "the tests of this binary run it as another user"]
async fn attacks() {
    let (Some(socket), Ok(seconds)) = (std::env::var_os(SOCKET), std::env::var(SECONDS)) else {
        return;
    };
    let socket = PathBuf::from(socket);
    let tally = Tally::default();
    let mut attacks = JoinSet::new();
    for n in 0..SILENT {
        attacks.spawn(silent(socket.clone(), tally.clone(), n));
    }
    for _ in 0..DEAF {
        attacks.spawn(deaf(socket.clone(), tally.clone()));
    }
    for _ in 0..HALF {
        attacks.spawn(half(socket.clone(), tally.clone()));
    }
    for _ in 0..LARGE_ONES {
        attacks.spawn(large(socket.clone(), tally.clone()));
    }
    attacks.spawn(malformed(socket.clone(), tally.clone()));
    attacks.spawn(flood(socket.clone(), tally.clone()));
    // To our own user's programs those are allowed.
    if nix::unistd::geteuid().as_raw() == NOBODY {
        attacks.spawn(forged(socket.clone(), tally.clone()));
    }
    let time = Duration::from_secs(seconds.parse().unwrap());
    let ended = timeout(time, attacks.join_next()).await;
    assert!(ended.is_err(), "an attack ended before its time");
    print!("{}", tally.lines());
}

fn event(topic: &str, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [format!("PUB {topic}\n").as_bytes(), &length, body].concat()
}

/// Connects, says nothing, and comes again when it is thrown out.
async fn silent(socket: PathBuf, tally: Tally, n: usize) {
    sleep(AGAIN * u32::try_from(n).unwrap() / u32::try_from(SILENT).unwrap()).await;
    loop {
        if let Ok(mut stream) = UnixStream::connect(&socket).await {
            let _ = stream.read(&mut [0; 16]).await;
            tally.count("member, silent ended");
        }
        sleep(AGAIN).await;
    }
}

/// Subscribes to everything and reads nothing, until it is thrown out.
async fn deaf(socket: PathBuf, tally: Tally) {
    loop {
        if let Ok(mut stream) = UnixStream::connect(&socket).await {
            let mut written = stream
                .write_all(b"HELLO deaf\n\0\0\0\0SUB >\n\0\0\0\0")
                .await;
            let mut ticks = pace(AGAIN);
            while written.is_ok() {
                ticks.tick().await;
                // It is not silent, either.
                written = stream.write_all(b"UNSUB a.b\n\0\0\0\0").await;
            }
            tally.count("member, deaf ended");
        }
        sleep(AGAIN).await;
    }
}

/// Announces the largest event and sends all of it but the end.
async fn half(socket: PathBuf, tally: Tally) {
    let frame = event("noise.half", &vec![b' '; LARGEST]);
    loop {
        if let Ok(mut stream) = UnixStream::connect(&socket).await {
            // As one that has something to say, which is not among the first to give way.
            let hello = event("noise.half", b"{}");
            let mut written = stream.write_all(&hello).await;
            if written.is_ok() {
                written = stream.write_all(&frame[..frame.len() - 1]).await;
            }
            if written.is_ok() {
                let _ = stream.read(&mut [0; 16]).await;
            }
            tally.count("member, half a frame ended");
        }
        sleep(AGAIN).await;
    }
}

/// Publishes events of the largest size.
async fn large(socket: PathBuf, tally: Tally) {
    let text = "x".repeat(LARGEST - 100);
    let frame = event(
        "noise.large",
        format!(r#"{{"payload":{{"x":"{text}"}}}}"#).as_bytes(),
    );
    loop {
        if let Ok(mut stream) = UnixStream::connect(&socket).await {
            let mut ticks = pace(LARGE);
            while stream.write_all(&frame).await.is_ok() {
                tally.count("member, large events");
                ticks.tick().await;
            }
        }
        sleep(AGAIN).await;
    }
}

/// Frames that are none, and lengths that are lies.
async fn malformed(socket: PathBuf, tally: Tally) {
    let long = [b"PUB ", "a".repeat(8_192).as_bytes(), b"\n\0\0\0\0"].concat();
    let bodies: [&[u8]; 6] = [
        b"NONSENSE\n\0\0\0\0",
        b"PUB attacker.observed\n\xff\xff\xff\xff",
        b"PUB a..b\n\0\0\0\x02{}",
        b"\xff\xfe\xfd\n\0\0\0\0",
        b"PUB attacker.observed\n\0\x0f\xff\xffhalf",
        &long,
    ];
    let mut ticks = pace(MALFORMED);
    for bytes in bodies.iter().cycle() {
        ticks.tick().await;
        if let Ok(mut stream) = UnixStream::connect(&socket).await {
            let _ = stream.write_all(bytes).await;
            let ended = timeout(MALFORMED, stream.read(&mut [0; 16])).await;
            tally.count(match ended {
                Ok(_) => "member, malformed ended",
                Err(_) => "member, malformed left open",
            });
        }
    }
}

/// Orders to stop and heartbeats of a worker that there is not.
async fn forged(socket: PathBuf, tally: Tally) {
    let frames = [
        event(
            "system.webhook.control",
            br#"{"payload":{"action":"stop"}}"#,
        ),
        event(
            "system.webhook.health",
            br#"{"payload":{"worker":"webhook","deployment":"forged","ts":1}}"#,
        ),
    ]
    .concat();
    let mut ticks = pace(FORGED);
    loop {
        ticks.tick().await;
        if let Ok(mut stream) = UnixStream::connect(&socket).await
            && stream.write_all(&frames).await.is_ok()
        {
            tally.count("member, forged");
        }
    }
}

/// Events without end, most of which nobody wants, some of which are no JSON.
async fn flood(socket: PathBuf, tally: Tally) {
    let unwanted = event(
        "noise.member",
        format!(r#"{{"payload":{{"x":"{}"}}}}"#, "x".repeat(200)).as_bytes(),
    );
    let wanted = event(TOPIC, br#"{"payload":{"from":"a member"}}"#);
    let nan = event(TOPIC, br#"{"payload":{"score":NaN}}"#);
    let mut burst = unwanted.repeat(UNSUBSCRIBED);
    burst.extend(wanted.repeat(SUBSCRIBED));
    loop {
        if let Ok(mut stream) = UnixStream::connect(&socket).await {
            let mut ticks = pace(BURST);
            for turn in 0_u64.. {
                ticks.tick().await;
                let mut written = stream.write_all(&burst).await;
                if turn % 10 == 0 && written.is_ok() {
                    written = stream.write_all(&nan).await;
                }
                if written.is_err() {
                    break;
                }
                tally.count("member, bursts");
            }
        }
        tally.count("member, flood cut");
        sleep(AGAIN).await;
    }
}
