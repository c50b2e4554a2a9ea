//! Sensors in wrong hands: what their tokens may publish, and what they may not. Each of the attacks has a
//! token of its own, for those of one token share what it may take up.

use std::{iter, net::Ipv4Addr, sync::Arc, time::Duration};

use serde_json::json;
use tokio::{
    io::AsyncWriteExt,
    runtime::Runtime,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::{
    Foe, TOPIC, pace,
    wire::{Wire, publish, publish_head},
};

/// As many as there are attacks.
pub(crate) const TOKENS: usize = 6;
/// Largest body that is taken.
const LARGEST: usize = 16 << 20;
/// Announced and not sent, at once; four were enough to take up all of what bodies may take.
const EMPTY: usize = 8;
/// Large bodies at once.
const AT_ONCE: usize = 4;
/// Between two rounds of large bodies. Each is 64 MiB to write, to read and to parse, on the same two cores;
/// a debug build takes many times as long to parse them.
const LARGE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 5 });
/// Between two smaller ones. Some are of a MiB all the same.
const SMALL: Duration = Duration::from_millis(200);
/// Between two requests of the flood: eight times what the token may.
const FLOOD: Duration = Duration::from_millis(250);
/// Events in each of those, and which of them the honest receiver subscribed to: it gets what is accepted
/// in the order of the bus, so that how far it falls behind is a matter of its own pace.
const FLOODED: usize = 100;
const WANTED_OF: usize = 5;
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(40);

/// Begins all of it.
pub(crate) fn attack(foes: &Runtime, foe: &Foe) -> Vec<JoinHandle<()>> {
    let with = |n: usize| (foe.clone(), foe.sensors[n].clone());
    let mut attacks = vec![
        foes.spawn(orders(with(0))),
        foes.spawn(large(with(1), "publisher, list of ones", list_of_ones())),
        foes.spawn(large(with(2), "publisher, deep nesting", nested())),
        foes.spawn(odd_events(with(3))),
        foes.spawn(flood(with(4))),
    ];
    attacks.extend((0..EMPTY).map(|_| foes.spawn(no_body(with(5)))));
    attacks
}

async fn send(foe: &Foe, request: &[u8]) -> std::io::Result<u16> {
    let mut wire = Wire::open(Ipv4Addr::LOCALHOST.into(), foe.server).await?;
    match wire.ask(request).await {
        Ok(status) => Ok(status),
        // A refusal that came before all was sent.
        Err(_) => wire.answer().await,
    }
}

/// Publishes what DECNET's workers, and ours, would obey. None of it may be taken.
async fn orders((foe, token): (Foe, Box<str>)) {
    const TOPICS: [&str; 5] = [
        "system.mutator.control",
        "system.webhook.control",
        "system.webhook.health",
        "system.sniffer.health",
        "decky.web-1.mutate_request",
    ];
    let mut ticks = pace(SMALL);
    for topic in TOPICS.iter().cycle() {
        ticks.tick().await;
        let body = json!({"topic": topic, "payload": {"action": "stop"}}).to_string();
        let asked = timeout(PATIENCE, send(&foe, &publish(&token, body.as_bytes()))).await;
        if matches!(asked, Ok(Ok(202))) {
            foe.tally.count("orders taken");
        }
        foe.tally.answer("publisher, order", asked);
    }
}

/// Announces the largest body and sends nothing of it, until it is refused; then again.
async fn no_body((foe, token): (Foe, Box<str>)) {
    loop {
        let asked = async {
            let mut wire = Wire::open(Ipv4Addr::LOCALHOST.into(), foe.server).await?;
            wire.0.write_all(&publish_head(&token, LARGEST)).await?;
            wire.answer().await
        };
        foe.tally
            .answer("publisher, no body", timeout(PATIENCE, asked).await);
        sleep(SMALL).await;
    }
}

/// Sends the same large body several times at once, round after round.
async fn large((foe, token): (Foe, Box<str>), what: &'static str, body: Vec<u8>) {
    let request: Arc<[u8]> = publish(&token, &body).into();
    drop(body);
    let mut ticks = pace(LARGE);
    loop {
        ticks.tick().await;
        let mut sending = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (foe, request) = (foe.clone(), request.clone());
            sending.spawn(async move {
                foe.tally
                    .answer(what, timeout(PATIENCE, send(&foe, &request)).await);
            });
        }
        sending.join_all().await;
    }
}

/// `[1,1,…]`, as long as a body may be.
fn list_of_ones() -> Vec<u8> {
    let mut body = b"[1".to_vec();
    body.extend(b",1".repeat(LARGEST / 2 - 2));
    body.push(b']');
    body
}

/// Fifteen events of nearly a MiB, each nested 120 deep around one long text.
fn nested() -> Vec<u8> {
    let text = "x".repeat(1_000_000);
    let payload = format!("{}\"{text}\"{}", r#"{"a":"#.repeat(120), "}".repeat(120));
    let event = format!(r#"{{"topic":"noise.nested","payload":{payload}}}"#);
    let events: Vec<&str> = iter::repeat_n(event.as_str(), 15).collect();
    format!("[{}]", events.join(",")).into_bytes()
}

/// Events that are none, or odd ones: `NaN`, a thousand brackets, a hundred thousand members, a surrogate.
async fn odd_events((foe, token): (Foe, Box<str>)) {
    let members: Vec<String> = (0..50_000).map(|n| format!("\"m{n}\":{n}")).collect();
    let wide = format!(
        r#"{{"topic":"noise.wide","payload":{{{}}}}}"#,
        members.join(",")
    );
    let bodies = [
        r#"{"topic":"attacker.observed","payload":{"score":NaN}}"#.to_owned(),
        r#"{"topic":"attacker.observed","payload":{"score":-Infinity}}"#.to_owned(),
        format!(r#"{{"topic":"noise.deep","payload":{}"#, "[".repeat(1_000)),
        wide,
        r#"{"topic":"attacker.observed","payload":{"name":"\ud800"}}"#.to_owned(),
        r#"{"topic":"attacker.observed","payload":{"n":1e999999}}"#.to_owned(),
    ];
    let mut ticks = pace(SMALL);
    for body in bodies.iter().cycle() {
        ticks.tick().await;
        let asked = timeout(PATIENCE, send(&foe, &publish(&token, body.as_bytes()))).await;
        foe.tally.answer("publisher, odd event", asked);
    }
}

/// Publishes far more than the token may.
async fn flood((foe, token): (Foe, Box<str>)) {
    let topic = |n| match n % WANTED_OF {
        0 => TOPIC,
        _ => "noise.flood",
    };
    let event = |n| json!({"topic": topic(n), "payload": {"noise": "x".repeat(200)}});
    let body = json!((0..FLOODED).map(event).collect::<Vec<_>>()).to_string();
    let request = publish(&token, body.as_bytes());
    let mut ticks = pace(FLOOD);
    loop {
        ticks.tick().await;
        let asked = timeout(PATIENCE, send(&foe, &request)).await;
        foe.tally.answer("publisher, flood", asked);
    }
}
