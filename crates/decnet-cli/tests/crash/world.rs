//! An installation with everything going on at once: seven subscriptions of which four fail in
//! their own ways, publishers, an operator, replays, a breaker that trips and recovers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Duration,
};

use reqwest::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};
use webhook_testkit::Reconciler;

use crate::{
    client::Client,
    endpoints::{Endpoint, Endpoints, event_id, is_never_accepted},
    installation::{Engines, Installation},
    report::Outcome,
    support::{Decnet, PATIENCE, Starter},
};

/// Events published before anything crashes.
pub(crate) const BEFORE: usize = 20;
/// Pause between two events of a publisher.
const PACE: Duration = Duration::from_millis(15);
/// Every so many events there is one of each other topic.
const OTHERS: usize = 4;
/// Most messages of one subscription in flight or unrecorded at a crash: `max_in_flight`.
const WINDOW: usize = 64;
/// A cool-down that fits into a test.
const COOL_DOWN_MS: &str = "300";

/// What was on record when a server crashed, and how much each receiver had got by then.
struct Mark {
    /// By subscription.
    delivered: BTreeMap<&'static str, BTreeSet<String>>,
    received: BTreeMap<&'static str, usize>,
}

pub(crate) struct World {
    pub(crate) installation: Installation,
    pub(crate) endpoints: Endpoints,
    pub(crate) client: Client,
    port: u16,
    uuids: BTreeMap<&'static str, String>,
    replays: Vec<String>,
    marks: Mutex<Vec<Mark>>,
}

impl World {
    /// An installation that has been at work, and whose server is stopped: events delivered, dead
    /// letters, and two replays that have not begun.
    pub(crate) async fn new(engines: Engines) -> Self {
        Self::on(Installation::new(engines).await).await
    }

    pub(crate) async fn on(installation: Installation) -> Self {
        let endpoints = Endpoints::start().await;
        let mut server = installation.starter("serve", 0).start().await;
        let (client, port) = (Client::new(server.api().await), server.port());
        let mut uuids = BTreeMap::new();
        for endpoint in endpoints.first() {
            let uuid = client
                .subscribe(endpoint.name, &endpoint.subscription())
                .await;
            uuids.insert(endpoint.name, uuid);
        }
        let mut world = Self {
            installation,
            endpoints,
            client,
            port,
            uuids,
            replays: Vec::new(),
            marks: Mutex::default(),
        };
        world.publish(0..BEFORE, Duration::ZERO).await;
        world.settle(&world.endpoints.steady, BEFORE).await;
        let picky = world.uuid("picky");
        let refused = format!("/api/v1/deliveries?subscription={picky}&status=dead");
        let all = BEFORE.div_ceil(7);
        let there =
            |page: &serde_json::Value| page["items"].as_array().is_some_and(|it| it.len() == all);
        world.client.until(&refused, "dead letters", there).await;
        assert!(server.terminate().await.success());

        // No worker runs: the jobs wait for the next one.
        let mut api = world.installation.starter("api", port).start().await;
        world.endpoints.be_lenient();
        for (name, status) in [("picky", "dead"), ("steady", "delivered")] {
            let id = world.client.replay(world.uuid(name), status).await;
            world.replays.push(id);
        }
        assert!(api.terminate().await.success());
        world
    }

    pub(crate) fn uuid(&self, name: &str) -> &str {
        &self.uuids[name]
    }

    /// `decnet serve` with short cool-downs.
    pub(crate) fn starter(&self) -> Starter {
        let starter = self.installation.starter("serve", self.port);
        starter.var("DECNET_TEST_COOL_DOWN_MS", COOL_DOWN_MS)
    }

    /// Publishes these events one after the other, and one of the other topics now and then.
    pub(crate) async fn publish(&self, numbers: std::ops::Range<usize>, pace: Duration) {
        for n in numbers {
            self.client.publish("attacker.observed", &event_id(n)).await;
            if n.is_multiple_of(OTHERS) {
                self.client.publish("identity.seen", &identity_id(n)).await;
            }
            sleep(pace).await;
        }
    }

    /// What goes on while servers crash and start, up to event number `until`: events come, a
    /// subscription is made, another is changed, a receiver breaks down and is mended.
    pub(crate) async fn busy(&self, until: usize) -> String {
        self.endpoints.break_down();
        let (late, ()) = tokio::join!(self.operate(until), self.publish(BEFORE..until, PACE));
        late
    }

    async fn operate(&self, until: usize) -> String {
        let late = &self.endpoints.late;
        let uuid = self.client.subscribe(late.name, &late.subscription()).await;
        for n in (BEFORE..until).step_by(OTHERS) {
            self.client.publish("decky.d1.state", &decky_id(n)).await;
        }
        let path = format!("/api/v1/webhooks/{}", self.uuid("mover"));
        let patch = json!({"topic_patterns": ["identity.>", "credential.>"]});
        let (status, body) = self.client.ask(Method::PATCH, &path, Some(patch)).await;
        assert_eq!(status, 200, "{body}");
        let path = format!("/api/v1/webhooks/{}", self.uuid("broken"));
        self.client
            .until(&path, "it trips", |it| it["auto_disabled_at"].is_string())
            .await;
        self.endpoints.mend();
        uuid
    }

    /// Waits until the steady receiver has had this many requests.
    pub(crate) async fn taken(&self, requests: usize) {
        let receiver = &self.endpoints.steady.receiver;
        receiver
            .wait_until(|log| log.len() >= requests, PATIENCE)
            .await;
    }

    /// Looks at what is on record after a crash, through an API without a worker.
    pub(crate) async fn mark(&self) {
        let mut api = self.installation.starter("api", self.port).start().await;
        let mut mark = Mark {
            delivered: BTreeMap::new(),
            received: BTreeMap::new(),
        };
        for endpoint in self.endpoints.first() {
            let recorded = self
                .client
                .deliveries(self.uuid(endpoint.name), "delivered")
                .await;
            mark.delivered.insert(endpoint.name, recorded);
            mark.received
                .insert(endpoint.name, endpoint.receiver.count());
        }
        self.marks
            .lock()
            .expect("no panic holds this lock")
            .push(mark);
        api.kill().await;
    }

    /// How often a server has crashed.
    pub(crate) fn crashes(&self) -> usize {
        self.marks.lock().expect("no panic holds this lock").len()
    }

    /// Waits until everything has come to its end, and reconciles.
    pub(crate) async fn finish(
        mut self,
        mut server: Decnet,
        late: String,
        until: usize,
    ) -> Outcome {
        self.uuids.insert("late", late);
        for id in &self.replays {
            let job = self.client.replayed(id).await;
            assert_eq!(job["state"], "done", "{job}");
            assert_eq!(job["unavailable"], 0, "{job}");
        }
        let broken = self.uuid("broken");
        let path = format!("/api/v1/webhooks/{broken}");
        self.client
            .until(&path, "it recovers", |it| it["enabled"] == true)
            .await;
        let id = self.client.replay(broken, "dead").await;
        self.client.replayed(&id).await;
        for endpoint in self.endpoints.all() {
            self.settle(endpoint, until).await;
        }
        let never: BTreeSet<String> = (0..until)
            .filter(|n| is_never_accepted(*n))
            .map(event_id)
            .collect();
        let picky = self.uuid("picky");
        let path = format!("/api/v1/deliveries?subscription={picky}&status=retrying");
        let none = |page: &serde_json::Value| page["items"].as_array().is_some_and(Vec::is_empty);
        self.client.until(&path, "nothing is retried", none).await;
        let dead = self.client.deliveries(picky, "dead").await;
        assert_eq!(
            dead, never,
            "exactly what is never accepted is a dead letter"
        );
        assert!(server.terminate().await.success());
        self.reconcile(until, dead.len())
    }

    /// Waits until a receiver has taken everything it is owed, for as long as it goes on.
    async fn settle(&self, endpoint: &Endpoint, until: usize) {
        for id in owed(endpoint.name, until) {
            let missing = format!("{id} does not reach {}", endpoint.name);
            let begun = Instant::now();
            while !endpoint.has(&id) {
                assert!(begun.elapsed() < PATIENCE, "{missing}");
                sleep(PACE).await;
            }
        }
    }

    fn reconcile(&self, until: usize, dead: usize) -> Outcome {
        let mut reconciler = Reconciler::new();
        let mut again = 0;
        for endpoint in self.endpoints.all() {
            let log = endpoint.receiver.received();
            assert!(log.iter().all(webhook_testkit::Received::is_verified));
            for id in owed(endpoint.name, until) {
                reconciler.expect(endpoint.name, &id);
            }
            // Nobody published the pings that ask an endpoint before it is switched off.
            let mut events = log.clone();
            events.retain(|it| it.topic() != Some("test.ping"));
            reconciler.receive_all(endpoint.name, &events);
            if endpoint.name == "steady" {
                // What was delivered before is replayed.
                again = BEFORE;
            } else {
                self.check_marks(endpoint, &log);
            }
        }
        let report = reconciler.report();
        let crashes = self.crashes();
        report.assert_at_least_once(again + crashes * WINDOW * self.endpoints.all().len());
        let ordered = |of: &(String, String)| of.0 == "ordered";
        assert!(!report.out_of_order.iter().any(ordered), "{report}");
        Outcome {
            expected: report.expected,
            lost: report.lost.len(),
            duplicated: report.duplicated.len().saturating_sub(again),
            dead,
        }
    }

    /// What was on record as delivered at a crash never came again.
    fn check_marks(&self, endpoint: &Endpoint, log: &[webhook_testkit::Received]) {
        for mark in self.marks.lock().expect("no panic holds this lock").iter() {
            let Some(delivered) = mark.delivered.get(endpoint.name) else {
                continue;
            };
            for received in &log[mark.received[endpoint.name]..] {
                let id = received.event_id().unwrap_or_default();
                assert!(
                    !delivered.contains(id),
                    "{id} came again to {}",
                    endpoint.name
                );
            }
        }
    }
}

fn identity_id(n: usize) -> String {
    format!("identity-{n}")
}

fn decky_id(n: usize) -> String {
    format!("decky-{n}")
}

/// What a receiver is to have taken once everything has settled.
fn owed(name: &str, until: usize) -> Vec<String> {
    match name {
        "mover" => (0..until).step_by(OTHERS).map(identity_id).collect(),
        "late" => (BEFORE..until).step_by(OTHERS).map(decky_id).collect(),
        "picky" => (0..until)
            .filter(|n| !is_never_accepted(*n))
            .map(event_id)
            .collect(),
        _ => (0..until).map(event_id).collect(),
    }
}
