//! Who has no token: connections, bytes that are no request, and requests that take for ever.

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

/// Connections that are kept: beyond what the server has for one address, and for all.
const KEPT: usize = 1_100;
/// How long one waits after it was ended until it comes again. The sum is some hundred new connections
/// a second; more would be a measure of how fast they are made.
const AGAIN: Duration = Duration::from_secs(10);
/// Heads, and bodies, that come a byte at a time.
const DRIPPING: usize = 30;
/// Between two bytes: slow, but never silent.
const DRIP: Duration = Duration::from_millis(500);
/// Between two requests that are none.
const GARBAGE: Duration = Duration::from_millis(50);

/// Begins all of it.
pub(crate) fn attack(foes: &Runtime, foe: &Foe) -> Vec<JoinHandle<()>> {
    let mut attacks = vec![foes.spawn(garbage(foe.clone()))];
    attacks.extend((0..KEPT).map(|n| foes.spawn(kept(foe.clone(), n))));
    attacks.extend((0..DRIPPING).map(|_| foes.spawn(dripping_head(foe.clone()))));
    attacks.extend((0..DRIPPING).map(|_| foes.spawn(dripping_body(foe.clone()))));
    attacks
}

async fn open(foe: &Foe) -> Option<Wire> {
    let opened = timeout(AGAIN, Wire::open(Ipv4Addr::LOCALHOST.into(), foe.server)).await;
    opened.ok()?.ok()
}

/// Asks once and keeps the connection until it is ended, then comes again.
async fn kept(foe: Foe, n: usize) {
    sleep(AGAIN * u32::try_from(n).unwrap() / u32::try_from(KEPT).unwrap()).await;
    loop {
        if let Some(mut wire) = open(&foe).await {
            let asked = timeout(AGAIN, wire.ask(&get("/api/v1/webhooks", None))).await;
            foe.tally.answer("nobody, kept", asked);
            wire.until_closed().await;
        }
        sleep(AGAIN).await;
    }
}

/// Sends bytes that are no request.
async fn garbage(foe: Foe) {
    const ALL: [&[u8]; 5] = [
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /api/v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ];
    let mut ticks = pace(GARBAGE);
    for bytes in ALL.iter().cycle() {
        ticks.tick().await;
        if let Some(mut wire) = open(&foe).await {
            let asked = timeout(GARBAGE * 4, wire.ask(bytes)).await;
            foe.tally.answer("nobody, garbage", asked);
        }
    }
}

/// Sends a head that never ends.
async fn dripping_head(foe: Foe) {
    loop {
        if let Some(mut wire) = open(&foe).await {
            let mut ticks = pace(DRIP);
            let head = b"GET /healthz HTTP/1.1\r\nHost: test\r\nX-Long: ";
            for byte in head.iter().chain(std::iter::repeat(&b'a')) {
                ticks.tick().await;
                if wire.0.write_all(&[*byte]).await.is_err() {
                    break;
                }
            }
            foe.tally.count("nobody, dripping head ended");
        }
        sleep(AGAIN).await;
    }
}

/// Announces a body and sends it a byte at a time.
async fn dripping_body(foe: Foe) {
    loop {
        if let Some(mut wire) = open(&foe).await {
            let head = b"POST /api/v1/events HTTP/1.1\r\nHost: test\r\n\
                Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n";
            let mut ticks = pace(DRIP);
            let mut written = wire.0.write_all(head).await;
            while written.is_ok() {
                ticks.tick().await;
                written = wire.0.write_all(b"[").await;
            }
            foe.tally.count("nobody, dripping body ended");
        }
        sleep(AGAIN).await;
    }
}
