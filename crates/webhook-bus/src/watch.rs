use std::{collections::VecDeque, sync::Arc};

use webhook_model::TopicPattern;

use crate::{
    Message,
    journal::{FEED_LAG, Follower, Shared},
    message::Entry,
};

/// Most events taken over at once.
const TAKE: usize = 64;

/// New messages that match a pattern. One that is not read fast enough skips the oldest, and says
/// so in the log.
#[derive(Debug)]
pub struct Watch {
    follower: Follower,
    pattern: TopicPattern,
    taken: VecDeque<Arc<Entry>>,
    skipped: u64,
}

impl Watch {
    pub(crate) fn new(shared: &Arc<Shared>, pattern: &TopicPattern) -> Self {
        let follower = Follower::new(shared, None);
        follower.subscribe(pattern, 1);
        Self {
            follower,
            pattern: pattern.clone(),
            taken: VecDeque::new(),
            skipped: 0,
        }
    }

    /// The next message; none once the bus is closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Message> {
        if self.taken.is_empty() {
            let fed = self.follower.next(TAKE).await?;
            if self.skipped == 0 && fed.skipped > 0 {
                tracing::warn!(
                    pattern = %self.pattern,
                    "a watch is more than {FEED_LAG} messages behind and skips the oldest"
                );
            }
            self.skipped = fed.skipped;
            self.taken.extend(fed.entries);
        }
        let entry = self.taken.pop_front()?;
        Some(Message::new(entry, false))
    }

    /// How many messages it skipped so far.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}
