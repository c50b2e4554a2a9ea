use std::sync::Arc;

use webhook_model::TopicPattern;

use super::{hub::Fed, shared::Shared};
use crate::message::Origin;

/// A feed of new events, as long as it lives.
#[derive(Debug)]
pub(crate) struct Follower {
    shared: Arc<Shared>,
    id: u64,
}

impl Follower {
    /// To nothing yet. Something else must keep events coming into the ring, or begin to while the
    /// writer waits.
    pub(crate) fn new(shared: &Arc<Shared>, origin: Option<Origin>) -> Self {
        Self {
            id: shared.hub().add_feed(origin),
            shared: shared.clone(),
        }
    }

    /// Adds a pattern, in force when this returns; false if there are `most` already.
    pub(crate) fn subscribe(&self, pattern: &TopicPattern, most: usize) -> bool {
        self.shared.hub().subscribe(self.id, pattern, most)
    }

    pub(crate) fn unsubscribe(&self, pattern: &TopicPattern) {
        self.shared.hub().unsubscribe(self.id, pattern);
    }

    /// Waits for events, and returns at most `max`; none once the journal is closed. Cancel-safe.
    pub(crate) async fn next(&self, max: usize) -> Option<Fed> {
        loop {
            let fed = self.shared.hub().feed(self.id, max)?;
            match fed {
                Ok(fed) => return Some(fed),
                Err(wake) => wake.notified().await,
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.shared.hub().remove_feed(self.id);
    }
}
