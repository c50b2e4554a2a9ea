//! Ordering another worker to stop, at a known place among the events, and seeing that it does.
//!
//! The order is two events, `subscriptions_changed` and `control`, and the broker sends them to the
//! other worker and to this feed in the order in which it sends everything else. So both know which
//! events came before. DECNET's worker looks at its stop flag only when a change or its own timer wakes
//! it: the change comes first and in the same write, so that the flag is up when it looks. What it
//! takes until then arrives twice, with the same ids; what it no longer takes is ours already.
//!
//! The order goes over a second connection, because the broker sends a publisher no echo. The feed must
//! have subscribed before: since the protocol acknowledges nothing, it asks until it hears itself, by
//! an action that workers ignore.

use std::{
    io,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::UnixStream,
    sync::watch,
    time::{Instant, timeout, timeout_at},
};
use webhook_model::{Event, Payload, Topic, UtcTime, topics};

use super::{Begin, FeedConfig};
use crate::{journal::lock, socket::frame::write_frame};

/// How long the broker may take to hand over one event before it is asked once more.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most orders to a worker that goes on making itself heard. Who has not obeyed so often is started
/// again by somebody, or is no program that obeys.
const MOST_ORDERS: u32 = 5;
/// How the order says who gave it.
const WHO: &str = "decnet webhook --takeover";

/// Lets events through, or not yet.
#[derive(Debug)]
pub(super) struct Gate {
    open: AtomicBool,
    /// By which it knows its own orders.
    mark: String,
    heard: watch::Sender<Order>,
    /// When another worker was last heard.
    heartbeat: watch::Sender<Option<Instant>>,
    /// The other worker's leaving, until it is known to be over.
    leaving: Mutex<Option<Leaving>>,
    silence: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Nothing,
    /// Means nothing to a worker.
    Listen,
    /// Wakes it. From here on events are ours.
    Wake,
    Stop,
}

#[derive(Debug, Clone, Copy)]
struct Leaving {
    /// When the first order came through.
    since: Instant,
    /// When the last one did.
    ordered: Instant,
    orders: u32,
}

impl Leaving {
    fn begin() -> Self {
        let now = Instant::now();
        Self {
            since: now,
            ordered: now,
            orders: 1,
        }
    }
}

impl Gate {
    pub(super) fn new(config: &FeedConfig) -> Self {
        Self {
            open: AtomicBool::new(config.begin == Begin::AtOnce),
            mark: hex::encode(rand::random::<[u8; 8]>()),
            heard: watch::Sender::new(Order::Nothing),
            heartbeat: watch::Sender::new(None),
            leaving: Mutex::new(None),
            silence: config.silence,
        }
    }

    /// Whether this event counts. Called with every event, in order.
    pub(super) fn admits(&self, topic: &Topic, body: &Bytes) -> bool {
        match topic.as_str() {
            topics::CONTROL | topics::SUBSCRIPTIONS_CHANGED => {
                let order = self.own_order(topic, body);
                if order > Order::Nothing {
                    if order >= Order::Wake && !self.open.swap(true, Ordering::AcqRel) {
                        *lock(&self.leaving) = Some(Leaving::begin());
                    }
                    self.heard.send_replace(order);
                    // It is for the other worker.
                    return false;
                }
            }
            // The broker sends us no echo of our own.
            topics::HEALTH if payload(body)["worker"] == "webhook" => {
                self.heartbeat.send_replace(Some(Instant::now()));
            }
            _ => {}
        }
        self.open.load(Ordering::Acquire)
    }

    fn own_order(&self, topic: &Topic, body: &[u8]) -> Order {
        let payload = payload(body);
        if payload["mark"] != self.mark.as_str() {
            return Order::Nothing;
        }
        match (topic.as_str(), payload["action"].as_str()) {
            (topics::SUBSCRIPTIONS_CHANGED, _) => Order::Wake,
            (_, Some("stop")) => Order::Stop,
            _ => Order::Listen,
        }
    }

    /// Opens the gate, if it is shut: orders whoever delivers to stop. Returns once events count.
    pub(super) async fn open(&self, path: &Path) -> io::Result<()> {
        if self.open.load(Ordering::Acquire) {
            return Ok(());
        }
        self.order(path, true).await?;
        tracing::info!(
            last_heartbeat = self.last_heartbeat(),
            "the worker that delivered so far was ordered to stop; what comes now is ours"
        );
        Ok(())
    }

    /// After a takeover, waits until the other worker has been silent for longer than one that lives
    /// can be; orders it once more whenever it is heard. Says what it saw.
    pub(super) async fn see_off(&self, path: &Path) -> io::Result<()> {
        let mut heartbeat = self.heartbeat.subscribe();
        loop {
            let Some(leaving) = *lock(&self.leaving) else {
                return Ok(());
            };
            let after = |at: &Option<Instant>| at.is_some_and(|at| at > leaving.ordered);
            let beat = timeout_at(leaving.ordered + self.silence, heartbeat.wait_for(after));
            if beat.await.is_err() {
                tracing::info!(
                    orders = leaving.orders,
                    last_heartbeat = self.last_heartbeat(),
                    "no other webhook worker was heard for {:?}: it is gone; what came within its last moments may have been delivered twice, with the same ids",
                    self.silence
                );
                *lock(&self.leaving) = None;
                return Ok(());
            }
            let waited = leaving.since.elapsed();
            if leaving.orders == MOST_ORDERS {
                tracing::error!(
                    orders = leaving.orders,
                    "another webhook worker is still heard {waited:?} after the order to stop, and every event arrives twice; stop it yourself, e.g. systemctl disable --now decnet-webhook of DECNET"
                );
                *lock(&self.leaving) = None;
                return Ok(());
            }
            tracing::warn!(
                "another webhook worker is heard {waited:?} after the order to stop, and what it delivers arrives twice; ordering it once more"
            );
            self.order(path, false).await?;
            *lock(&self.leaving) = Some(Leaving {
                ordered: Instant::now(),
                orders: leaving.orders + 1,
                ..leaving
            });
        }
    }

    /// For the log.
    fn last_heartbeat(&self) -> String {
        match *self.heartbeat.borrow() {
            Some(at) => format!("{} s ago", at.elapsed().as_secs()),
            None => "none since we are connected".to_owned(),
        }
    }

    /// Orders whoever delivers to stop. Returns once the order has come through.
    async fn order(&self, path: &Path, listen: bool) -> io::Result<()> {
        self.heard.send_replace(Order::Nothing);
        let mut stream = UnixStream::connect(path).await?;
        let mut frame = BytesMut::new();
        write_frame("HELLO", "decnet-takeover", b"", &mut frame);
        stream.write_all_buf(&mut frame).await?;
        if listen {
            self.until_heard(&[Order::Listen], &mut stream).await?;
        }
        self.until_heard(&[Order::Wake, Order::Stop], &mut stream)
            .await?;
        write_frame("BYE", "", b"", &mut frame);
        stream.write_all_buf(&mut frame).await
    }

    /// Sends these in one write, until the last of them has come back.
    async fn until_heard(&self, orders: &[Order], stream: &mut UnixStream) -> io::Result<()> {
        let mut heard = self.heard.subscribe();
        let last = orders.last().copied().unwrap_or(Order::Nothing);
        loop {
            let mut frames = BytesMut::new();
            for &order in orders {
                let (topic, envelope) = self.envelope(order);
                write_frame("PUB", topic.as_str(), &envelope, &mut frames);
            }
            stream.write_all_buf(&mut frames).await?;
            let came = heard.wait_for(|&heard| heard >= last);
            if timeout(PATIENCE, came).await.is_ok() {
                return Ok(());
            }
        }
    }

    fn envelope(&self, order: Order) -> (Topic, Bytes) {
        let (topic, kind, mut payload) = match order {
            Order::Wake => (topics::SUBSCRIPTIONS_CHANGED, "changed", json!({})),
            Order::Stop => (topics::CONTROL, "stop", json!({"action": "stop"})),
            Order::Listen | Order::Nothing => {
                (topics::CONTROL, "listen", json!({"action": "listen"}))
            }
        };
        payload["mark"] = self.mark.as_str().into();
        payload["requested_by"] = WHO.into();
        payload["ts"] = json!(UtcTime::now().micros() as f64 / 1e6);
        let topic = Topic::parse(topic).expect("own topics are valid");
        let payload = Payload::parse(&payload.to_string()).expect("own payloads are objects");
        let envelope = Event::new(topic.clone(), kind, payload).envelope();
        (topic, envelope)
    }
}

fn payload(body: &[u8]) -> Value {
    let mut event: Value = serde_json::from_slice(body).unwrap_or_default();
    event
        .get_mut("payload")
        .map(Value::take)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_at_its_own_order_and_no_other() {
        let gate = |begin| {
            Gate::new(&FeedConfig {
                begin,
                ..FeedConfig::new("/nowhere")
            })
        };
        let topic = |text: &str| Topic::parse(text).unwrap();
        let event = Bytes::from_static(b"{}");
        let admits = |gate: &Gate, (topic, body): (Topic, Bytes)| gate.admits(&topic, &body);
        let (ours, other) = (gate(Begin::AfterStop), gate(Begin::AfterStop));
        assert!(!ours.admits(&topic("a.b"), &event));
        assert!(!admits(&ours, other.envelope(Order::Wake)));
        assert!(!admits(&ours, other.envelope(Order::Stop)));
        assert!(!admits(&ours, ours.envelope(Order::Listen)));
        let (_, stop) = ours.envelope(Order::Stop);
        assert!(!ours.admits(&topic("a.b"), &stop));
        assert!(!ours.admits(&topic("a.b"), &event));
        // The order itself is for the other worker, however often it comes.
        for _ in 0..2 {
            assert!(!admits(&ours, ours.envelope(Order::Wake)));
            assert!(ours.admits(&topic("a.b"), &event));
            assert!(!admits(&ours, ours.envelope(Order::Stop)));
        }
        assert!(admits(&ours, other.envelope(Order::Stop)));
        let at_once = gate(Begin::AtOnce);
        assert!(at_once.admits(&topic(topics::CONTROL), &Bytes::new()));
    }

    #[test]
    fn hears_other_workers() {
        let gate = Gate::new(&FeedConfig::new("/nowhere"));
        let health = Topic::parse(topics::HEALTH).unwrap();
        let said = |payload: &str| Bytes::from(format!("{{\"payload\":{payload}}}"));
        assert!(gate.admits(&health, &said("{}")));
        assert!(gate.heartbeat.borrow().is_none());
        assert!(gate.admits(&health, &said("{\"worker\":\"webhook\"}")));
        assert!(gate.heartbeat.borrow().is_some());
    }
}
