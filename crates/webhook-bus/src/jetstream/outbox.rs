//! What is said to the server without waiting for an answer: acknowledgements, messages given back.
//! In order, kept through an outage, bounded by what is in hand.

use std::collections::HashMap;

use async_nats::{Client, Subject};
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{api, link::Link};
use crate::BusError;

/// A word on a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It is done.
    Ack,
    /// Hand it out again.
    Nak,
    /// It is being worked on.
    Progress,
}

impl Word {
    fn bytes(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Ack => b"+ACK",
            Self::Nak => b"-NAK",
            Self::Progress => b"+WPI",
        })
    }
}

#[derive(Debug)]
enum Item {
    Say(Subject, Word),
    Flush(oneshot::Sender<Vec<Subject>>),
}

/// Takes words without waiting.
#[derive(Debug)]
pub(super) struct Outbox {
    items: mpsc::UnboundedSender<Item>,
}

impl Outbox {
    /// With the task that sends them until `closed`.
    pub(super) fn new(
        client: Client,
        up: tokio::sync::watch::Receiver<bool>,
        closed: CancellationToken,
    ) -> (Self, impl Future<Output = ()>) {
        // What waits in it concerns messages in hand, and those are bounded.
        let (items, queue) = mpsc::unbounded_channel();
        (Self { items }, send(client, up, queue, closed))
    }

    /// Sends it when the connection is there.
    pub(super) fn say(&self, reply: Subject, word: Word) {
        // After the end nothing needs saying: the server hands the message out again.
        let _ = self.items.send(Item::Say(reply, word));
    }

    /// Returns once the server counts everything said so far.
    pub(super) async fn flush(&self, link: &Link) -> Result<(), BusError> {
        const DOING: &str = "acknowledging";
        let (done, sent) = oneshot::channel();
        let asked = self.items.send(Item::Flush(done));
        asked.map_err(|_| BusError::Closed)?;
        let last = match tokio::time::timeout(link.wait, sent).await {
            Ok(Ok(last)) => last,
            Ok(Err(_)) => return Err(BusError::Closed),
            Err(_) if link.is_up() => return Err(link.silent(DOING)),
            Err(_) => return Err(link.away()),
        };
        // A consumer counts its acknowledgements in order: an answer to the last, said once more,
        // means that it has counted all.
        let again = |reply: Subject| {
            let subject = reply.as_str().to_owned();
            api::request(link, DOING, subject, Word::Ack.bytes(), None)
        };
        let answers = join_all(last.into_iter().map(again)).await;
        answers.into_iter().try_for_each(|it| it.map(drop))
    }
}

/// A question to the server, for the sake of its answer.
pub(super) async fn round_trip(link: &Link, doing: &'static str) -> Result<(), BusError> {
    let subject = "$JS.API.INFO".to_owned();
    api::request(link, doing, subject, Bytes::new(), None)
        .await
        .map(drop)
}

async fn send(
    client: Client,
    mut up: tokio::sync::watch::Receiver<bool>,
    mut queue: mpsc::UnboundedReceiver<Item>,
    closed: CancellationToken,
) {
    // The last acknowledgement of each consumer that nobody has asked about yet.
    let mut last: HashMap<String, Subject> = HashMap::new();
    loop {
        let item = tokio::select! {
            biased;
            item = queue.recv() => item,
            () = closed.cancelled() => None,
        };
        let Some(item) = item else { return };
        let connected = tokio::select! {
            biased;
            up = up.wait_for(|up| *up) => up.is_ok(),
            () = closed.cancelled() => false,
        };
        if !connected {
            return;
        }
        match item {
            Item::Say(reply, word) => {
                if word == Word::Ack {
                    last.insert(consumer(&reply).to_owned(), reply.clone());
                }
                // Only a closed client refuses.
                let _ = client.publish(reply, word.bytes()).await;
            }
            Item::Flush(done) => {
                let last = std::mem::take(&mut last);
                let _ = done.send(last.into_values().collect());
            }
        }
    }
}

/// What of an acknowledgement's subject is the same for all of a consumer: all but its last five
/// tokens, or the longer form's with them.
fn consumer(reply: &str) -> &str {
    reply.rsplitn(6, '.').last().unwrap_or_default()
}
