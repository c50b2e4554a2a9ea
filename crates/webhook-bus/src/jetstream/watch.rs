use std::sync::Arc;

use async_nats::Subscriber;
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;
use webhook_model::{Topic, TopicPattern, UtcTime};

use super::{core::Core, outbox::round_trip};
use crate::{BusError, Message, message::Entry};

/// A core subscription: what is published from now on, while the connection is there.
#[derive(Debug)]
pub(crate) struct CoreWatch {
    messages: Subscriber,
    incarnation: Arc<str>,
    closed: CancellationToken,
}

impl CoreWatch {
    pub(super) async fn open(core: &Core, pattern: &TopicPattern) -> Result<Self, BusError> {
        core.known().await?;
        let subscribed = core
            .link
            .client
            .subscribe(pattern.as_str().to_owned())
            .await;
        let messages = subscribed.map_err(|_| core.link.away())?;
        // Sending it is not enough: only an answer shows that the server has read it.
        round_trip(&core.link, "subscribing").await?;
        Ok(Self {
            messages,
            incarnation: core.incarnation().unwrap_or_default().into(),
            closed: core.closed.clone(),
        })
    }

    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            let message = tokio::select! {
                biased;
                () = self.closed.cancelled() => return None,
                message = self.messages.next() => message?,
            };
            let Ok(topic) = Topic::parse(&message.subject) else {
                continue;
            };
            let incarnation = self.incarnation.clone();
            let at = UtcTime::now();
            let entry = Entry::new(0, topic, message.payload, at, None, incarnation);
            return Some(Message::new(Arc::new(entry), false));
        }
    }
}
