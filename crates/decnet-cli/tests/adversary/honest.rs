//! Who does nothing wrong: a publisher, and a probe.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::{
    SHARED, SHARED_OF, TOPIC, pace,
    wire::{Wire, get, publish},
};

/// Between two probes.
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// Longest wait for any answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A publisher with a token and a kept connection of its own.
#[derive(Clone)]
pub(crate) struct Publisher {
    name: &'static str,
    server: SocketAddr,
    from: IpAddr,
    token: String,
    every: Duration,
}

/// What a publisher saw.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// Of each event that was accepted, when it was due to be published.
    pub(crate) due: HashMap<String, std::time::Instant>,
    /// Answers by status.
    pub(crate) answers: BTreeMap<u16, usize>,
    /// Connections that broke, or were closed, or refused, or on which nothing came.
    pub(crate) broken: Vec<String>,
    /// How long each answer took.
    pub(crate) took: Vec<Duration>,
}

impl Publisher {
    pub(crate) fn new(
        name: &'static str,
        server: SocketAddr,
        from: [u8; 4],
        token: String,
        every: Duration,
    ) -> Self {
        let from = Ipv4Addr::from(from).into();
        Self {
            name,
            server,
            from,
            token,
            every,
        }
    }

    /// Publishes until that time. What is due goes out at once; what became due while an answer was
    /// awaited goes out together. What was not accepted is sent again with its id.
    pub(crate) async fn publish(self, until: Instant) -> Published {
        let mut seen = Published::default();
        let mut wire = None;
        let mut due: VecDeque<(String, &str, Instant)> = VecDeque::new();
        let (begun, mut made) = (Instant::now(), 0_u32);
        let mut ticks = pace(self.every);
        while Instant::now() < until || !due.is_empty() && Instant::now() < until + PATIENCE {
            ticks.tick().await;
            while begun + self.every * made <= Instant::now().min(until) {
                let topic = if made % SHARED_OF == 0 { SHARED } else { TOPIC };
                let id = format!("{}-{made}", self.name);
                due.push_back((id, topic, begun + self.every * made));
                made += 1;
            }
            if due.is_empty() {
                continue;
            }
            if wire.is_none() {
                match timeout(PATIENCE, Wire::open(self.from, self.server)).await {
                    Ok(Ok(opened)) => wire = Some(opened),
                    failed => {
                        seen.broken
                            .push(format!("no connection: {:?}", failed.map(|it| it.err())));
                        continue;
                    }
                }
            }
            let Some(open) = &mut wire else { continue };
            let events: Vec<_> = (due.iter().take(1_000))
                .map(|(id, topic, _)| json!({"id": id, "topic": topic, "payload": {"ip": "192.0.2.7"}}))
                .collect();
            let request = publish(
                &self.token,
                serde_json::to_string(&events).unwrap().as_bytes(),
            );
            let asked = Instant::now();
            match timeout(PATIENCE, open.ask(&request)).await {
                Ok(Ok(status)) => {
                    *seen.answers.entry(status).or_default() += 1;
                    seen.took.push(asked.elapsed());
                    if status == 202 {
                        let sent = due.drain(..events.len());
                        seen.due.extend(sent.map(|(id, _, at)| (id, at.into_std())));
                    }
                }
                failed => {
                    let after = asked.duration_since(begun);
                    seen.broken.push(format!("{failed:?} at {after:?}"));
                    wire = None;
                }
            }
        }
        seen
    }
}

/// What a probe saw.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    /// How long each took, from connecting to the answer's end.
    pub(crate) took: Vec<Duration>,
    /// Those that were not answered 200, and how.
    pub(crate) failed: Vec<String>,
}

/// Asks for `/healthz` until that time, each time on a new connection, from the attackers' address.
pub(crate) async fn probe(server: SocketAddr, until: Instant) -> Probes {
    let mut seen = Probes::default();
    let mut ticks = pace(PROBE_EVERY);
    while Instant::now() < until {
        ticks.tick().await;
        let begun = Instant::now();
        let asked = async {
            let mut wire = Wire::open(Ipv4Addr::LOCALHOST.into(), server).await?;
            wire.ask(&get("/healthz", None)).await
        };
        match timeout(PATIENCE, asked).await {
            Ok(Ok(200)) => {}
            other => seen.failed.push(format!("{other:?}")),
        }
        seen.took.push(begun.elapsed());
    }
    seen
}
