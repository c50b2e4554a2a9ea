//! How much of what is on the bus one token has put there: an estimate that costs a few numbers a
//! token. What it published counts until the bus has let go of events that old; what lies between its
//! first event and its last is taken to be evenly spread. A restart forgets it.

use std::{
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use webhook_bus::Crowded;

use crate::problem::Problem;

/// When to ask again: the journal looks for what it can let go of every half minute.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// The percentage from which on there is no bound.
const ALL: u32 = 100;

#[derive(Debug)]
pub(super) struct Share {
    percent: NonZeroU32,
    account: Mutex<Account>,
}

/// Bytes of events from `from` to `to`.
#[derive(Debug, Default)]
struct Account {
    bytes: u64,
    from: u64,
    to: u64,
}

impl Share {
    pub(super) fn new(percent: NonZeroU32) -> Self {
        Self {
            percent,
            account: Mutex::default(),
        }
    }

    pub(super) fn check(&self, crowded: Crowded) -> Result<(), Problem> {
        if self.percent.get() >= ALL {
            return Ok(());
        }
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        let held = account.held(crowded.oldest);
        let most = part(crowded.max_bytes, self.percent.get().into(), ALL.into());
        if held <= most {
            return Ok(());
        }
        Err(Problem::OverShare {
            percent: self.percent.get(),
            held,
            max_bytes: crowded.max_bytes,
            after: ASK_AGAIN,
        })
    }

    pub(super) fn add(&self, seqs: &[u64], bytes: usize) {
        let (Some(&first), Some(&last)) = (seqs.iter().min(), seqs.iter().max()) else {
            return;
        };
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        if account.bytes == 0 {
            account.from = first;
        }
        // One that the bus had already is no news of it.
        if last > account.to {
            account.to = last;
            account.bytes = account.bytes.saturating_add(bytes as u64);
        }
    }
}

impl Account {
    /// What is left of it where nothing older than `oldest` is.
    fn held(&mut self, oldest: u64) -> u64 {
        if oldest > self.from {
            let span = (self.to + 1).saturating_sub(self.from);
            let gone = (oldest - self.from).min(span);
            self.bytes -= part(self.bytes, gone, span.max(1));
            self.from = oldest;
        }
        self.bytes
    }
}

/// `of` times a fraction.
fn part(of: u64, numerator: u64, denominator: u64) -> u64 {
    let part = u128::from(of) * u128::from(numerator) / u128::from(denominator);
    u64::try_from(part).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(percent: u32) -> Share {
        Share::new(NonZeroU32::new(percent).unwrap())
    }

    fn crowded(oldest: u64) -> Crowded {
        Crowded {
            max_bytes: 1_000,
            oldest,
        }
    }

    #[test]
    fn more_than_the_share_waits_until_enough_of_it_is_gone() {
        let share = share(50);
        assert!(share.check(crowded(1)).is_ok());
        share.add(&[11, 12, 13, 14], 400);
        assert!(share.check(crowded(5)).is_ok());
        share.add(&[19, 20], 200);
        let refused = share.check(crowded(11)).unwrap_err();
        assert!(
            matches!(
                refused,
                Problem::OverShare {
                    percent: 50,
                    held: 600,
                    max_bytes: 1_000,
                    ..
                }
            ),
            "{refused:?}"
        );
        // A tenth is gone, then everything.
        assert!(share.check(crowded(12)).is_err());
        assert!(share.check(crowded(13)).is_ok());
        assert!(share.check(crowded(50)).is_ok());
        share.add(&[20], 900);
        assert!(share.check(crowded(50)).is_ok(), "published before");
        share.add(&[60], 900);
        assert!(share.check(crowded(55)).is_err());
        assert!(share.check(crowded(61)).is_ok());
    }

    #[test]
    fn the_whole_bus_is_no_bound() {
        let share = share(ALL);
        share.add(&[1], 1_000_000);
        assert!(share.check(crowded(1)).is_ok());
    }
}
