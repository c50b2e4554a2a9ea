//! Ordering another worker to stop, at a known place among the events.
//!
//! The order is an event itself, `system.webhook.control`, and the broker sends it to the other worker
//! and to this feed in the order in which it sends everything else. So both know which events came
//! before it. It is sent over a second connection, because the broker sends a publisher no echo. The
//! feed must have subscribed before: since the protocol acknowledges nothing, it asks until it hears
//! itself, by an action that workers ignore.

use std::{
    io,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::UnixStream, sync::watch, time::timeout};
use webhook_model::{Event, Payload, Topic, UtcTime, topics};

use super::Begin;
use crate::socket::frame::write_frame;

/// How long the broker may take to hand over one event before it is asked once more.
const PATIENCE: Duration = Duration::from_secs(1);
/// How the order says who gave it.
const WHO: &str = "decnet webhook --takeover";

/// Lets events through, or not yet.
#[derive(Debug)]
pub(super) struct Gate {
    open: AtomicBool,
    /// By which it knows its own orders.
    mark: String,
    heard: watch::Sender<Order>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Nothing,
    /// Means nothing to a worker.
    Listen,
    Stop,
}

impl Order {
    fn action(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Listen => "listen",
            Self::Stop => "stop",
        }
    }
}

impl Gate {
    pub(super) fn new(begin: Begin) -> Self {
        Self {
            open: AtomicBool::new(begin == Begin::AtOnce),
            mark: hex::encode(rand::random::<[u8; 8]>()),
            heard: watch::Sender::new(Order::Nothing),
        }
    }

    /// Whether this event counts. Called with every event, in order.
    pub(super) fn admits(&self, topic: &Topic, body: &Bytes) -> bool {
        if self.open.load(Ordering::Acquire) {
            return true;
        }
        if topic.as_str() == topics::CONTROL {
            let order = self.own_order(body);
            if order == Order::Stop {
                self.open.store(true, Ordering::Release);
            }
            if order > Order::Nothing {
                self.heard.send_replace(order);
            }
        }
        false
    }

    fn own_order(&self, body: &[u8]) -> Order {
        let event: Value = serde_json::from_slice(body).unwrap_or_default();
        let payload = &event["payload"];
        if payload["mark"] != self.mark.as_str() {
            return Order::Nothing;
        }
        match payload["action"].as_str() {
            Some("stop") => Order::Stop,
            _ => Order::Listen,
        }
    }

    /// Opens the gate, if it is shut: orders whoever delivers to stop. Returns once events count.
    pub(super) async fn open(&self, path: &Path) -> io::Result<()> {
        if self.open.load(Ordering::Acquire) {
            return Ok(());
        }
        self.heard.send_replace(Order::Nothing);
        let mut stream = UnixStream::connect(path).await?;
        let mut frame = BytesMut::new();
        write_frame("HELLO", "decnet-takeover", b"", &mut frame);
        stream.write_all_buf(&mut frame).await?;
        for order in [Order::Listen, Order::Stop] {
            self.until_heard(order, &mut stream).await?;
        }
        write_frame("BYE", "", b"", &mut frame);
        stream.write_all_buf(&mut frame).await?;
        tracing::info!(
            "the worker that delivered so far was ordered to stop; what comes now is ours"
        );
        Ok(())
    }

    async fn until_heard(&self, order: Order, stream: &mut UnixStream) -> io::Result<()> {
        let mut heard = self.heard.subscribe();
        loop {
            let mut frame = BytesMut::new();
            write_frame("PUB", topics::CONTROL, &self.envelope(order), &mut frame);
            stream.write_all_buf(&mut frame).await?;
            let came = heard.wait_for(|&heard| heard >= order);
            if timeout(PATIENCE, came).await.is_ok() {
                return Ok(());
            }
        }
    }

    fn envelope(&self, order: Order) -> Bytes {
        let payload = json!({
            "action": order.action(),
            "requested_by": WHO,
            "ts": UtcTime::now().micros() as f64 / 1e6,
            "mark": self.mark,
        });
        let topic = Topic::parse(topics::CONTROL).expect("own topics are valid");
        let payload = Payload::parse(&payload.to_string()).expect("own payloads are objects");
        Event::new(topic, order.action(), payload).envelope()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_at_its_own_order_to_stop_and_no_other() {
        let topic = |text: &str| Topic::parse(text).unwrap();
        let gate = Gate::new(Begin::AfterStop);
        let other = Gate::new(Begin::AfterStop);
        let control = topic(topics::CONTROL);
        assert!(!gate.admits(&topic("a.b"), &Bytes::from_static(b"{}")));
        assert!(!gate.admits(&control, &other.envelope(Order::Stop)));
        assert!(!gate.admits(&control, &gate.envelope(Order::Listen)));
        assert!(!gate.admits(&topic("a.b"), &gate.envelope(Order::Stop)));
        // The order itself is for the other worker.
        assert!(!gate.admits(&control, &gate.envelope(Order::Stop)));
        assert!(gate.admits(&topic("a.b"), &Bytes::from_static(b"{}")));
        assert!(Gate::new(Begin::AtOnce).admits(&control, &Bytes::new()));
    }
}
