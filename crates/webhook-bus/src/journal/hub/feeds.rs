//! The hub's part that knows feeds.

use std::sync::Arc;

use tokio::sync::Notify;
use webhook_model::TopicPattern;

use super::{Hub, Target};
use crate::{
    journal::feed::{Behind, Feed},
    message::{Entry, Origin},
};

/// Events of a feed.
#[derive(Debug)]
pub(crate) struct Fed {
    pub(crate) entries: Vec<Arc<Entry>>,
    /// In all, since it began.
    pub(crate) skipped: u64,
    /// Why, the last time.
    pub(crate) behind: Behind,
}

impl Hub {
    pub(crate) fn add_feed(&mut self, origin: Option<Origin>) -> u64 {
        self.next += 1;
        let feed = Feed::new(origin, self.ring.head());
        self.feeds.insert(self.next, feed);
        self.next
    }

    pub(crate) fn remove_feed(&mut self, id: u64) {
        if let Some(feed) = self.feeds.remove(&id) {
            for pattern in &feed.patterns {
                self.trie.remove(pattern, Target::Feed(id));
            }
        }
    }

    /// Adds a pattern to a feed; false if it has `most` already.
    pub(crate) fn subscribe(&mut self, id: u64, pattern: &TopicPattern, most: usize) -> bool {
        let Some(feed) = self.feeds.get_mut(&id) else {
            return false;
        };
        if feed.patterns.contains(pattern) {
            return true;
        }
        if feed.patterns.len() >= most {
            return false;
        }
        feed.patterns.push(pattern.clone());
        self.trie.insert(pattern, Target::Feed(id));
        true
    }

    pub(crate) fn unsubscribe(&mut self, id: u64, pattern: &TopicPattern) {
        if let Some(feed) = self.feeds.get_mut(&id)
            && let Some(index) = feed.patterns.iter().position(|it| it == pattern)
        {
            feed.patterns.swap_remove(index);
            self.trie.remove(pattern, Target::Feed(id));
        }
    }

    /// At most `max` events of a feed, and how many it skipped so far. None when closed; a waker
    /// when there are none.
    pub(crate) fn feed(&mut self, id: u64, max: usize) -> Option<Result<Fed, Arc<Notify>>> {
        let feed = self.feeds.get_mut(&id)?;
        let mut entries = Vec::new();
        while entries.len() < max
            && let Some(seq) = feed.pop()
        {
            match self.ring.get(seq) {
                Some(entry) => entries.push(entry.clone()),
                None => feed.skip(self.ring.bound()),
            }
        }
        if !entries.is_empty() {
            return Some(Ok(Fed {
                entries,
                skipped: feed.skipped(),
                behind: feed.behind(),
            }));
        }
        (!self.closed).then(|| Err(feed.wake.clone()))
    }
}
