//! The receivers of a world, each with its own way of failing, and the subscriptions to them.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};
use webhook_testkit::{Behaviour, Receiver};

/// What each receiver checks signatures with.
const SECRET: &str = "a-secret-of-the-crash-tests";
/// Every so many events one is refused, held back, or never accepted.
const REFUSED: usize = 7;
const NEVER: usize = 2 * REFUSED;
const HELD_BACK: usize = 20;

/// A schedule of which the first delays fit into a test, in seconds: an event that waits for longer
/// is none that a crash has made wait.
const SCHEDULE: [u32; 6] = [1, 2, 5, 30, 300, 3600];

/// A subscription and its receiver.
pub(crate) struct Endpoint {
    pub(crate) name: &'static str,
    pub(crate) receiver: Receiver,
    patterns: &'static [&'static str],
    ordered: bool,
}

impl Endpoint {
    async fn start(
        name: &'static str,
        patterns: &'static [&'static str],
        behaviour: Behaviour,
    ) -> Self {
        let receiver = Receiver::builder(behaviour)
            .secret(SECRET)
            .without_bodies()
            .start()
            .await;
        Self {
            name,
            receiver,
            patterns,
            ordered: false,
        }
    }

    /// The body that creates the subscription.
    pub(crate) fn subscription(&self) -> Value {
        json!({
            "name": self.name,
            "url": self.receiver.url(),
            "secret": SECRET,
            "topic_patterns": self.patterns,
            "ordered": self.ordered,
            "redelivery_schedule": SCHEDULE,
        })
    }

    /// Whether it took an event.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.receiver.log(|log| log.times(id) > 0)
    }
}

/// All of a world's receivers.
pub(crate) struct Endpoints {
    /// Takes everything.
    pub(crate) steady: Endpoint,
    /// Takes everything, in order; asks for a pause now and then.
    pub(crate) ordered: Endpoint,
    /// Asks for a pause now and then, so that rows are redelivered.
    pub(crate) limping: Endpoint,
    /// Refuses some for good until it is lenient, and some always.
    pub(crate) picky: Endpoint,
    /// Refuses everything while it is broken, and trips.
    pub(crate) broken: Endpoint,
    /// Its patterns are changed meanwhile.
    pub(crate) mover: Endpoint,
    /// Its subscription is made meanwhile.
    pub(crate) late: Endpoint,
    strict: Arc<AtomicBool>,
    down: Arc<AtomicBool>,
}

impl Endpoints {
    pub(crate) async fn start() -> Self {
        let strict = Arc::new(AtomicBool::new(true));
        let down = Arc::new(AtomicBool::new(false));
        let mut ordered = Endpoint::start("ordered", &["attacker.>"], pausing()).await;
        ordered.ordered = true;
        Self {
            steady: Endpoint::start("steady", &["attacker.>"], Behaviour::ok()).await,
            ordered,
            limping: Endpoint::start("limping", &["attacker.>"], pausing()).await,
            picky: Endpoint::start("picky", &["attacker.>"], picky(strict.clone())).await,
            broken: Endpoint::start("broken", &["attacker.>"], breaking(down.clone())).await,
            mover: Endpoint::start("mover", &["identity.>", "campaign.>"], Behaviour::ok()).await,
            late: Endpoint::start("late", &["decky.>"], Behaviour::ok()).await,
            strict,
            down,
        }
    }

    /// The picky one accepts what it refused, but for what it never accepts.
    pub(crate) fn be_lenient(&self) {
        self.strict.store(false, Ordering::SeqCst);
    }

    pub(crate) fn break_down(&self) {
        self.down.store(true, Ordering::SeqCst);
    }

    pub(crate) fn mend(&self) {
        self.down.store(false, Ordering::SeqCst);
    }

    /// Those that exist from the beginning.
    pub(crate) fn first(&self) -> [&Endpoint; 6] {
        [
            &self.steady,
            &self.ordered,
            &self.limping,
            &self.picky,
            &self.broken,
            &self.mover,
        ]
    }

    pub(crate) fn all(&self) -> [&Endpoint; 7] {
        let [a, b, c, d, e, f] = self.first();
        [a, b, c, d, e, f, &self.late]
    }
}

/// The id of event number `n`.
pub(crate) fn event_id(n: usize) -> String {
    format!("event-{n}")
}

/// The number in an id.
fn number(id: &str) -> usize {
    let digits = id.rsplit('-').next();
    digits
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default()
}

/// Whether the picky receiver never accepts an event.
pub(crate) fn is_never_accepted(n: usize) -> bool {
    n.is_multiple_of(NEVER)
}

fn pausing() -> Behaviour {
    let seen = Mutex::new(HashSet::new());
    Behaviour::decide(move |received| {
        let id = received.event_id().unwrap_or_default();
        let first = seen
            .lock()
            .expect("no panic holds this lock")
            .insert(id.to_owned());
        if first && number(id) % HELD_BACK == HELD_BACK / 2 {
            Behaviour::status_with(503, "retry-after", "1")
        } else {
            Behaviour::ok()
        }
    })
}

fn picky(strict: Arc<AtomicBool>) -> Behaviour {
    Behaviour::by_event(move |id| {
        let refused = number(id).is_multiple_of(REFUSED) && strict.load(Ordering::SeqCst);
        if refused || is_never_accepted(number(id)) {
            404
        } else {
            200
        }
    })
}

fn breaking(down: Arc<AtomicBool>) -> Behaviour {
    Behaviour::by_event(move |_| {
        if down.load(Ordering::SeqCst) {
            404
        } else {
            200
        }
    })
}
