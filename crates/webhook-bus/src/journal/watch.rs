use std::{collections::VecDeque, sync::Arc};

use webhook_model::TopicPattern;

use super::{Follower, Shared};
use crate::{Message, message::Entry};

/// Most events taken over at once.
const TAKE: usize = 64;

/// A watch of the journal.
#[derive(Debug)]
pub(crate) struct JournalWatch {
    follower: Follower,
    pattern: TopicPattern,
    taken: VecDeque<Arc<Entry>>,
    skipped: u64,
}

impl JournalWatch {
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

    pub(crate) async fn next(&mut self) -> Option<Message> {
        if self.taken.is_empty() {
            let fed = self.follower.next(TAKE).await?;
            if self.skipped == 0 && fed.skipped > 0 {
                tracing::warn!(
                    pattern = %self.pattern,
                    "a watch is {} and skips the oldest",
                    fed.behind
                );
            }
            self.skipped = fed.skipped;
            self.taken.extend(fed.entries);
        }
        let entry = self.taken.pop_front()?;
        Some(Message::new(entry, false))
    }

    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }
}
