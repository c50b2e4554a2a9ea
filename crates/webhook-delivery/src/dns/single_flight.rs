use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};

/// Runs one future a key at a time; whoever asks meanwhile waits for the same one. No task is
/// spawned: a future whose waiters have all gone is dropped.
pub(super) struct SingleFlight<T: Clone> {
    running: Mutex<HashMap<String, WeakShared<BoxFuture<'static, T>>>>,
}

impl<T: Clone> SingleFlight<T> {
    pub(super) fn new() -> Self {
        Self {
            running: Mutex::default(),
        }
    }

    /// Joins what runs for this key, or starts it.
    pub(super) fn join<F>(
        &self,
        key: &str,
        start: impl FnOnce() -> F,
    ) -> Shared<BoxFuture<'static, T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = running.get(key).and_then(unfinished) {
            return shared;
        }
        running.retain(|_, weak| unfinished(weak).is_some());
        let shared = start().boxed().shared();
        if let Some(weak) = shared.downgrade() {
            running.insert(key.to_owned(), weak);
        }
        shared
    }
}

fn unfinished<T: Clone>(
    weak: &WeakShared<BoxFuture<'static, T>>,
) -> Option<Shared<BoxFuture<'static, T>>> {
    weak.upgrade().filter(|shared| shared.peek().is_none())
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn one_run_a_key_at_a_time() {
        let flights = SingleFlight::new();
        let gate = Arc::new(Semaphore::new(0));
        let starts = Arc::new(AtomicUsize::new(0));
        let join = |key: &str| {
            let (gate, starts) = (Arc::clone(&gate), Arc::clone(&starts));
            flights.join(key, || async move {
                let number = starts.fetch_add(1, Ordering::Relaxed);
                let _permit = gate.acquire().await;
                number
            })
        };
        let (first, again, given_up) = (join("a"), join("a"), join("a"));
        let other = join("b");
        drop(given_up);
        gate.add_permits(1);
        assert_eq!((first.await, again.await, other.await), (0, 0, 1));
        // What ended is not joined.
        assert_eq!(join("a").await, 2);
        drop(join("a"));
        assert_eq!(join("a").await, 3);
        assert_eq!(flights.running.lock().unwrap().len(), 1);
    }
}
