//! A stand-in for DECNET's webhook worker, written from what is known of it by running it: when it
//! makes itself heard, when it looks at its stop flag, how much it delivers at once.

use std::{path::Path, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixStream, unix::OwnedReadHalf},
    sync::{Semaphore, mpsc},
    task::{JoinHandle, JoinSet},
    time::{Instant, interval, sleep_until},
};

use crate::Receiver;

const CONTROL: &str = "system.webhook.control";
const CHANGED: &str = "system.webhook.subscriptions_changed";
const HEALTH: &str = "system.webhook.health";
/// Requests that it has in flight in all.
const IN_FLIGHT: usize = 10;

/// How long it takes for things. Tests that wait for them scale them down.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two heartbeats. 30 s.
    pub heartbeat: Duration,
    /// After which it reads its table, and looks at its stop flag, when nothing wakes it. 60 s.
    pub timer: Duration,
    /// From being woken by a change until it has looked at its stop flag. 1 s.
    pub reload: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(30),
            timer: Duration::from_secs(60),
            reload: Duration::from_secs(1),
        }
    }
}

/// What it does with events from being woken until it has looked at its flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloading {
    /// It delivers them.
    Delivers,
    /// It loses them.
    Loses,
}

/// A running worker. It ends when it is ordered to and looks, or when it is dropped.
pub struct DecnetWorker(JoinHandle<Vec<String>>);

impl DecnetWorker {
    /// Connects to the broker as `webhook`, makes itself heard, and delivers what matches the pattern
    /// to the receiver, unsigned.
    pub async fn start(
        broker: &Path,
        pattern: &str,
        receiver: Option<Arc<Receiver>>,
        pace: Pace,
        reloading: Reloading,
    ) -> Self {
        let stream = UnixStream::connect(broker).await.expect("a broker");
        let (read, mut write) = stream.into_split();
        let mut greeting = Vec::new();
        for line in [
            "HELLO webhook",
            &format!("SUB {CONTROL}"),
            &format!("SUB {CHANGED}"),
        ] {
            greeting.extend(frame(line, b""));
        }
        greeting.extend(frame(&format!("SUB {pattern}"), b""));
        write.write_all(&greeting).await.expect("a broker");
        let (events, mut incoming) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            tasks.spawn(read_events(read, events));
            let mut beats = interval(pace.heartbeat);
            let mut look_at = Instant::now() + pace.timer;
            let (mut stop, mut woken, mut deaf) = (false, false, false);
            let mut taken = Vec::new();
            let slots = Arc::new(Semaphore::new(IN_FLIGHT));
            let mut delivering = JoinSet::new();
            loop {
                let event = tokio::select! {
                    biased;
                    _ = beats.tick() => {
                        let beat = json!({"v": 1, "type": "health", "payload": {"worker": "webhook", "ts": 1}});
                        let beat = frame(&format!("PUB {HEALTH}"), beat.to_string().as_bytes());
                        if write.write_all(&beat).await.is_err() {
                            break;
                        }
                        continue;
                    }
                    () = sleep_until(look_at) => {
                        if stop {
                            break;
                        }
                        (look_at, woken) = (Instant::now() + pace.timer, false);
                        continue;
                    }
                    event = incoming.recv(), if !deaf => event,
                };
                let Some((topic, body)) = event else { break };
                let Some(event) = understood(&body) else {
                    // Its reader ends for good, and it goes on without one.
                    incoming.close();
                    deaf = true;
                    continue;
                };
                match topic.as_str() {
                    CONTROL => stop |= event["payload"]["action"] == "stop",
                    CHANGED if !woken => (look_at, woken) = (Instant::now() + pace.reload, true),
                    CHANGED => {}
                    _ if woken && reloading == Reloading::Loses => {}
                    _ => {
                        let id = event["id"].as_str().expect("a broker gives ids").to_owned();
                        taken.push(id.clone());
                        if let Some(receiver) = receiver.clone() {
                            let slots = slots.clone();
                            delivering.spawn(async move {
                                let _slot = slots.acquire_owned().await;
                                let headers = [("x-decnet-event-id", id.as_str())];
                                receiver.post_raw("/", &headers, &body).await;
                            });
                        }
                    }
                }
            }
            // What is in flight still arrives; nobody reads any more.
            tasks.shutdown().await;
            delivering.join_all().await;
            taken
        });
        Self(task)
    }

    /// Waits for its end; returns the ids of what it delivered.
    pub async fn ended(self) -> Vec<String> {
        let mut task = self;
        (&mut task.0).await.expect("the stand-in does not panic")
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for DecnetWorker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Its clients take `ts` for a float.
fn understood(body: &[u8]) -> Option<Value> {
    let event: Value = serde_json::from_slice(body).ok()?;
    event["ts"].is_number().then_some(event)
}

async fn read_events(read: OwnedReadHalf, events: mpsc::UnboundedSender<(String, Vec<u8>)>) {
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            match read.read_u8().await {
                Ok(byte) => line.push(byte),
                Err(_) => return,
            }
        }
        let Ok(length) = read.read_u32().await else {
            return;
        };
        let mut body = vec![0; length as usize];
        if read.read_exact(&mut body).await.is_err() {
            return;
        }
        let line = String::from_utf8(line).expect("a header line is ASCII");
        let Some(topic) = line.trim_end().strip_prefix("EVT ") else {
            continue;
        };
        if events.send((topic.to_owned(), body)).is_err() {
            return;
        }
    }
}

fn frame(line: &str, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("small bodies");
    [line.as_bytes(), b"\n", &length.to_be_bytes(), body].concat()
}
