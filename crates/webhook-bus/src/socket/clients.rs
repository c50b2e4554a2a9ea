//! Who is connected to the socket, who of them may give orders, and who gives way when another one
//! wants in and no place is left.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::Id;
use tokio_util::sync::CancellationToken;
use webhook_model::{Topic, topics};

use crate::journal::lock;

/// Most clients at once. DECNET's workers are some thirty; each client may cost some megabytes
/// while it publishes events of the largest size.
pub(super) const CONNECTIONS: usize = 64;
/// A publisher that subscribed to nothing and has not published for this long may be asked to connect
/// again: DECNET's own clients do so with their next event.
const IDLE: Duration = Duration::from_secs(60);

/// The users whose programs may publish `system.webhook.*`: orders to the worker and what it says.
#[derive(Debug, Clone)]
pub(super) struct Trusted(BTreeSet<u32>);

impl Trusted {
    /// Root, our own user, and those named.
    pub(super) fn new(named: &[u32]) -> Self {
        let own = nix::unistd::geteuid().as_raw();
        Self(named.iter().copied().chain([0, own]).collect())
    }

    #[cfg(test)]
    pub(super) fn nobody() -> Self {
        Self(BTreeSet::new())
    }

    /// Whether programs of this user may publish on that topic. A client whose user the system does
    /// not tell is nobody's.
    pub(super) fn may_publish(&self, topic: &Topic, uid: Option<u32>) -> bool {
        !topic.as_str().starts_with(topics::RESERVED_PREFIX)
            || uid.is_some_and(|uid| self.0.contains(&uid))
    }
}

/// One client, as its connection and the server know it.
#[derive(Debug)]
pub(super) struct Client {
    /// The user whose program it is.
    pub(super) uid: Option<u32>,
    /// Cancelled when it has to give way.
    pub(super) leave: CancellationToken,
    listens: AtomicBool,
    heard: Mutex<Heard>,
}

#[derive(Debug)]
struct Heard {
    /// The last event or subscription, or the beginning of the connection.
    last: Instant,
    anything: bool,
    name: String,
}

impl Client {
    pub(super) fn new(uid: Option<u32>) -> Arc<Self> {
        let heard = Heard {
            last: Instant::now(),
            anything: false,
            name: "unnamed".to_owned(),
        };
        Arc::new(Self {
            uid,
            leave: CancellationToken::new(),
            listens: AtomicBool::new(false),
            heard: Mutex::new(heard),
        })
    }

    /// It said who it is. Anybody can: it is for the log.
    pub(super) fn is_called(&self, name: String) {
        lock(&self.heard).name = name;
    }

    pub(super) fn name(&self) -> String {
        lock(&self.heard).name.clone()
    }

    /// It published.
    pub(super) fn spoke(&self) {
        let mut heard = lock(&self.heard);
        heard.last = Instant::now();
        heard.anything = true;
    }

    /// It subscribed.
    pub(super) fn listens(&self) {
        self.spoke();
        self.listens.store(true, Ordering::Relaxed);
    }

    fn standing(&self, now: Instant) -> Standing {
        let heard = lock(&self.heard);
        Standing {
            uid: self.uid,
            silent: !heard.anything,
            listens: self.listens.load(Ordering::Relaxed),
            idle: now.saturating_duration_since(heard.last),
        }
    }
}

/// All of them, by the task that serves each.
#[derive(Debug, Default)]
pub(super) struct Clients(HashMap<Id, Arc<Client>>);

impl Clients {
    pub(super) fn add(&mut self, task: Id, client: Arc<Client>) {
        self.0.insert(task, client);
    }

    pub(super) fn remove(&mut self, task: Id) {
        self.0.remove(&task);
    }

    /// Makes room for a client of that user: none where there is room, else the one that has to go,
    /// which is forgotten here. Fails where nobody gives way.
    pub(super) fn make_room(&mut self, uid: Option<u32>) -> Result<Option<Arc<Client>>, Full> {
        if self.0.len() < CONNECTIONS {
            return Ok(None);
        }
        let now = Instant::now();
        let (tasks, standings): (Vec<Id>, Vec<Standing>) = (self.0.iter())
            .map(|(task, client)| (*task, client.standing(now)))
            .unzip();
        let index = gives_way(&standings, uid).ok_or(Full)?;
        Ok(self.0.remove(&tasks[index]))
    }
}

/// No place is left, and nobody gives way.
#[derive(Debug)]
pub(super) struct Full;

/// What decides whether a client gives way.
#[derive(Debug, Clone, Copy)]
struct Standing {
    uid: Option<u32>,
    /// It has neither published nor subscribed.
    silent: bool,
    listens: bool,
    idle: Duration,
}

/// Who gives way to a client of `newcomer`: whoever has said nothing, then who only publishes and has
/// not for long, then one of the user that has most of the places, where that leaves it no fewer than
/// the newcomer's. Among equals those of the user with the most go first, and of them the idlest.
fn gives_way(clients: &[Standing], newcomer: Option<u32>) -> Option<usize> {
    let mut places: HashMap<Option<u32>, usize> = HashMap::new();
    for client in clients {
        *places.entry(client.uid).or_default() += 1;
    }
    let of = |uid: &Option<u32>| places.get(uid).copied().unwrap_or(0);
    let first = |eligible: &dyn Fn(&Standing) -> bool| {
        (clients.iter().enumerate())
            .filter(|(_, client)| eligible(client))
            .max_by_key(|(_, client)| (of(&client.uid), client.idle))
            .map(|(index, _)| index)
    };
    first(&|client| client.silent)
        .or_else(|| first(&|client| !client.listens && client.idle >= IDLE))
        .or_else(|| first(&|client| of(&client.uid) >= of(&newcomer) + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT: Standing = Standing {
        uid: Some(1),
        silent: true,
        listens: false,
        idle: Duration::from_secs(1),
    };
    const PUBLISHER: Standing = Standing {
        silent: false,
        ..SILENT
    };
    const LISTENER: Standing = Standing {
        listens: true,
        idle: Duration::from_secs(3_600),
        ..PUBLISHER
    };

    fn of(uid: u32, client: Standing) -> Standing {
        Standing {
            uid: Some(uid),
            ..client
        }
    }

    fn idle(seconds: u64, client: Standing) -> Standing {
        Standing {
            idle: Duration::from_secs(seconds),
            ..client
        }
    }

    #[track_caller]
    fn check(clients: &[Standing], newcomer: u32, expected: Option<usize>) {
        assert_eq!(gives_way(clients, Some(newcomer)), expected);
    }

    #[test]
    fn the_silent_go_first_the_longest_of_them() {
        check(&[LISTENER, SILENT, idle(2, SILENT)], 1, Some(2));
        check(&[idle(61, PUBLISHER), SILENT], 1, Some(1));
        // Those of the user that has most of the places.
        let clients = [of(2, idle(9, SILENT)), SILENT, LISTENER];
        check(&clients, 2, Some(1));
    }

    #[test]
    fn then_idle_publishers_and_never_who_listens() {
        check(&[LISTENER, idle(61, PUBLISHER)], 1, Some(1));
        check(&[LISTENER, idle(59, PUBLISHER)], 1, None);
    }

    #[test]
    fn no_user_has_all_of_the_places_for_itself() {
        check(&[LISTENER, LISTENER, idle(7_200, LISTENER)], 2, Some(2));
        check(&[LISTENER, of(2, LISTENER)], 2, None);
        check(&[LISTENER, LISTENER, of(2, LISTENER)], 2, None);
    }

    #[test]
    fn orders_are_for_root_for_our_user_and_for_whom_is_named() {
        let trusted = Trusted::new(&[4_711]);
        let topic = |text: &str| Topic::parse(text).unwrap();
        let own = nix::unistd::geteuid().as_raw();
        for uid in [0, own, 4_711] {
            assert!(trusted.may_publish(&topic(topics::CONTROL), Some(uid)));
        }
        for uid in [Some(4_712), None] {
            assert!(!trusted.may_publish(&topic(topics::HEALTH), uid));
            assert!(trusted.may_publish(&topic("system.webhooks.x"), uid));
            assert!(trusted.may_publish(&topic("attacker.observed"), uid));
        }
    }
}
