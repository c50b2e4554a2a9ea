//! What was tried while a subscription is tripped, and is left waiting: another event goes first the
//! next time, or one that its receiver never answers would be all that is ever tried.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// Most messages, and most rows, that are remembered; then all may be tried anew. It is also how many
/// are looked at to find one that was not tried.
const MOST: usize = 64;

/// One subscription's probing.
#[derive(Debug, Default)]
pub(crate) struct Probing(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    epoch: i64,
    messages: BTreeSet<u64>,
    rows: BTreeSet<i64>,
}

impl Probing {
    /// A turn begins, of a tripped subscription at this epoch.
    pub(crate) fn begin(&self, epoch: i64) {
        self.with(|inner| {
            if inner.epoch != epoch {
                *inner = Inner {
                    epoch,
                    ..Inner::default()
                };
            }
        });
    }

    /// The epoch that whoever takes the offer reports at.
    pub(crate) fn epoch(&self) -> i64 {
        self.with(|inner| inner.epoch)
    }

    /// This message was tried, and waits.
    pub(crate) fn tried_message(&self, seq: u64) {
        self.with(|inner| remember(&mut inner.messages, seq));
    }

    /// This row was tried, and waits.
    pub(crate) fn tried_row(&self, id: i64) {
        self.with(|inner| remember(&mut inner.rows, id));
    }

    /// How many messages to look at for one that was not tried.
    pub(crate) fn look(&self) -> usize {
        self.with(|inner| (inner.messages.len() + 1).min(MOST))
    }

    /// The place of the first message that was not tried. With none, all may be tried anew.
    pub(crate) fn untried(&self, seqs: impl IntoIterator<Item = u64>) -> Option<usize> {
        self.with(|inner| {
            let place = seqs
                .into_iter()
                .position(|seq| !inner.messages.contains(&seq));
            if place.is_none() {
                inner.messages.clear();
            }
            place
        })
    }

    /// The rows that were tried.
    pub(crate) fn tried_rows(&self) -> Vec<i64> {
        self.with(|inner| inner.rows.iter().copied().collect())
    }

    /// There is no row that was not tried: all may be tried anew. Whether any was.
    pub(crate) fn forget_rows(&self) -> bool {
        self.with(|inner| !std::mem::take(&mut inner.rows).is_empty())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn remember<T: Ord>(tried: &mut BTreeSet<T>, one: T) {
    if tried.len() >= MOST {
        tried.clear();
    }
    tried.insert(one);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_tried_before_any_is_tried_again() {
        let probing = Probing::default();
        probing.begin(3);
        let waiting = [7, 8, 9];
        for place in 0..3 {
            assert_eq!(probing.look(), place + 1);
            assert_eq!(probing.untried(waiting), Some(place));
            probing.tried_message(waiting[place]);
            probing.begin(3);
        }
        assert_eq!(probing.untried(waiting), None);
        assert_eq!(probing.untried(waiting), Some(0));
        probing.tried_row(1);
        assert_eq!(probing.tried_rows(), [1]);
        assert!(probing.forget_rows() && !probing.forget_rows());
        probing.tried_message(7);
        probing.begin(4);
        assert_eq!((probing.look(), probing.epoch()), (1, 4));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let probing = Probing::default();
        for seq in 0..1_000 {
            probing.tried_message(seq);
            assert!(probing.look() <= MOST);
        }
    }
}
