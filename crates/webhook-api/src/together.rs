//! Looks that are made once for all who wait for one.

use std::time::Instant;

use tokio::sync::Mutex;

/// One look at a time, whose outcome counts for everybody who asked before it began: it is never
/// older than the question, and a flood of questions is few looks.
#[derive(Debug)]
pub(crate) struct Together<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for Together<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> Together<T> {
    /// The outcome of a look that began after this was called.
    pub(crate) async fn look<F: Future<Output = T>>(&self, look: impl FnOnce() -> F) -> T {
        let asked = Instant::now();
        let mut last = self.0.lock().await;
        if let Some((begun, outcome)) = &*last
            && *begun > asked
        {
            return outcome.clone();
        }
        let begun = Instant::now();
        let outcome = look().await;
        *last = Some((begun, outcome.clone()));
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn who_waits_has_the_outcome_of_one_look_that_began_later() {
        let (together, looks) = (Together::default(), Cell::new(0));
        let look = || {
            together.look(|| async {
                looks.set(looks.get() + 1);
                let mine = looks.get();
                tokio::task::yield_now().await;
                mine
            })
        };
        let seen = join_all((0..100).map(|_| look())).await;
        assert_eq!(seen[0], 1);
        assert!(seen[1..].iter().all(|it| *it == 2), "{seen:?}");
        assert_eq!(look().await, 3, "never older than the question");
    }
}
