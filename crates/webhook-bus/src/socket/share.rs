//! What large frames may take of the memory: over all clients, and for those of one user, so that the
//! programs of one leave room for others'.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::journal::lock;

/// Bytes of large frames that are being read or journalled, over all clients.
const BYTES: usize = 32 << 20;
/// The same for those of one user: sixteen frames of the largest size.
const USER_BYTES: usize = 16 << 20;
/// Frames up to this size are not counted: one from each client is 4 MiB.
pub(super) const SMALL_BYTES: usize = 64 << 10;

/// What there is for everybody.
#[derive(Debug)]
pub(super) struct Shares {
    all: Arc<Semaphore>,
    users: Mutex<HashMap<Option<u32>, Arc<Semaphore>>>,
}

/// What there is for one client.
#[derive(Debug)]
pub(super) struct Budget {
    all: Arc<Semaphore>,
    user: Arc<Semaphore>,
}

/// What one frame has of it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    _user: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(BYTES)),
            users: Mutex::default(),
        }
    }
}

impl Shares {
    /// For a client of that user.
    pub(super) fn of(&self, uid: Option<u32>) -> Budget {
        let mut users = lock(&self.users);
        // Whose last client has gone need not be remembered.
        users.retain(|_, it| Arc::strong_count(it) > 1);
        let user = users
            .entry(uid)
            .or_insert_with(|| Arc::new(Semaphore::new(USER_BYTES)));
        Budget {
            all: self.all.clone(),
            user: user.clone(),
        }
    }
}

impl Budget {
    /// Waits until a frame of that size has room.
    pub(super) async fn take(&self, bytes: usize) -> Share {
        let bytes = u32::try_from(bytes.min(USER_BYTES)).unwrap_or(u32::MAX);
        let of = async |semaphore: &Arc<Semaphore>| {
            let permit = semaphore.clone().acquire_many_owned(bytes).await;
            permit.expect("it is never closed")
        };
        // Who waits for the whole holds nothing of it that others wait for.
        let user = of(&self.user).await;
        Share {
            _user: user,
            _all: of(&self.all).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const MIB: usize = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn one_user_takes_no_more_than_its_part() {
        let shares = Shares::default();
        let (one, other) = (shares.of(Some(1)), shares.of(Some(2)));
        let mut held = Vec::new();
        for _ in 0..16 {
            held.push(one.take(MIB).await);
        }
        let second = shares.of(Some(1));
        let waiting = timeout(Duration::from_secs(1), second.take(MIB));
        assert!(waiting.await.is_err(), "another client of that user waits");
        other.take(MIB).await;
        held.pop();
        second.take(MIB).await;
    }

    #[tokio::test(start_paused = true)]
    async fn all_users_take_no_more_than_there_is() {
        let shares = Shares::default();
        let budgets: Vec<_> = (0..3).map(|uid| shares.of(Some(uid))).collect();
        let mut held = Vec::new();
        for n in 0..32 {
            held.push(budgets[n % 2].take(MIB).await);
        }
        let waiting = timeout(Duration::from_secs(1), budgets[2].take(MIB));
        assert!(waiting.await.is_err());
        held.clear();
        budgets[2].take(MIB).await;
    }
}
