use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::journal::lock;

/// One warning in so much time: a client that reconnects in a loop must not fill the log.
const EVERY: Duration = Duration::from_secs(1);

/// Thins out warnings about clients.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    swallowed: u64,
}

impl Complaints {
    /// Logs by `write`, which is told how many were swallowed since the last one; or swallows it.
    pub(crate) fn warn(&self, write: impl FnOnce(u64)) {
        let mut state = lock(&self.state);
        if state.last.is_some_and(|last| last.elapsed() < EVERY) {
            state.swallowed += 1;
            return;
        }
        state.last = Some(Instant::now());
        let more = std::mem::take(&mut state.swallowed);
        drop(state);
        write(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let complaints = Complaints::default();
        let mut logged = Vec::new();
        for _ in 0..3 {
            complaints.warn(|more| logged.push(more));
        }
        lock(&complaints.state).last = None;
        complaints.warn(|more| logged.push(more));
        assert_eq!(logged, [0, 2]);
    }
}
