//! What each publishing token has in use and has used lately: memory for bodies, its quota, and its
//! share of the bus.

mod share;

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};

use webhook_bus::Crowded;

use self::share::Share;
use crate::{
    body::{Budget, MAX_EVENTS_BODY_BYTES, TOKEN_BUDGET_KIB},
    events::MAX_EVENTS,
    problem::Problem,
};

/// Seconds whose quota may be used at once: sensors that were away have something to tell.
const BURST_SECONDS: u32 = 10;
/// Tokens that are remembered; each has some hundred bytes.
const MAX_TOKENS: usize = 10_000;
/// Who has not published for this long has its burst again, and need not be remembered.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// What a token may publish in the long run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishQuota {
    /// Events a second.
    pub events_per_second: NonZeroU32,
    /// Bytes of bodies a second.
    pub bytes_per_second: NonZeroU32,
    /// Percent of what the bus may hold. Whoever has more than that on the bus has to wait while
    /// undelivered events give way to new ones.
    pub bus_share_percent: NonZeroU32,
}

/// Half of the bus: one token may fill it, and what the others told is still there.
const BUS_SHARE_PERCENT: u32 = 50;

impl Default for PublishQuota {
    /// More than a sensor has to say, and less than what keeps a machine busy.
    fn default() -> Self {
        let number = |number| NonZeroU32::new(number).expect("a constant above zero");
        Self {
            events_per_second: number(10_000),
            bytes_per_second: number(32 << 20),
            bus_share_percent: number(BUS_SHARE_PERCENT),
        }
    }
}

impl PublishQuota {
    /// The lower of two quotas.
    pub(crate) fn min(self, other: Self) -> Self {
        Self {
            events_per_second: self.events_per_second.min(other.events_per_second),
            bytes_per_second: self.bytes_per_second.min(other.bytes_per_second),
            bus_share_percent: self.bus_share_percent.min(other.bus_share_percent),
        }
    }

    pub(crate) const UNLIMITED: Self = Self {
        events_per_second: NonZeroU32::MAX,
        bytes_per_second: NonZeroU32::MAX,
        bus_share_percent: NonZeroU32::MAX,
    };
}

/// The tokens that publish.
#[derive(Debug, Default)]
pub(crate) struct Publishers(Mutex<HashMap<String, Known>>);

#[derive(Debug)]
struct Known {
    publisher: Arc<Publisher>,
    seen: Instant,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) bodies: Budget,
    events: Limit,
    bytes: Limit,
    share: Share,
}

#[derive(Debug)]
struct Limit {
    what: &'static str,
    per_second: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
}

impl Publishers {
    /// The token with this `jti`.
    pub(crate) fn get(
        &self,
        jti: &str,
        quota: PublishQuota,
        now: Instant,
    ) -> Result<Arc<Publisher>, Problem> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(jti) && known.len() >= MAX_TOKENS {
            known.retain(|_, it| now < it.seen + FORGOTTEN_AFTER);
            if known.len() >= MAX_TOKENS {
                return Err(Problem::Busy);
            }
        }
        let it = known.entry(jti.to_owned()).or_insert_with(|| Known {
            publisher: Arc::new(Publisher::new(quota)),
            seen: now,
        });
        it.seen = now;
        Ok(Arc::clone(&it.publisher))
    }
}

impl Publisher {
    fn new(quota: PublishQuota) -> Self {
        Self {
            bodies: Budget::new(TOKEN_BUDGET_KIB),
            events: Limit::new("events", quota.events_per_second, MAX_EVENTS),
            bytes: Limit::new("bytes", quota.bytes_per_second, MAX_EVENTS_BODY_BYTES),
            share: Share::new(quota.bus_share_percent),
        }
    }

    /// Takes that many events off the quota.
    pub(crate) fn publish(&self, events: usize) -> Result<(), Problem> {
        self.events.take(events)
    }

    /// Takes a body of that many bytes off the quota.
    pub(crate) fn send(&self, bytes: usize) -> Result<(), Problem> {
        self.bytes.take(bytes)
    }

    /// Refuses who has more than its share on a bus that is full of undelivered events.
    pub(crate) fn fits(&self, crowded: Option<Crowded>) -> Result<(), Problem> {
        crowded.map_or(Ok(()), |crowded| self.share.check(crowded))
    }

    /// Notes what the bus has taken.
    pub(crate) fn published(&self, seqs: &[u64], bytes: usize) {
        self.share.add(seqs, bytes);
    }
}

impl Limit {
    /// A burst always has room for the largest request.
    fn new(what: &'static str, per_second: NonZeroU32, largest: usize) -> Self {
        let burst = per_second.saturating_mul(NonZeroU32::new(BURST_SECONDS).expect("above zero"));
        let largest = u32::try_from(largest).expect("a request has a few MiB");
        let burst = burst.max(NonZeroU32::new(largest).expect("above zero"));
        Self {
            what,
            per_second,
            limiter: RateLimiter::direct(Quota::per_second(per_second).allow_burst(burst)),
        }
    }

    fn take(&self, count: usize) -> Result<(), Problem> {
        let Some(count) = u32::try_from(count).ok().and_then(NonZeroU32::new) else {
            return Ok(());
        };
        match self.limiter.check_n(count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => Err(Problem::OverQuota {
                what: self.what,
                per_second: self.per_second.get(),
                after: until.wait_time_from(DefaultClock::default().now()),
            }),
            Err(_) => Err(Problem::Internal(format!(
                "a request of {count} {} is larger than any burst",
                self.what
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(events: u32, bytes: u32) -> PublishQuota {
        PublishQuota {
            events_per_second: NonZeroU32::new(events).unwrap(),
            bytes_per_second: NonZeroU32::new(bytes).unwrap(),
            ..PublishQuota::default()
        }
    }

    #[test]
    fn a_burst_then_a_refusal_that_says_when() {
        let publisher = Publisher::new(quota(1, 1));
        publisher.publish(1_000).unwrap();
        publisher.send(MAX_EVENTS_BODY_BYTES).unwrap();
        let Err(Problem::OverQuota { what, after, .. }) = publisher.publish(60) else {
            panic!("taken");
        };
        assert_eq!(what, "events");
        assert!(
            after > Duration::from_secs(50) && after <= Duration::from_secs(60),
            "{after:?}"
        );
        publisher.publish(0).unwrap();
    }

    #[test]
    fn memory_is_bounded() {
        let publishers = Publishers::default();
        let now = Instant::now();
        let quota = PublishQuota::default();
        for n in 0..MAX_TOKENS {
            publishers.get(&n.to_string(), quota, now).unwrap();
        }
        assert!(publishers.get("late", quota, now).is_err());
        assert!(publishers.get("0", quota, now).is_ok());
        assert!(publishers.get("late", quota, now + FORGOTTEN_AFTER).is_ok());
    }
}
