//! How many messages of one subscription may be in hand at once: additive increase on success,
//! halved on failure, like TCP's congestion window.
//!
//! The window bounds memory and the work a crash repeats; it knows nothing of sockets. A message
//! is in hand from the moment the bus hands it out until its outcome is committed.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// A fresh subscription's window: enough to hide a round trip, little to lose on a dead receiver.
const START: usize = 4;

/// The limit's arithmetic, apart from who waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    current: usize,
    max: usize,
}

impl Limit {
    /// A `max` of 0 lets nothing in: the subscription is another worker's.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            current: START.min(max),
            max,
        }
    }

    pub(crate) fn grown(self) -> Self {
        Self {
            current: (self.current + 1).min(self.max),
            ..self
        }
    }

    fn clamped(self, max: usize) -> Self {
        Self {
            current: self.current.clamp(max.min(1), max),
            max,
        }
    }

    pub(crate) fn halved(self) -> Self {
        Self {
            current: (self.current / 2).max(self.max.min(1)),
            ..self
        }
    }
}

#[derive(Debug)]
struct Inner {
    limit: Limit,
    in_hand: usize,
}

/// One subscription's window. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    inner: Arc<Mutex<Inner>>,
    freed: Arc<Notify>,
}

impl Window {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Inner {
                limit: Limit::new(max),
                in_hand: 0,
            })),
            freed: Arc::new(Notify::new()),
        }
    }

    /// Waits until at least one message may be taken; returns a permit for each that may be, at
    /// most `wanted`. Cancel-safe.
    pub(crate) async fn acquire(&self, wanted: usize) -> Vec<WindowPermit> {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Registered before looking, so that a permit freed in between wakes us.
            freed.as_mut().enable();
            let permits = self.try_acquire(wanted);
            if !permits.is_empty() {
                return permits;
            }
            freed.await;
        }
    }

    /// Waits until one more message may be taken. Cancel-safe.
    pub(crate) async fn room(&self) {
        drop(self.acquire(1).await);
    }

    /// Whether anything may be taken at all, now or later.
    pub(crate) fn is_wanted(&self) -> bool {
        self.lock().limit.max > 0
    }

    fn try_acquire(&self, wanted: usize) -> Vec<WindowPermit> {
        self.take(|free| free.min(wanted))
    }

    /// At most half of what is free, rounded up, without waiting: what is sent again leaves room
    /// for what arrives.
    pub(crate) fn try_acquire_half(&self, wanted: usize) -> Vec<WindowPermit> {
        self.take(|free| free.div_ceil(2).min(wanted))
    }

    fn take(&self, share: impl Fn(usize) -> usize) -> Vec<WindowPermit> {
        let mut inner = self.lock();
        let taken = share(inner.limit.current.saturating_sub(inner.in_hand));
        inner.in_hand += taken;
        (0..taken).map(|_| WindowPermit(self.clone())).collect()
    }

    /// How many permits are out.
    pub(crate) fn in_hand(&self) -> usize {
        self.lock().in_hand
    }

    /// Begins anew at one: a receiver that just recovered is not flooded.
    pub(crate) fn restart(&self) {
        let mut inner = self.lock();
        inner.limit.current = inner.limit.max.min(1);
    }

    /// Takes a new upper bound from a changed subscription.
    pub(crate) fn set_max(&self, max: usize) {
        let mut inner = self.lock();
        inner.limit = inner.limit.clamped(max);
        drop(inner);
        self.freed.notify_waiters();
    }

    /// Notes a success or a failure of the endpoint.
    pub(crate) fn report(&self, success: bool) {
        let mut inner = self.lock();
        inner.limit = if success {
            inner.limit.grown()
        } else {
            inner.limit.halved()
        };
        drop(inner);
        if success {
            self.freed.notify_waiters();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Nothing panics while it is held; a poisoned window is still a valid one.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to hold one message of the subscription.
#[derive(Debug)]
pub(crate) struct WindowPermit(Window);

impl Drop for WindowPermit {
    fn drop(&mut self) {
        self.0.lock().in_hand -= 1;
        self.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_limit_stays_within_its_bounds(
            max in 0..200_usize,
            outcomes in proptest::collection::vec(any::<bool>(), 0..300),
        ) {
            let mut limit = Limit::new(max);
            for success in outcomes {
                let before = limit.current;
                limit = if success { limit.grown() } else { limit.halved() };
                prop_assert!((max.min(1)..=max).contains(&limit.current));
                let direction = if success { limit.current >= before } else { limit.current <= before };
                prop_assert!(direction);
            }
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Acquire(usize),
        AcquireHalf(usize),
        /// So many permits come back.
        Free(usize),
        Report(bool),
        SetMax(usize),
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..20_usize).prop_map(Step::Acquire),
            2 => (0..20_usize).prop_map(Step::AcquireHalf),
            3 => (0..20_usize).prop_map(Step::Free),
            3 => any::<bool>().prop_map(Step::Report),
            1 => (0..20_usize).prop_map(Step::SetMax),
            1 => Just(Step::Restart),
        ]
    }

    proptest! {
        /// No permit is given beyond the limit of the moment, none that is free is withheld, and
        /// once everything has come back there is room again.
        #[test]
        fn permits_never_exceed_the_limit(
            max in 0..20_usize,
            steps in proptest::collection::vec(step(), 0..80),
        ) {
            let window = Window::new(max);
            let mut out = Vec::new();
            for step in steps {
                let limit = window.lock().limit.current;
                let free = limit.saturating_sub(out.len());
                match step {
                    Step::Acquire(wanted) => {
                        let permits = window.try_acquire(wanted);
                        prop_assert_eq!(permits.len(), free.min(wanted));
                        out.extend(permits);
                    }
                    Step::AcquireHalf(wanted) => {
                        let permits = window.try_acquire_half(wanted);
                        prop_assert_eq!(permits.len(), free.div_ceil(2).min(wanted));
                        out.extend(permits);
                    }
                    Step::Free(count) => out.truncate(out.len().saturating_sub(count)),
                    Step::Report(success) => window.report(success),
                    Step::SetMax(max) => window.set_max(max),
                    Step::Restart => window.restart(),
                }
                prop_assert_eq!(window.in_hand(), out.len());
            }
            out.clear();
            let room = !window.try_acquire(1).is_empty();
            prop_assert_eq!(room, window.is_wanted());
        }
    }

    #[tokio::test]
    async fn a_full_window_waits_for_a_permit() {
        let window = Window::new(2);
        let mut permits = window.acquire(10).await;
        assert_eq!(permits.len(), 2);
        let waiting = tokio::spawn({
            let window = window.clone();
            async move { window.acquire(1).await.len() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        permits.pop();
        assert_eq!(waiting.await.unwrap(), 1);
        drop(permits);
        assert_eq!(window.acquire(10).await.len(), 2);
    }

    #[tokio::test]
    async fn nothing_enters_a_window_of_another_worker_until_it_is_ours() {
        let window = Window::new(0);
        window.report(true);
        window.restart();
        assert!(!window.is_wanted());
        assert!(window.try_acquire(1).is_empty());
        window.set_max(8);
        window.room().await;
        assert_eq!(window.acquire(8).await.len(), 1);
    }

    #[tokio::test]
    async fn failures_narrow_and_successes_widen() {
        let window = Window::new(8);
        for _ in 0..10 {
            window.report(true);
        }
        assert_eq!(window.acquire(100).await.len(), 8);
        window.report(false);
        assert_eq!(window.acquire(100).await.len(), 4);
    }
}
