//! What has come and is not journalled yet. It is bounded, and what does not fit is counted: were the
//! broker made to wait instead, it would drop events itself, and nobody would know how many.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use webhook_model::Topic;

use super::FeedStatus;
use crate::{
    Publication,
    socket::{complaints::Complaints, journalling::Queued},
};

/// Most events that wait for the journal: seconds of what a broker carries at its fastest.
const EVENTS: usize = 65_536;
/// The same in bytes.
const BYTES: usize = 32 << 20;
/// What an event counts beside its body.
const OVERHEAD: usize = 256;

#[derive(Debug)]
pub(super) struct Inbox {
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    status: FeedStatus,
    complaints: Arc<Complaints>,
}

impl Inbox {
    pub(super) fn new(
        status: FeedStatus,
        complaints: Arc<Complaints>,
    ) -> (Self, mpsc::Receiver<Queued>) {
        let (queue, queued) = mpsc::channel(EVENTS);
        let inbox = Self {
            queue,
            room: Arc::new(Semaphore::new(BYTES)),
            status,
            complaints,
        };
        (inbox, queued)
    }

    /// Takes an event in, or counts it as lost.
    pub(super) fn put(&self, topic: Topic, bytes: Bytes) {
        self.status.count_received();
        let cost = u32::try_from(bytes.len() + OVERHEAD).unwrap_or(u32::MAX);
        let publication = Publication {
            topic,
            bytes,
            dedup: None,
        };
        let room = self.room.clone().try_acquire_many_owned(cost).ok();
        let taken = room.is_some_and(|room| self.queue.try_send((publication, room, None)).is_ok());
        if !taken {
            let lost = self.status.count_dropped();
            self.complaints.warn(|_| {
                tracing::error!(
                    lost,
                    "events from DECNET's broker are lost: the journal does not take them; make room on its disk"
                );
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_is_counted_and_the_rest_kept() {
        let status = FeedStatus::default();
        let (inbox, mut queued) = Inbox::new(status.clone(), Arc::default());
        let topic = Topic::parse("a.b").unwrap();
        let body = Bytes::from(vec![b'x'; 1 << 20]);
        for _ in 0..40 {
            inbox.put(topic.clone(), body.clone());
        }
        assert_eq!(status.counts().received, 40);
        assert_eq!(status.counts().dropped, 9);
        let mut batch = Vec::new();
        assert_eq!(queued.recv_many(&mut batch, 100).await, 31);
        batch.clear();
        inbox.put(topic, body);
        assert_eq!(status.counts().dropped, 9, "room was given back");
    }
}
