//! The memory that request bodies may take, paid for as they arrive.
//!
//! Many bodies that each have a part and wait for the rest would wait for each other. So there is a
//! reserve, enough for the largest body, which one of them has at a time: that one can always be
//! read to its end, and gives back what the others wait for.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Longest wait for room; afterwards the client had better come back.
const PATIENCE: Duration = Duration::from_secs(10);

/// What of each body costs nothing, as a connection's other buffers do not: whoever has little to say
/// does not wait for those who have much.
const FREE_BYTES: usize = 16 << 10;

/// Room for bodies, in KiB. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    common: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
}

/// What one body has of a budget.
#[derive(Debug, Default)]
pub(crate) struct Share {
    paid: Option<OwnedSemaphorePermit>,
    kib: usize,
    reserve: Option<OwnedSemaphorePermit>,
}

/// There was no room for too long.
#[derive(Debug)]
pub(crate) struct NoRoom;

impl Budget {
    /// Room for that many KiB, beside the reserve for one body of the largest size.
    pub(crate) fn new(kib: usize) -> Self {
        Self {
            common: Arc::new(Semaphore::new(kib)),
            reserve: Arc::new(Semaphore::new(1)),
        }
    }

    /// Makes a share large enough for a body of `bytes` so far.
    pub(crate) async fn grow(&self, share: &mut Share, bytes: usize) -> Result<(), NoRoom> {
        let kib = bytes.saturating_sub(FREE_BYTES).div_ceil(1024);
        if kib <= share.kib || share.reserve.is_some() {
            return Ok(());
        }
        let more = u32::try_from(kib - share.kib).expect("a body has a few MiB");
        let more = tokio::select! {
            biased;
            paid = timeout(PATIENCE, self.common.clone().acquire_many_owned(more)) => {
                paid.map_err(|_| NoRoom)?.expect("the semaphore is never closed")
            }
            reserve = self.reserve.clone().acquire_owned() => {
                share.reserve = Some(reserve.expect("the semaphore is never closed"));
                return Ok(());
            }
        };
        match &mut share.paid {
            Some(paid) => paid.merge(more),
            None => share.paid = Some(more),
        }
        share.kib = kib;
        Ok(())
    }
}

impl Share {
    /// Whether the body has a reserve, and so waits for no other.
    pub(crate) fn is_reserved(&self) -> bool {
        self.reserve.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bodies_that_wait_for_each_other_are_read_all_the_same() {
        let budget = Budget::new(8);
        async fn grow(budget: &Budget, share: &mut Share, bytes: usize) -> Result<(), NoRoom> {
            budget.grow(share, FREE_BYTES + bytes).await
        }
        let (mut one, mut other, mut third) =
            (Share::default(), Share::default(), Share::default());
        grow(&budget, &mut one, 4 << 10).await.unwrap();
        grow(&budget, &mut other, 4 << 10).await.unwrap();
        grow(&budget, &mut one, 8 << 10).await.unwrap();
        assert!(one.is_reserved());
        assert!(
            grow(&budget, &mut third, 1).await.is_err(),
            "nobody is done"
        );
        let (done, ()) = tokio::join!(grow(&budget, &mut other, 8 << 10), async {
            grow(&budget, &mut one, 16 << 10).await.unwrap();
            drop(one);
        });
        done.unwrap();
        drop(other);
        grow(&budget, &mut third, 8 << 10).await.unwrap();
        assert!(!third.is_reserved());
    }
}
