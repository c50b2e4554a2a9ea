//! Which connections are kept, and which of them may be used: decided here, under one short lock,
//! by the times that are passed in.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::lease::Lease;

/// How long an origin that refused HTTP/2 is spoken to in HTTP/1.1.
const HTTP2_AVOIDED: Duration = Duration::from_secs(600);
/// How long an origin without connections is remembered: longer than an attempt, so that one's
/// connection finds its origin again when it comes back.
const ORIGIN_REMEMBERED: Duration = Duration::from_secs(60);

/// What a pool asks of a connection.
pub(crate) trait Connection: Sized {
    /// Whether an exchange can begin on it.
    fn is_open(&self) -> bool;

    /// Another handle of it, where exchanges share one.
    fn shared(&self) -> Option<Self>;
}

/// What is kept at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections in sum.
    pub(super) kept: usize,
    /// Connections to one origin.
    pub(super) kept_per_origin: usize,
    /// Time without an exchange.
    pub(super) idle: Duration,
    /// Time since it was opened.
    pub(super) age: Duration,
    /// Time since the origin's name was resolved, after which it is resolved again.
    pub(super) answer_age: Duration,
}

/// Kept connections by origin.
pub(super) struct Pool<C> {
    limits: Limits,
    state: Mutex<State<C>>,
}

struct State<C> {
    /// Also the next generation: neither is ever used twice.
    next: u64,
    /// In the order in which they were last used.
    kept: BTreeMap<u64, Kept<C>>,
    origins: HashMap<Arc<str>, Origin>,
    is_swept: bool,
}

struct Kept<C> {
    origin: Arc<str>,
    lease: Lease<C>,
    since: Instant,
}

struct Origin {
    /// Keys of its connections, the one used last at the end.
    kept: VecDeque<u64>,
    /// Connections of another one are not kept.
    generation: u64,
    /// What its name led to when it was last resolved.
    addrs: Option<Vec<IpAddr>>,
    resolved: Instant,
    http1_until: Option<Instant>,
    used: Instant,
}

impl<C: Connection> Pool<C> {
    pub(super) fn new(limits: Limits) -> Self {
        let state = State {
            next: 0,
            kept: BTreeMap::new(),
            origins: HashMap::new(),
            is_swept: false,
        };
        Self {
            limits,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to an origin that was used last; a shared one stays.
    pub(super) fn take(&self, origin: &str, now: Instant) -> Option<Lease<C>> {
        let mut state = self.state();
        loop {
            let key = state.origins.get_mut(origin)?.kept.pop_back()?;
            let mut kept = state.kept.remove(&key)?;
            let fresh =
                kept.lease.opened + self.limits.age > now && kept.since + self.limits.idle > now;
            if !fresh || !kept.lease.connection.is_open() {
                continue;
            }
            kept.lease.kept = true;
            if let Some(shared) = kept.lease.shared() {
                state.insert(kept.origin, shared, now);
            }
            return Some(kept.lease);
        }
    }

    /// Keeps a connection, if it may be used again; what is beyond the limits goes, longest unused
    /// first.
    pub(super) fn put(&self, origin: &str, lease: Lease<C>, now: Instant) {
        let mut state = self.state();
        let Some((name, entry)) = state.origins.get_key_value(origin) else {
            return;
        };
        let usable = entry.generation == lease.generation
            && entry.leads_to(lease.peer)
            && lease.opened + self.limits.age > now;
        if !usable {
            return;
        }
        let name = Arc::clone(name);
        if entry.kept.len() >= self.limits.kept_per_origin {
            state.drop_oldest_of(&name);
        }
        state.insert(name, lease, now);
        while state.kept.len() > self.limits.kept {
            state.drop_oldest();
        }
    }

    /// What connections that are opened now belong to.
    pub(super) fn generation(&self, origin: &str, now: Instant) -> u64 {
        self.state().origin(origin, now).generation
    }

    /// Whether [`sweep_in_background`] is to be called: nobody does so yet.
    pub(super) fn wants_sweeping(&self) -> bool {
        !std::mem::replace(&mut self.state().is_swept, true)
    }

    /// Lets go of what is kept to an origin, and keeps none of what is in use.
    pub(super) fn forget(&self, origin: &str, now: Instant) {
        let mut state = self.state();
        let generation = state.next();
        let entry = state.origin(origin, now);
        entry.generation = generation;
        for key in std::mem::take(&mut entry.kept) {
            state.kept.remove(&key);
        }
    }

    /// Whether the origin's name is to be resolved before one of its connections is used again.
    /// Said to one caller: the others go on meanwhile.
    pub(super) fn is_answer_due(&self, origin: &str, now: Instant) -> bool {
        let mut state = self.state();
        let Some(entry) = state.origins.get_mut(origin) else {
            return false;
        };
        let due = !entry.kept.is_empty() && entry.resolved + self.limits.answer_age <= now;
        if due {
            entry.resolved = now;
        }
        due
    }

    /// An origin's name was resolved: connections to other addresses end.
    pub(super) fn learn(&self, origin: &str, addrs: &[IpAddr], now: Instant) {
        let mut state = self.state();
        let entry = state.origin(origin, now);
        entry.resolved = now;
        if entry.addrs.as_deref() == Some(addrs) {
            return;
        }
        entry.addrs = Some(addrs.to_vec());
        let mut keys = std::mem::take(&mut entry.kept);
        keys.retain(|key| {
            let leads_on = |it: &Kept<C>| addrs.contains(&it.lease.peer);
            let stays = state.kept.get(key).is_some_and(leads_on);
            if !stays {
                state.kept.remove(key);
            }
            stays
        });
        state.origin(origin, now).kept = keys;
    }

    /// Notes that an origin refused HTTP/2, and lets go of its connections.
    pub(super) fn avoid_http2(&self, origin: &str, now: Instant) {
        self.forget(origin, now);
        self.state().origin(origin, now).http1_until = Some(now + HTTP2_AVOIDED);
    }

    /// Whether an origin refused HTTP/2 lately.
    pub(super) fn avoids_http2(&self, origin: &str, now: Instant) -> bool {
        let until = self.state().origin(origin, now).http1_until;
        until.is_some_and(|until| until > now)
    }

    /// Lets go of everything that is kept.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.kept.clear();
        for origin in state.origins.values_mut() {
            origin.kept.clear();
        }
    }

    /// Lets go of what was unused for too long. Whether anything is left to be swept.
    fn sweep(&self, now: Instant) -> bool {
        let mut state = self.state();
        while let Some((_, oldest)) = state.kept.first_key_value()
            && oldest.since + self.limits.idle <= now
        {
            state.drop_oldest();
        }
        state.origins.retain(|_, origin| {
            !origin.kept.is_empty()
                || origin.http1_until.is_some_and(|until| until > now)
                || origin.used + ORIGIN_REMEMBERED > now
        });
        state.is_swept = !state.origins.is_empty();
        state.is_swept
    }
}

impl<C> State<C> {
    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn origin(&mut self, origin: &str, now: Instant) -> &mut Origin {
        if !self.origins.contains_key(origin) {
            let entry = Origin {
                kept: VecDeque::new(),
                generation: self.next(),
                addrs: None,
                resolved: now,
                http1_until: None,
                used: now,
            };
            self.origins.insert(origin.into(), entry);
        }
        let entry = self.origins.get_mut(origin).expect("inserted if missing");
        entry.used = now;
        entry
    }

    fn insert(&mut self, origin: Arc<str>, lease: Lease<C>, now: Instant) {
        let key = self.next();
        let entry = self.origin(&origin, now);
        entry.kept.push_back(key);
        let since = now;
        let kept = Kept {
            origin,
            lease,
            since,
        };
        self.kept.insert(key, kept);
    }

    fn drop_oldest(&mut self) {
        // Keys grow: the oldest of all is the first of its origin.
        if let Some((_, kept)) = self.kept.pop_first()
            && let Some(origin) = self.origins.get_mut(&kept.origin)
        {
            origin.kept.pop_front();
        }
    }

    fn drop_oldest_of(&mut self, origin: &str) {
        let oldest = self
            .origins
            .get_mut(origin)
            .and_then(|it| it.kept.pop_front());
        if let Some(key) = oldest {
            self.kept.remove(&key);
        }
    }
}

impl Origin {
    fn leads_to(&self, peer: IpAddr) -> bool {
        self.addrs
            .as_ref()
            .is_none_or(|addrs| addrs.contains(&peer))
    }
}

/// Lets go of unused connections as long as an origin is remembered: nobody else may come by.
pub(super) fn sweep_in_background<C>(pool: &Arc<Pool<C>>, every: Duration)
where
    C: Connection + Send + 'static,
{
    let pool = Arc::downgrade(pool);
    tokio::spawn(async move {
        loop {
            sleep(every).await;
            let again = pool
                .upgrade()
                .is_some_and(|pool| pool.sweep(Instant::now()));
            if !again {
                break;
            }
        }
    });
}

#[cfg(test)]
mod tests;
