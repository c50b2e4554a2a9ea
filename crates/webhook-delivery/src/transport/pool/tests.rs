use std::{cell::Cell, collections::HashSet, net::Ipv4Addr, rc::Rc};

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const LIMITS: Limits = Limits {
    kept: 4,
    kept_per_origin: 3,
    idle: Duration::from_secs(45),
    age: Duration::from_secs(300),
    answer_age: Duration::from_secs(30),
};

/// A connection that says who it is.
#[derive(Clone)]
struct Fake {
    id: u32,
    open: Rc<Cell<bool>>,
    is_shared: bool,
}

impl Connection for Fake {
    fn is_open(&self) -> bool {
        self.open.get()
    }

    fn shared(&self) -> Option<Self> {
        self.is_shared.then(|| self.clone())
    }
}

fn addr(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn open(pool: &Pool<Fake>, origin: &str, id: u32, now: Instant) -> Lease<Fake> {
    Lease {
        connection: Fake {
            id,
            open: Rc::new(Cell::new(true)),
            is_shared: false,
        },
        opened: now,
        peer: addr(1),
        generation: pool.generation(origin, now),
        kept: false,
    }
}

fn keep(pool: &Pool<Fake>, origin: &str, id: u32, now: Instant) {
    pool.put(origin, open(pool, origin, id, now), now);
}

fn taken(pool: &Pool<Fake>, origin: &str, now: Instant) -> Option<u32> {
    pool.take(origin, now).map(|lease| {
        assert!(lease.kept);
        lease.connection.id
    })
}

#[test]
fn the_last_used_goes_first_and_an_origin_gets_its_own() {
    let (pool, now) = (Pool::new(LIMITS), Instant::now());
    keep(&pool, "a", 1, now);
    keep(&pool, "a", 2, now);
    keep(&pool, "b", 3, now);
    assert_eq!(taken(&pool, "a", now), Some(2));
    assert_eq!(taken(&pool, "a", now), Some(1));
    assert_eq!(taken(&pool, "a", now), None);
    assert_eq!(taken(&pool, "b", now), Some(3));
    assert_eq!(taken(&pool, "c", now), None);
}

#[test]
fn one_failure_lets_go_of_all_and_of_those_in_use() {
    let (pool, now) = (Pool::new(LIMITS), Instant::now());
    keep(&pool, "a", 1, now);
    keep(&pool, "b", 2, now);
    let in_use = open(&pool, "a", 3, now);
    pool.forget("a", now);
    pool.put("a", in_use, now);
    assert_eq!(taken(&pool, "a", now), None);
    assert_eq!(taken(&pool, "b", now), Some(2));
    keep(&pool, "a", 4, now);
    assert_eq!(taken(&pool, "a", now), Some(4));
}

#[test]
fn another_answer_ends_connections_to_other_addresses() {
    let (pool, now) = (Pool::new(LIMITS), Instant::now());
    pool.learn("a", &[addr(1), addr(2)], now);
    keep(&pool, "a", 1, now);
    let in_use = open(&pool, "a", 2, now);
    assert!(!pool.is_answer_due("a", now + 29 * SECOND));
    assert!(pool.is_answer_due("a", now + 30 * SECOND));
    // One caller is enough.
    assert!(!pool.is_answer_due("a", now + 30 * SECOND));
    pool.learn("a", &[addr(2), addr(1)], now);
    assert_eq!(pool.state().kept.len(), 1);
    pool.learn("a", &[addr(2)], now);
    pool.put("a", in_use, now);
    assert_eq!(taken(&pool, "a", now), None);
}

#[test]
fn old_idle_and_closed_ones_are_not_used() {
    let (pool, now) = (Pool::new(LIMITS), Instant::now());
    keep(&pool, "a", 1, now);
    assert_eq!(taken(&pool, "a", now + 45 * SECOND), None);
    let old = open(&pool, "a", 2, now);
    pool.put("a", old, now + 299 * SECOND);
    assert_eq!(taken(&pool, "a", now + 300 * SECOND), None);
    let older = open(&pool, "a", 3, now);
    pool.put("a", older, now + 300 * SECOND);
    assert_eq!(pool.state().kept.len(), 0);
    let closed = open(&pool, "a", 4, now);
    let switch = Rc::clone(&closed.connection.open);
    pool.put("a", closed, now);
    switch.set(false);
    assert_eq!(taken(&pool, "a", now), None);
}

#[test]
fn a_shared_connection_stays() {
    let (pool, now) = (Pool::new(LIMITS), Instant::now());
    let mut lease = open(&pool, "a", 1, now);
    lease.connection.is_shared = true;
    pool.put("a", lease, now);
    for _ in 0..3 {
        assert_eq!(taken(&pool, "a", now), Some(1));
    }
    pool.avoid_http2("a", now);
    assert_eq!(taken(&pool, "a", now), None);
    assert!(pool.avoids_http2("a", now + 599 * SECOND));
    assert!(!pool.avoids_http2("a", now + 600 * SECOND));
}

#[test]
fn sweeping_ends_with_the_last_origin() {
    let (pool, now) = (Pool::new(LIMITS), Instant::now());
    keep(&pool, "a", 1, now);
    assert!(pool.wants_sweeping() && !pool.wants_sweeping());
    assert!(pool.sweep(now + 44 * SECOND));
    assert_eq!(pool.state().kept.len(), 1);
    assert!(pool.sweep(now + 45 * SECOND));
    assert_eq!(pool.state().kept.len(), 0);
    assert!(!pool.sweep(now + 60 * SECOND));
    assert!(pool.wants_sweeping());
}

#[derive(Debug, Clone)]
enum Step {
    Keep(usize),
    Take(usize),
    Forget(usize),
    Learn(usize, u8),
    Pass(u64),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let origin = 0..3_usize;
    prop_oneof![
        4 => origin.clone().prop_map(Step::Keep),
        3 => origin.clone().prop_map(Step::Take),
        1 => origin.clone().prop_map(Step::Forget),
        1 => (origin, 1..3_u8).prop_map(|(origin, last)| Step::Learn(origin, last)),
        1 => (1..120_u64).prop_map(Step::Pass),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    /// Whatever happens, the limits hold, both indexes agree, and nothing is handed out twice.
    #[test]
    fn limits_and_indexes_hold(steps in proptest::collection::vec(step(), 0..60)) {
        const ORIGINS: [&str; 3] = ["a", "b", "c"];
        let (pool, mut now, mut seen) = (Pool::new(LIMITS), Instant::now(), HashSet::new());
        for (id, step) in steps.into_iter().enumerate() {
            match step {
                Step::Keep(origin) => keep(&pool, ORIGINS[origin], id as u32, now),
                Step::Take(origin) => {
                    if let Some(lease) = pool.take(ORIGINS[origin], now) {
                        prop_assert!(lease.opened + LIMITS.age > now);
                        prop_assert!(seen.insert(lease.connection.id));
                    }
                }
                Step::Forget(origin) => {
                    pool.forget(ORIGINS[origin], now);
                    prop_assert!(pool.take(ORIGINS[origin], now).is_none());
                }
                Step::Learn(origin, last) => {
                    pool.learn(ORIGINS[origin], &[addr(last)], now);
                    if last != 1 {
                        prop_assert!(pool.take(ORIGINS[origin], now).is_none());
                    }
                }
                Step::Pass(seconds) => {
                    now += Duration::from_secs(seconds);
                    pool.sweep(now);
                }
                Step::Clear => pool.clear(),
            }
            let state = pool.state();
            prop_assert!(state.kept.len() <= LIMITS.kept);
            let mut keys: Vec<u64> = Vec::new();
            for origin in state.origins.values() {
                prop_assert!(origin.kept.len() <= LIMITS.kept_per_origin);
                prop_assert!(origin.kept.iter().is_sorted());
                keys.extend(&origin.kept);
            }
            keys.sort_unstable();
            prop_assert_eq!(keys, state.kept.keys().copied().collect::<Vec<_>>());
        }
    }
}
