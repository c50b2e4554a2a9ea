//! The bus on NATS JetStream: one stream, one durable pull consumer for each of ours.
//!
//! async-nats keeps the connection; JetStream itself is spoken as the JSON requests that it is, so
//! that every wait has its own bound, every pull asks for exactly what there is room for, and what a
//! stream's configuration holds besides stays as its operator left it. Nothing but this module
//! knows NATS.

mod api;
mod config;
mod consumer;
mod core;
mod gaps;
mod held;
mod link;
mod outbox;
mod place;
mod publish;
mod pull;
mod read;
mod reconnect;
mod stream;
mod watch;

use std::{sync::Arc, time::Duration};

use webhook_model::{Filter, TopicPattern, UtcTime};

use crate::{BusError, BusStatus, Consumer, ConsumerSpec, Message, Position, Publication, Watch};
use core::Core;

pub use config::{Hidden, JetStreamConfig, NatsLogin};
pub(crate) use consumer::{PullAcker, PullConsumer};
pub(crate) use watch::CoreWatch;

/// Longest wait for what an operator only wants to look at.
const STATUS_WAIT: Duration = Duration::from_secs(2);

/// A durable bus on a NATS server or cluster. Clones share the connection.
#[derive(Debug, Clone)]
pub struct JetStream {
    core: Arc<Core>,
}

impl JetStream {
    /// Connects, and makes or checks the stream. Where no server can be reached it returns all the
    /// same, and goes on trying: until then everything asked of it fails with an error that
    /// [`BusError::is_connection`]. What no waiting mends is an error at once: wrong credentials or
    /// certificates, a server without JetStream, a stream that does not fit.
    pub async fn open(config: JetStreamConfig) -> Result<Self, BusError> {
        let core = Core::open(config).await?;
        Ok(Self { core })
    }

    pub(crate) async fn publish(&self, batch: Vec<Publication>) -> Result<Vec<u64>, BusError> {
        publish::publish(&self.core, batch).await
    }

    pub(crate) async fn position(&self) -> Result<Position, BusError> {
        let info = self.core.stream().await?;
        Ok(Position {
            next_seq: info.last_seq + 1,
            incarnation: info.incarnation,
        })
    }

    pub(crate) async fn consume(&self, spec: ConsumerSpec) -> Result<Consumer, BusError> {
        PullConsumer::open(&self.core, spec)
            .await
            .map(Consumer::from)
    }

    pub(crate) async fn end(&self, name: &str) -> Result<(), BusError> {
        self.core.delete_consumer(name).await
    }

    pub(crate) async fn pending(&self, name: &str) -> Result<u64, BusError> {
        self.core.outbox.flush(&self.core.link).await?;
        let info = self.core.consumer(name).await?;
        let info = info.ok_or_else(|| BusError::NoConsumer(name.to_owned()))?;
        Ok(info.pending())
    }

    pub(crate) async fn watch(&self, pattern: &TopicPattern) -> Result<Watch, BusError> {
        CoreWatch::open(&self.core, pattern).await.map(Watch::from)
    }

    pub(crate) async fn recent(
        &self,
        pattern: &TopicPattern,
        since: UtcTime,
    ) -> Result<Vec<Message>, BusError> {
        read::recent(&self.core, pattern, since).await
    }

    pub(crate) async fn newest(&self, filter: &Filter) -> Result<Option<Message>, BusError> {
        read::newest(&self.core, &filter.cover).await
    }

    pub(crate) async fn fetch(&self, seqs: &[u64]) -> Result<(Vec<Message>, usize), BusError> {
        read::fetch(&self.core, seqs).await
    }

    pub(crate) fn carries(&self, pattern: &TopicPattern) -> bool {
        self.core.subjects().iter().any(|it| it.overlaps(pattern))
    }

    pub(crate) fn subjects(&self) -> Vec<TopicPattern> {
        self.core.subjects().to_vec()
    }

    pub(crate) async fn status(&self) -> BusStatus {
        let looked = tokio::time::timeout(STATUS_WAIT, self.core.stream()).await;
        let (info, refusing) = match looked {
            Ok(Ok(info)) => (Some(info), None),
            Ok(Err(error)) => (None, Some(error.to_string())),
            Err(_) => (None, Some(self.core.link.away().to_string())),
        };
        let known = || self.core.incarnation().unwrap_or_default();
        BusStatus {
            kind: "jetstream",
            head: info.as_ref().map_or(0, |it| it.last_seq),
            bytes: info.as_ref().map_or(0, |it| it.bytes),
            incarnation: info.map_or_else(known, |it| it.incarnation),
            free_bytes: None,
            lag: None,
            refusing,
        }
    }

    pub(crate) async fn flush(&self) -> Result<(), BusError> {
        self.core.outbox.flush(&self.core.link).await
    }

    pub(crate) async fn close(self) -> Result<(), BusError> {
        self.core.close().await
    }
}
