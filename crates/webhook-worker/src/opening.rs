//! Whether every pair has its consumer: until then a worker is not ready, though it delivers already.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::watch;

/// Counts the pairs that have yet to open their consumers. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Opening(Arc<watch::Sender<usize>>);

impl Opening {
    /// One more pair that has yet to.
    pub(crate) fn begin(&self) -> Unopened {
        self.0.send_modify(|count| *count += 1);
        Unopened {
            opening: self.clone(),
            done: AtomicBool::new(false),
        }
    }

    /// Waits until none is left. Cancel-safe.
    pub(crate) async fn all_open(&self) {
        // It fails only when the sender is gone, which is here.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// A pair without a consumer. One that goes is waited for no longer.
#[derive(Debug)]
pub(crate) struct Unopened {
    opening: Opening,
    done: AtomicBool,
}

impl Unopened {
    /// The pair has its consumer.
    pub(crate) fn opened(&self) {
        if !self.done.swap(true, Ordering::Relaxed) {
            self.opening.0.send_modify(|count| *count -= 1);
        }
    }
}

impl Drop for Unopened {
    fn drop(&mut self) {
        self.opened();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn open_is_what_was_opened_or_went() {
        let opening = Opening::default();
        let all_open = async || timeout(Duration::ZERO, opening.all_open()).await.is_ok();
        let (first, second) = (opening.begin(), opening.begin());
        first.opened();
        first.opened();
        drop(first);
        assert!(!all_open().await);
        drop(second);
        assert!(all_open().await);
    }
}
