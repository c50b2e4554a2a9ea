//! Counts creates per client over an exact sliding minute.
//!
//! Token buckets (governor) let almost twice the quota through in the first minute; the contract
//! says 20, and holding 20 instants a client is cheap.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Creates a client may make within [`WINDOW`] (contract §2).
const CREATES: usize = 20;
const WINDOW: Duration = Duration::from_secs(60);
/// Clients that are remembered. Only admins get this far; beyond this many within one minute the
/// newcomers wait.
const MAX_CLIENTS: usize = 10_000;

/// The creates of the last minute.
#[derive(Default)]
pub(crate) struct CreateLimit {
    clients: Mutex<HashMap<String, VecDeque<Instant>>>,
}

impl CreateLimit {
    /// Counts one create at `now`, or says how long the client has to wait.
    pub(crate) fn admit(&self, client: &str, now: Instant) -> Result<(), Duration> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if !clients.contains_key(client) && clients.len() >= MAX_CLIENTS {
            clients.retain(|_, seen| seen.back().is_some_and(|&last| now < last + WINDOW));
            if clients.len() >= MAX_CLIENTS {
                return Err(WINDOW);
            }
        }
        let seen = clients.entry(client.to_owned()).or_default();
        while seen.front().is_some_and(|&first| now >= first + WINDOW) {
            seen.pop_front();
        }
        match seen.front() {
            Some(&first) if seen.len() >= CREATES => Err(first + WINDOW - now),
            _ => {
                seen.push_back(now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_quota_in_any_minute() {
        let limit = CreateLimit::default();
        let start = Instant::now();
        for n in 0..20 {
            assert_eq!(limit.admit("a", start + Duration::from_secs(n)), Ok(()));
        }
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(limit.admit("a", at(20)), Err(Duration::from_secs(40)));
        assert_eq!(limit.admit("b", at(20)), Ok(()));
        assert_eq!(limit.admit("a", at(60)), Ok(()));
        assert_eq!(limit.admit("a", at(60)), Err(Duration::from_secs(1)));
    }

    #[test]
    fn memory_is_bounded() {
        let limit = CreateLimit::default();
        let start = Instant::now();
        for n in 0..MAX_CLIENTS {
            assert!(limit.admit(&n.to_string(), start).is_ok());
        }
        assert_eq!(limit.admit("late", start), Err(WINDOW));
        assert_eq!(limit.admit("0", start), Ok(()));
        assert_eq!(limit.admit("late", start + WINDOW), Ok(()));
        assert_eq!(limit.clients.lock().unwrap().len(), 1);
    }
}
