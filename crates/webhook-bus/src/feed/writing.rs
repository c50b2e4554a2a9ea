//! What the broker is told: who we are, what we want, and what was published here.

use std::{io, time::Duration};

use bytes::{Buf, BytesMut};
use futures_util::FutureExt;
use tokio::{io::AsyncWriteExt, net::unix::OwnedWriteHalf, sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use webhook_model::{TopicPattern, UtcTime, topics};

use super::FeedStatus;
use crate::{
    journal::{Fed, Follower},
    message::Entry,
    socket::frame::write_frame,
};

/// Our name among the broker's clients.
const NAME: &str = "decnet-webhook";
/// After this long without reading anything, a broker is said to be stuck. It is not left.
const STUCK_AFTER: Duration = Duration::from_secs(10);
/// Most events written at once.
const FETCH: usize = 64;
/// How long a broker may take for what it is still given when we go: one that reads takes no time.
const PARTING: Duration = Duration::from_secs(1);
/// An older heartbeat says nothing true any more; the broker is not told after an outage.
const HEARTBEAT_AGE: Duration = Duration::from_secs(30);

pub(super) struct Writer<'a> {
    pub(super) stream: OwnedWriteHalf,
    pub(super) follower: &'a Follower,
    pub(super) status: &'a FeedStatus,
    pub(super) subscribed: Vec<TopicPattern>,
}

impl Writer<'_> {
    /// Says who we are and subscribes, before anything else.
    pub(super) async fn greet(&mut self, patterns: Vec<TopicPattern>) -> io::Result<()> {
        let mut output = BytesMut::new();
        write_frame("HELLO", NAME, b"", &mut output);
        self.subscribe(patterns, &mut output);
        self.stream.write_all_buf(&mut output).await
    }

    /// Until `shutdown`, or until the broker cannot be written to. What was published here before
    /// `shutdown` still reaches a broker that reads.
    pub(super) async fn run(
        &mut self,
        patterns: &mut watch::Receiver<Vec<TopicPattern>>,
        shutdown: &CancellationToken,
    ) -> io::Result<()> {
        let mut output = BytesMut::new();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Ok(()) = patterns.changed() => {
                    let wanted = patterns.borrow_and_update().clone();
                    self.subscribe(wanted, &mut output);
                }
                fed = self.follower.next(FETCH) => {
                    let Some(fed) = fed else { break };
                    self.publish_all(&fed, &mut output);
                }
            }
            tokio::select! {
                biased;
                flushed = self.flush(&mut output) => flushed?,
                () = shutdown.cancelled() => break,
            }
        }
        // Whether it hears all of it makes no difference to us.
        let _ = timeout(PARTING, self.part(&mut output)).await;
        Ok(())
    }

    /// Gives the broker what was published here until now, and takes leave.
    async fn part(&mut self, output: &mut BytesMut) -> io::Result<()> {
        while let Some(Some(fed)) = self.follower.next(FETCH).now_or_never() {
            self.publish_all(&fed, output);
            self.flush(output).await?;
        }
        write_frame("BYE", "", b"", output);
        self.flush(output).await
    }

    /// What is new is subscribed to before what is no longer wanted is dropped: a pattern that only
    /// grew has no gap. The orders' topic comes last, so that whoever hears one knows that
    /// everything before is in force.
    fn subscribe(&mut self, wanted: Vec<TopicPattern>, output: &mut BytesMut) {
        let new = wanted.iter().filter(|it| !self.subscribed.contains(it));
        let (orders, others): (Vec<_>, Vec<_>) = new.partition(|it| it.as_str() == topics::CONTROL);
        for pattern in others.into_iter().chain(orders) {
            write_frame("SUB", pattern.as_str(), b"", output);
        }
        for pattern in self.subscribed.iter().filter(|it| !wanted.contains(it)) {
            write_frame("UNSUB", pattern.as_str(), b"", output);
        }
        self.subscribed = wanted;
    }

    fn publish_all(&self, fed: &Fed, output: &mut BytesMut) {
        let skipped = self.status.skipped_so_far(fed.skipped);
        if skipped > 0 {
            tracing::warn!(
                skipped,
                "DECNET's broker is {} and is not given the oldest",
                fed.behind
            );
        }
        for entry in &fed.entries {
            self.publish(entry, output);
        }
    }

    /// Orders are never passed on: DECNET's workers obey them whoever gave them.
    fn publish(&self, entry: &Entry, output: &mut BytesMut) {
        let stale = entry.topic.as_str() == topics::HEALTH
            && UtcTime::now().since(entry.at) > HEARTBEAT_AGE;
        // What is no envelope has no place on the broker.
        let Ok(event) = entry.event() else { return };
        if stale || topics::is_order(&entry.topic) {
            return;
        }
        if write_frame(
            "PUB",
            entry.topic.as_str(),
            &event.double_envelope(),
            output,
        ) {
            self.status.count_forwarded();
        } else {
            self.status.count_too_large();
            tracing::warn!(
                seq = entry.seq,
                "an envelope is too large for DECNET's broker: not sent"
            );
        }
    }

    /// Writes everything, however long it takes; what we receive goes on meanwhile.
    async fn flush(&mut self, output: &mut BytesMut) -> io::Result<()> {
        let mut warned = false;
        while output.has_remaining() {
            match timeout(STUCK_AFTER, self.stream.write_buf(output)).await {
                Ok(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => drop(written?),
                Err(_) if !warned => {
                    warned = true;
                    tracing::warn!(
                        "DECNET's broker has read nothing for {} s; what is published here does not reach it",
                        STUCK_AFTER.as_secs()
                    );
                }
                Err(_) => {}
            }
        }
        Ok(())
    }
}
