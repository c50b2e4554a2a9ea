//! The files that the process may open, and who gets how many of them.
//!
//! Every connection is one. Where they run out nothing can be accepted, sent or written, so each part
//! has a share that it cannot exceed: a quarter for the API's connections, a quarter for connections
//! to receivers that are kept for the next delivery, a quarter for deliveries under way, and the rest
//! for database, bus, journal and log.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use webhook_api::ConnectionLimits;

/// Below this a share is too small to work with, whatever the limit says.
const LEAST_SHARE: usize = 16;
/// Connections of the API beyond which more are of no use: it answers within milliseconds, and who
/// waits between two requests gives way.
const MAX_API_CONNECTIONS: usize = 512;
/// Connections to receivers beyond which keeping more is of no use.
const MAX_KEPT_CONNECTIONS: usize = 512;
/// Connections for probes alone, beyond the API's others.
const PROBES: usize = 32;

/// How many files the process may open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptors(usize);

impl Descriptors {
    /// Raises the soft limit to the hard one: the soft one is 1,024 for the sake of programs that use
    /// `select`. Where that fails, the soft one counts.
    pub(crate) fn raise() -> Self {
        let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
            return Self::usual();
        };
        let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => hard,
            Err(_) => soft,
        };
        Self(usize::try_from(limit).unwrap_or(usize::MAX))
    }

    /// What Linux gives to a process that asks for nothing.
    pub(crate) fn usual() -> Self {
        Self(1_024)
    }

    fn quarter(self) -> usize {
        (self.0 / 4).max(LEAST_SHARE)
    }

    /// The API's share; one address has at most three quarters of it.
    pub(crate) fn api(self) -> ConnectionLimits {
        let total = self.quarter().min(MAX_API_CONNECTIONS);
        ConnectionLimits {
            total,
            per_address: total / 4 * 3,
            probes: PROBES.min(total / 4),
        }
    }

    /// Requests to receivers that may be under way at once. Many files are no reason for a bound.
    pub(crate) fn open_requests(self) -> usize {
        self.quarter()
    }

    /// Connections to receivers that may be kept for the next delivery, in sum.
    pub(crate) fn kept_connections(self) -> usize {
        self.quarter().min(MAX_KEPT_CONNECTIONS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(limit: usize, api: usize, kept: usize) {
        let descriptors = Descriptors(limit);
        let limits = descriptors.api();
        assert_eq!((limits.total, descriptors.kept_connections()), (api, kept));
        assert!(limits.per_address < limits.total && limits.probes > 0);
    }

    #[test]
    fn every_part_has_its_share() {
        check(64, 16, 16);
        check(256, 64, 64);
        check(1_024, 256, 256);
        check(usize::MAX, MAX_API_CONNECTIONS, MAX_KEPT_CONNECTIONS);
    }
}
