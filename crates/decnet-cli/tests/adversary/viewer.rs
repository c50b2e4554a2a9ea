//! Who may read, and asks for what is large without reading it.

use std::{net::Ipv4Addr, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    runtime::Runtime,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    Foe, pace,
    wire::{Wire, get},
};

/// Connections that ask and do not read.
const UNREAD: usize = 100;
/// Requests on each, without waiting for an answer.
const PIPELINED: usize = 120;
/// What the kernel takes for each of them. More of it would have more answers made, whose making is a
/// matter of processors; less of it leaves more of them with the server.
const RECEIVE_BUFFER: u32 = 16 << 10;
/// How long each is held, where the server does not end it before.
const HELD: Duration = Duration::from_secs(30);
/// Between two looks at whether it did.
const STILL: Duration = Duration::from_secs(1);
/// How long one waits before it comes again.
const AGAIN: Duration = Duration::from_secs(5);
/// Between two odd questions, and between two requests for the longest list, each of which takes a debug
/// build some hundred milliseconds.
const ODD: Duration = Duration::from_millis(100);
const LISTS: Duration = Duration::from_secs(1);

/// Begins all of it.
pub(crate) fn attack(foes: &Runtime, foe: &Foe) -> Vec<JoinHandle<()>> {
    let mut attacks = vec![
        foes.spawn(odd_questions(foe.clone())),
        foes.spawn(long_lists(foe.clone())),
    ];
    attacks.extend((0..UNREAD).map(|n| foes.spawn(unread(foe.clone(), n))));
    attacks
}

/// Pipelines requests for what is large and reads nothing until the server gives up.
async fn unread(foe: Foe, n: usize) {
    let path = match n % 2 {
        0 => "/openapi.json",
        _ => "/api/v1/deliveries?limit=500",
    };
    let requests = get(path, Some(&foe.viewer)).repeat(PIPELINED);
    sleep(AGAIN * u32::try_from(n).unwrap() / u32::try_from(UNREAD).unwrap()).await;
    loop {
        if let Ok(mut wire) = Wire::open_narrow(foe.server, RECEIVE_BUFFER).await {
            let written = timeout(HELD, wire.0.write_all(&requests)).await;
            let mut ticks = pace(STILL);
            // Nothing is read: only writing tells that the other end is gone.
            let ended = async {
                while wire.0.write_all(b"\r\n").await.is_ok() {
                    ticks.tick().await;
                }
            };
            foe.tally.count(match written {
                Ok(Ok(())) if timeout(HELD, ended).await.is_err() => {
                    "viewer, unread: held for 30 s"
                }
                Ok(Ok(())) => "viewer, unread: ended by the server",
                _ => "viewer, unread: requests not taken",
            });
        } else {
            foe.tally.count("viewer, unread: no connection");
        }
        sleep(AGAIN).await;
    }
}

/// Asks for what makes no sense, or much work where it is done without care.
async fn odd_questions(foe: Foe) {
    const ALL: [&str; 10] = [
        "/api/v1/deliveries?topic=attacker.>",
        "/api/v1/deliveries?topic=(a%2B)%2B%24",
        "/api/v1/deliveries?topic=*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*",
        "/api/v1/deliveries?limit=99999999999999999999",
        "/api/v1/deliveries?since=NaN&until=-1",
        "/api/v1/deliveries?cursor=%00%ff%00",
        "/api/v1/deliveries?event_id=%27%20OR%201=1--",
        "/api/v1/deliveries/18446744073709551616",
        "/api/v1/webhooks/../../../../etc/passwd",
        "/api/v1/status?x=%F0%9F%92%A9",
    ];
    let mut ticks = pace(ODD);
    for path in ALL.iter().cycle() {
        ticks.tick().await;
        ask(&foe, path, "viewer, odd question").await;
    }
}

/// Asks for the longest list there is, and reads it.
async fn long_lists(foe: Foe) {
    let mut ticks = pace(LISTS);
    loop {
        ticks.tick().await;
        ask(&foe, "/api/v1/deliveries?limit=500", "viewer, long list").await;
    }
}

async fn ask(foe: &Foe, path: &str, what: &'static str) {
    let asked = async {
        let mut wire = Wire::open(Ipv4Addr::LOCALHOST.into(), foe.server).await?;
        wire.ask(&get(path, Some(&foe.viewer))).await
    };
    foe.tally.answer(what, timeout(HELD, asked).await);
}
