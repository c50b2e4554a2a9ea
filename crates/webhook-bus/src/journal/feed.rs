//! New events for somebody who keeps no place on the bus: a watch, or a connection of the socket.

use std::{collections::VecDeque, fmt, sync::Arc};

use tokio::sync::Notify;
use webhook_model::TopicPattern;

use crate::message::Origin;

/// Most events that a feed lags behind; then it skips the oldest. DECNET's own broker has the same
/// bound. Only numbers are queued: the events themselves are in the ring, or skipped as well.
pub(crate) const FEED_LAG: usize = 1_024;

/// Which bound a feed that skips has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// [`FEED_LAG`].
    Lag,
    /// What is kept in memory of the newest events.
    Memory { bytes: usize, events: usize },
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lag => write!(f, "more than {FEED_LAG} events behind"),
            Self::Memory { bytes, events } => write!(
                f,
                "further behind than the newest events that are kept in memory ({bytes} bytes, or \
                 {events} events)"
            ),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) patterns: Vec<TopicPattern>,
    /// Whose own events it does not get.
    origin: Option<Origin>,
    queue: VecDeque<u64>,
    /// The newest event that was considered, so that two matching patterns give it once.
    considered: u64,
    skipped: u64,
    /// What made it skip last.
    behind: Behind,
    pub(crate) wake: Arc<Notify>,
}

impl Feed {
    pub(crate) fn new(origin: Option<Origin>, head: u64) -> Self {
        Self {
            patterns: Vec::new(),
            origin,
            queue: VecDeque::new(),
            considered: head,
            skipped: 0,
            behind: Behind::Lag,
            wake: Arc::new(Notify::new()),
        }
    }

    pub(crate) fn offer(&mut self, seq: u64, origin: Option<Origin>) {
        if seq <= self.considered {
            return;
        }
        self.considered = seq;
        if origin.is_some() && origin == self.origin {
            return;
        }
        if self.queue.len() >= FEED_LAG {
            self.queue.pop_front();
            self.skip(Behind::Lag);
        }
        self.queue.push_back(seq);
        self.wake.notify_one();
    }

    pub(crate) fn pop(&mut self) -> Option<u64> {
        self.queue.pop_front()
    }

    pub(crate) fn skip(&mut self, behind: Behind) {
        self.skipped += 1;
        self.behind = behind;
    }

    pub(crate) fn behind(&self) -> Behind {
        self.behind
    }

    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }
}
