//! The connections of a server, of which there are only so many.
//!
//! Whoever holds a connection without using it gives way to whoever comes: a kept connection between
//! two requests, one whose request does not arrive, one whose client does not read. Near the limit
//! the one that has been of no use for longest goes first, of the address that has the most. Where
//! all of them are in use there is still room to ask for the server's health, and for nothing else.

mod connection;
mod parts;
mod stream;

use std::{
    cmp::Reverse,
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use self::connection::Ended;
pub(crate) use self::{connection::Connection, parts::Parts, stream::Guarded};
use crate::ApiStats;

/// How long a connection is kept without a whole request: dashboards poll every few seconds, and
/// actix itself waits 30 s; it does not look at a second request that drips in.
const IDLE_TIMEOUT: Duration = Duration::from_secs(35);
/// How long a client may leave an answer unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two looks at both.
const LOOK: Duration = Duration::from_secs(1);
/// How many that have been of no use are asked whether something has come by now.
const ASKED: usize = 64;
/// One warning a minute says that connections give way; the metrics say how many.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

/// How many connections a server serves at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In sum.
    pub total: usize,
    /// From one address; of IPv6 from one network of 64 bits, which is what a client has.
    pub per_address: usize,
    /// Beyond the limits, for `/healthz`, `/readyz` and `/metrics` alone.
    pub probes: usize,
}

impl Default for ConnectionLimits {
    /// For a process that may open 2,048 files or more.
    fn default() -> Self {
        Self {
            total: 512,
            per_address: 256,
            probes: 32,
        }
    }
}

/// Those that are open.
#[derive(Debug)]
pub(crate) struct Connections {
    limits: ConnectionLimits,
    stats: ApiStats,
    is_draining: AtomicBool,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    connections: HashMap<u64, Arc<Connection>>,
    at_address: HashMap<IpAddr, usize>,
    probes: usize,
    last_id: u64,
    warned_at: Option<Instant>,
}

impl Connections {
    pub(crate) fn new(limits: ConnectionLimits, stats: ApiStats) -> Arc<Self> {
        Arc::new(Self {
            limits,
            stats,
            is_draining: AtomicBool::new(false),
            open: Mutex::default(),
        })
    }

    /// A new connection; none where even what is kept for probes is in use.
    fn admit(self: &Arc<Self>, peer: SocketAddr, now: Instant) -> Option<Arc<Connection>> {
        let mut open = self.open();
        let address = network(peer.ip());
        let here = open.at_address.get(&address).copied().unwrap_or(0);
        let regular = open.connections.len() - open.probes;
        let has_room = if here >= self.limits.per_address {
            self.give_way(&mut open, Some(address), false, now)
        } else if regular >= self.limits.total {
            let greedy = greediest(&open);
            self.give_way(&mut open, greedy, false, now)
                || self.give_way(&mut open, None, false, now)
        } else {
            true
        };
        if !has_room
            && open.probes >= self.limits.probes
            && !self.give_way(&mut open, None, true, now)
        {
            self.stats.connection_refused();
            tracing::debug!(%peer, "connection refused: all are in use");
            return None;
        }
        open.last_id += 1;
        let connection = Arc::new(Connection::new(open.last_id, peer, address, !has_room, now));
        open.add(&connection);
        self.stats.connections_open(open.connections.len());
        self.stats.connection_admitted();
        Some(connection)
    }

    /// Ends the connection that has been of no use for longest; false where all are in use.
    fn give_way(
        &self,
        open: &mut Open,
        address: Option<IpAddr>,
        probes: bool,
        now: Instant,
    ) -> bool {
        let mut known = HashMap::new();
        let mut candidates: Vec<_> = (open.connections.values())
            .filter(|it| {
                it.for_probes == probes && address.is_none_or(|address| it.address == address)
            })
            .filter_map(|it| Some((it.useless_for(now)?, it)))
            .map(|(idle, it)| ((it.claim(now, &mut known), Reverse(idle)), it))
            .collect();
        let mut next = || {
            let (index, _) = (candidates.iter().enumerate()).min_by_key(|(_, (key, _))| key)?;
            Some(candidates.swap_remove(index))
        };
        // Somebody may have asked just now. Where only probes are left, the first of them has had its
        // moment all the same.
        let mut asking = None;
        let idlest = std::iter::from_fn(&mut next).take(ASKED).find(|(key, it)| {
            let has_news = it.has_news();
            if has_news && probes {
                asking.get_or_insert((*key, *it));
            }
            !has_news
        });
        let idlest = idlest.or(asking);
        let Some((idle, victim)) = idlest.map(|((_, idle), it)| (idle.0, Arc::clone(it))) else {
            self.warn(open, "connections are refused: all of them are in use", now);
            return false;
        };
        open.remove(&victim);
        victim.end(Ended::GaveWay);
        self.stats.connection_gave_way();
        tracing::debug!(peer = %victim.peer, ?idle, "connection gave way to another");
        self.warn(open, "idle connections give way to others", now);
        true
    }

    fn warn(&self, open: &mut Open, what: &'static str, now: Instant) {
        if open.warned_at.is_some_and(|at| now < at + WARNING_PAUSE) {
            return;
        }
        open.warned_at = Some(now);
        let address = greediest(open);
        let count = address.and_then(|address| open.at_address.get(&address));
        tracing::warn!(
            open = open.connections.len(),
            limit = self.limits.total,
            most_from = address.map(tracing::field::display),
            that_has = count,
            "{what}"
        );
    }

    fn closed(&self, connection: &Arc<Connection>) {
        let mut open = self.open();
        open.remove(connection);
        self.stats.connections_open(open.connections.len());
    }

    /// Ends those that took too long, until it is dropped.
    pub(crate) async fn watch(&self) {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            self.look(Instant::now());
        }
    }

    fn look(&self, now: Instant) {
        let mut open = self.open();
        let late: Vec<_> = (open.connections.values())
            .filter(|it| it.is_late(now, IDLE_TIMEOUT, WRITE_TIMEOUT))
            .cloned()
            .collect();
        for connection in late {
            open.remove(&connection);
            connection.end(Ended::TooSlow);
            self.stats.connection_timed_out();
            tracing::debug!(peer = %connection.peer, "connection ended: it took too long");
        }
    }

    /// From now on a connection ends with the request that it serves, or at once.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
        for connection in self.open().connections.values() {
            connection.end_when_idle();
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn add(&mut self, connection: &Arc<Connection>) {
        *self.at_address.entry(connection.address).or_default() += 1;
        self.probes += usize::from(connection.for_probes);
        self.connections
            .insert(connection.id, Arc::clone(connection));
    }

    fn remove(&mut self, connection: &Connection) {
        if self.connections.remove(&connection.id).is_none() {
            return;
        }
        self.probes -= usize::from(connection.for_probes);
        if let Some(count) = self.at_address.get_mut(&connection.address) {
            *count -= 1;
            if *count == 0 {
                self.at_address.remove(&connection.address);
            }
        }
    }
}

/// The address that has the most.
fn greediest(open: &Open) -> Option<IpAddr> {
    let most = open.at_address.iter().max_by_key(|(_, count)| **count);
    most.map(|(address, _)| *address)
}

/// What counts as one address.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests;
