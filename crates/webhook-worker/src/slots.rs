//! Who may have a request open. Each subscription owns one slot, always; more come from a pool
//! that all share. So however many receivers hang, a healthy one can send. Where the process may open
//! few files, their sum is bounded as well: then it is files that everybody waits for.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Counters;

/// The process-wide pool. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct SlotPool {
    pool: Arc<Semaphore>,
    sum: Arc<Semaphore>,
    counters: Arc<Counters>,
}

impl SlotPool {
    /// `counters` learns how many slots are in use; never more than `sum`.
    pub(crate) fn new(size: usize, sum: usize, counters: Arc<Counters>) -> Self {
        Self {
            pool: Arc::new(Semaphore::new(size)),
            sum: Arc::new(Semaphore::new(sum.clamp(1, Semaphore::MAX_PERMITS))),
            counters,
        }
    }

    /// One subscription's view of the pool, with its own slot.
    pub(crate) fn subscription(&self) -> Slots {
        Slots {
            own: Arc::new(Semaphore::new(1)),
            pool: self.pool.clone(),
            sum: self.sum.clone(),
            counters: self.counters.clone(),
        }
    }
}

/// One subscription's slots. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    own: Arc<Semaphore>,
    pool: Arc<Semaphore>,
    sum: Arc<Semaphore>,
    counters: Arc<Counters>,
}

/// The right to have one request open; given back on drop.
#[derive(Debug)]
pub(crate) struct Slot {
    counters: Arc<Counters>,
    #[expect(dead_code, reason = "held for their drop")]
    permits: [OwnedSemaphorePermit; 2],
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.counters.request_closed();
    }
}

impl Slots {
    /// Waits for the own slot or one of the pool, whichever is free first. Cancel-safe.
    pub(crate) async fn acquire(&self) -> Slot {
        let permit = tokio::select! {
            biased;
            permit = self.own.clone().acquire_owned() => permit,
            permit = self.pool.clone().acquire_owned() => permit,
        };
        let in_sum = self.sum.clone().acquire_owned().await;
        self.counters.request_opened();
        Slot {
            counters: self.counters.clone(),
            permits: [permit, in_sum].map(|it| it.expect("slot semaphores are never closed")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_exhausted_pool_leaves_everybody_one_slot() {
        let counters = Arc::new(Counters::default());
        let pool = SlotPool::new(2, usize::MAX, counters.clone());
        let greedy = pool.subscription();
        let held = [
            greedy.acquire().await,
            greedy.acquire().await,
            greedy.acquire().await,
        ];
        let fourth = tokio::spawn({
            let greedy = greedy.clone();
            async move { greedy.acquire().await }
        });
        let _healthy = pool.subscription().acquire().await;
        assert!(!fourth.is_finished());
        assert_eq!(counters.totals().open_requests, 4);
        drop(held);
        drop(fourth.await.unwrap());
        assert_eq!(counters.totals().open_requests, 1);
    }

    #[tokio::test]
    async fn the_sum_is_bounded_where_files_are_few() {
        let pool = SlotPool::new(9, 2, Arc::default());
        let held = [
            pool.subscription().acquire().await,
            pool.subscription().acquire().await,
        ];
        let third = pool.subscription();
        let third = tokio::spawn(async move { third.acquire().await });
        tokio::task::yield_now().await;
        assert!(!third.is_finished());
        drop(held);
        third.await.unwrap();
    }
}
