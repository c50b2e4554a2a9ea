//! A consumer's tasks at the hub: wait, take, give back, acknowledge.

use std::{collections::HashMap, sync::Arc};

use super::{Search, Shared, Step, queries};
use crate::{BusError, Message, Ready, message::Entry};

/// An open consumer of the journal.
#[derive(Debug)]
pub(crate) struct JournalConsumer {
    shared: Arc<Shared>,
    id: i64,
    name: String,
    resumed_at: u64,
}

/// Acknowledges in the journal's hub.
#[derive(Debug, Clone)]
pub(crate) struct JournalAcker {
    shared: Arc<Shared>,
    id: i64,
}

impl JournalConsumer {
    pub(crate) fn new(shared: Arc<Shared>, id: i64, name: String, resumed_at: u64) -> Self {
        Self {
            shared,
            id,
            name,
            resumed_at,
        }
    }

    pub(crate) async fn ready(&mut self, end: Option<u64>) -> Result<Ready, BusError> {
        loop {
            let step = self.shared.hub().step(self.id, &self.name, end)?;
            match step {
                Step::Ready(ready) => return Ok(ready),
                Step::Wait(wake) => wake.notified().await,
                Step::Search(search) => self.search(search).await?,
                Step::Again => tokio::task::consume_budget().await,
            }
        }
    }

    pub(crate) async fn take(&mut self, max: usize) -> Result<Vec<Message>, BusError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        // One look behind the ring at most: another take goes on from there.
        let step = self.shared.hub().step(self.id, &self.name, None)?;
        if let Step::Search(search) = step {
            self.search(search).await?;
        }
        let next = self.shared.hub().peek(self.id, max);
        let absent: Vec<u64> = next
            .iter()
            .filter(|it| it.1.is_none())
            .map(|it| it.0)
            .collect();
        let mut fetched = if absent.is_empty() {
            HashMap::new()
        } else {
            self.fetch(absent).await?
        };
        // Nothing is handed out before this point, and nothing is awaited after it.
        let mut hub = self.shared.hub();
        let mut taken = Vec::with_capacity(next.len());
        for (seq, entry) in next {
            let entry = match entry {
                Some(entry) => Some(entry),
                None => match fetched.remove(&seq) {
                    Some(found) => found,
                    // More than is read at once: the next take gets it.
                    None => break,
                },
            };
            match entry {
                Some(entry) => {
                    if let Some(again) = hub.hand_out(self.id, seq) {
                        taken.push(Message::new(entry, again));
                    }
                }
                // Retention took it, and said so.
                None => hub.ack(self.id, seq),
            }
        }
        Ok(taken)
    }

    pub(crate) fn release(&self, seq: u64) {
        self.shared.hub().release(self.id, seq);
    }

    pub(crate) fn acker(&self) -> JournalAcker {
        JournalAcker {
            shared: self.shared.clone(),
            id: self.id,
        }
    }

    pub(crate) fn resumed_at(&self) -> u64 {
        self.resumed_at
    }

    /// Looks on the disk for what matches. What is found counts even if nobody waits for it any
    /// more, so that a search that is cancelled again and again comes to its end all the same.
    async fn search(&self, search: Search) -> Result<(), BusError> {
        let (shared, id) = (self.shared.clone(), self.id);
        // Whatever happens to the query, the consumer does not wait for it for ever.
        let mut pending = Searching {
            shared: shared.clone(),
            id,
            search,
            found: None,
        };
        shared
            .read(move |connection| {
                let found = queries::search(connection, &pending.search)?;
                pending.found = Some(found);
                drop(pending);
                Ok(())
            })
            .await
    }

    /// Reads events behind the ring; none for those that are gone.
    async fn fetch(&self, seqs: Vec<u64>) -> Result<HashMap<u64, Option<Arc<Entry>>>, BusError> {
        let found = self
            .shared
            .read(move |connection| queries::fetch(connection, &seqs))
            .await?;
        let entry = |stored: queries::Stored| stored.entry(&self.shared);
        Ok(found
            .into_iter()
            .map(|(seq, stored)| (seq, stored.map(entry)))
            .collect())
    }
}

impl Drop for JournalConsumer {
    fn drop(&mut self) {
        self.shared.hub().shut(self.id);
    }
}

/// A search of the disk; its end is told to the consumer even if it fails or is never begun.
struct Searching {
    shared: Arc<Shared>,
    id: i64,
    search: Search,
    found: Option<(Vec<u64>, u64)>,
}

impl Drop for Searching {
    fn drop(&mut self) {
        let found = self.found.take();
        self.shared.hub().searched(self.id, &self.search, found);
    }
}

impl JournalAcker {
    pub(crate) fn ack(&self, seq: u64) {
        self.shared.hub().ack(self.id, seq);
    }
}
