use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

/// Ids that are remembered: about 100 MB, and far more than a crash can bring back.
const MAX_IDS: usize = 1_000_000;

/// The ids of the events that were accepted, the newest [`MAX_IDS`] of them.
#[derive(Debug, Default)]
pub(super) struct Seen {
    ids: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl Seen {
    /// Remembers an id; says whether it is new.
    pub(super) fn insert(&mut self, id: &str) -> bool {
        if self.contains(id) {
            return false;
        }
        if self.order.len() == MAX_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        let id: Arc<str> = id.into();
        self.order.push_back(id.clone());
        self.ids.insert(id)
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.ids.contains(id)
    }
}
