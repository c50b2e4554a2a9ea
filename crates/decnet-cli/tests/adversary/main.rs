//! Everybody is hostile at once, for as long as it runs: a publisher, a viewer, somebody without a token,
//! a member of the bus socket's group, the receivers of other subscriptions, and in the second test
//! DECNET's broker. Beside them one honest publisher has 100 events a second for one honest receiver.
//! It measures time, so it is a test binary of its own, beside which no other test runs.
//!
//! The attackers share the machine with what they attack, as they would not. They are paced, each by a
//! constant with its reason, and those of this process have one thread, so that it is not the attack's
//! own work that is measured.

mod broker;
mod honest;
mod member;
mod nobody;
mod publisher;
mod receivers;
mod report;
mod viewer;
mod wire;

/// Starting and ending servers, as the other tests of the binary do.
#[path = "../it"]
mod it {
    #[expect(dead_code, unused_imports, reason = "the other tests use the rest")]
    pub(crate) mod support;
}

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    runtime::{Builder, Runtime},
    sync::Mutex,
    time::{Instant, Interval, MissedTickBehavior, interval},
};
use webhook_testkit::{Behaviour, Broker, Log, Received, Receiver, Reconciler, long_or_short};

use it::support::{Decnet, Listen, PATIENCE, Starter, data_dir, run, succeeded};
use report::{Figures, Tally};

/// Seconds of the attack, where somebody wants other than the usual.
const SECONDS: &str = "ADVERSARY_SECONDS";
/// Who attacks, where somebody wants to see what a few of them do: names of modules, with commas.
const ATTACKERS: &str = "ADVERSARY_ATTACKERS";
/// What all publish that is to arrive at the honest receiver.
const TOPIC: &str = "attacker.observed";
/// What is to arrive at the hostile ones too. In a debug build, where a delivery takes several times as
/// long, it is a part of the honest events alone: a dozen receivers with all of them would be a measure
/// of throughput, which is another test's.
const SHARED: &str = "attacker.observed.shared";
const SHARED_OF: u32 = if cfg!(debug_assertions) { 5 } else { 1 };
/// What a sensor's token may publish, half of what the honest one has to say; ten seconds' worth, or a
/// thousand, may come at once.
const SENSOR_EVENTS: &str = "50";
/// Between two events of the honest publisher: 100 a second.
const HONEST: Duration = Duration::from_millis(10);
/// And of one at the attackers' address, about which nothing is promised: it is there to be seen.
const NEIGHBOUR: Duration = Duration::from_millis(100);

/// The promises, of the program as it is released.
const SLOWEST_OF_A_HUNDRED: Duration = Duration::from_secs(1);
const SLOWEST_PROBE: Duration = Duration::from_millis(200);
const MEMORY: u64 = 200 << 20;
/// An unoptimised build takes several times as long and holds more: of it, times are shown and not
/// judged, and this is the bound of its memory.
const IS_OPTIMISED: bool = cfg!(not(debug_assertions));
const MEMORY_UNOPTIMISED: u64 = 300 << 20;

/// One at a time: they measure time.
static TURN: Mutex<()> = Mutex::const_new(());

/// What the attackers of this process know.
#[derive(Clone)]
pub(crate) struct Foe {
    server: SocketAddr,
    sensors: Arc<[Box<str>]>,
    viewer: Arc<str>,
    tally: Tally,
}

/// Ticks that never catch up: what took long is not followed by a burst.
pub(crate) fn pace(every: Duration) -> Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute of attack: cargo xtask test --full"]
async fn the_honest_notice_nothing_of_attackers_at_every_door() {
    let _turn = TURN.lock().await;
    let dir = data_dir();
    let mut world = World::start(Starter::new("serve", dir.path()), dir.path()).await;
    let member =
        attacks("member").then(|| member::start(dir.path(), &world.foe.tally, attack_time()));
    world.run(Vec::new()).await;
    if let Some(member) = member {
        member.await.expect("the member's process is waited for");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute of attack: cargo xtask test --full"]
async fn the_honest_notice_nothing_of_attackers_and_a_hostile_broker() {
    let _turn = TURN.lock().await;
    let dir = data_dir();
    let broker = Arc::new(Broker::start(dir.path().join("broker.sock")).await);
    let url = format!("unix://{}", broker.path().display());
    let starter = Starter::new("serve", dir.path())
        .var("DECNET_BUS_URL", &url)
        .var("DECNET_WEBHOOK_TAKEOVER", "true");
    let mut world = World::start(starter, dir.path()).await;
    let attack = world
        .foes
        .spawn(broker::attack(broker, world.foe.tally.clone()));
    world.run(vec![attack]).await;
    world.end().await;
}

/// Whether those of this module attack.
fn attacks(module: &str) -> bool {
    std::env::var(ATTACKERS).map_or(true, |it| it.split(',').any(|it| it == module))
}

/// How long the attack takes.
fn attack_time() -> Duration {
    let wanted = std::env::var(SECONDS).ok();
    let seconds = wanted.map(|it| it.parse().expect("a number of seconds"));
    Duration::from_secs(seconds.unwrap_or_else(|| long_or_short(600, 60)))
}

/// A server, those who attack it, and the honest.
struct World {
    server: Decnet,
    honest: honest::Publisher,
    neighbour: honest::Publisher,
    receiver: Receiver,
    foes: Runtime,
    foe: Foe,
    _hostile: Vec<receivers::Hostile>,
    figures: Option<Figures>,
}

impl World {
    async fn start(starter: Starter, dir: &Path) -> Self {
        // This process holds the other ends.
        let (_, all) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, all, all).unwrap();
        let server = starter.start().await;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
        let receiver = Receiver::builder(Behaviour::ok())
            .secret(Listen::SECRET)
            .without_bodies()
            .start()
            .await;
        let foes = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let api = server.api().await;
        api.subscribe("honest", &receiver.url(), Listen::SECRET, &["attacker.>"])
            .await;
        let hostile = match attacks("receivers") {
            true => foes.spawn(receivers::start()).await.unwrap(),
            false => Vec::new(),
        };
        for it in &hostile {
            api.subscribe(it.name, &it.url, Listen::SECRET, &[SHARED])
                .await;
        }
        let mut sensors = Vec::new();
        for _ in 0..publisher::TOKENS {
            let limit = ["--events-per-second", SENSOR_EVENTS];
            sensors.push(token(dir, "publisher", &limit).await.into());
        }
        let foe = Foe {
            server: addr,
            sensors: sensors.into(),
            viewer: token(dir, "viewer", &[]).await.into(),
            tally: Tally::default(),
        };
        let honest = token(dir, "publisher", &["--topic", "attacker.>"]).await;
        let neighbour = token(dir, "publisher", &["--topic", "attacker.>"]).await;
        Self {
            server,
            honest: honest::Publisher::new("honest", addr, [127, 0, 0, 2], honest, HONEST),
            neighbour: honest::Publisher::new(
                "neighbour",
                addr,
                [127, 0, 0, 1],
                neighbour,
                NEIGHBOUR,
            ),
            receiver,
            foes,
            foe,
            _hostile: hostile,
            figures: None,
        }
    }

    /// Attacks for the whole time, with the honest beside.
    async fn run(&mut self, mut begun: Vec<tokio::task::JoinHandle<()>>) {
        if attacks("publisher") {
            begun.extend(publisher::attack(&self.foes, &self.foe));
        }
        if attacks("viewer") {
            begun.extend(viewer::attack(&self.foes, &self.foe));
        }
        if attacks("nobody") {
            begun.extend(nobody::attack(&self.foes, &self.foe));
        }
        let until = Instant::now() + attack_time();
        let machine = report::watch(self.server.pid(), until);
        let probing = honest::probe(self.foe.server, until);
        let (honest, neighbour, probes, machine) = tokio::join!(
            tokio::spawn(self.honest.clone().publish(until)),
            tokio::spawn(self.neighbour.clone().publish(until)),
            tokio::spawn(probing),
            tokio::spawn(machine),
        );
        for attack in begun {
            assert!(!attack.is_finished(), "an attack ended before its time");
            attack.abort();
        }
        self.figures = Some(Figures::new(
            honest.unwrap(),
            neighbour.unwrap(),
            probes.unwrap(),
            machine.unwrap(),
        ));
    }

    /// Waits for what is still under way, stops the server, and judges.
    async fn end(mut self) {
        let mut figures = self.figures.take().expect("it ran");
        let owed: Vec<String> = figures.accepted().cloned().collect();
        let missing = |log: &Log| owed.iter().filter(|id| log.times(id) == 0).count();
        let (mut left, mut since) = (usize::MAX, Instant::now());
        let mut looks = pace(Duration::from_millis(500));
        // What is late is late, and said so; lost is what does not come any more.
        while left > 0 && since.elapsed() < PATIENCE {
            looks.tick().await;
            let now = self.receiver.log(missing);
            if now < left {
                (left, since) = (now, Instant::now());
            }
        }
        let mut reconciler = Reconciler::new();
        owed.iter().for_each(|id| reconciler.expect("honest", id));
        self.receiver.log(|log| {
            let of_the_honest = |it: &&Received| figures.is_honest(it.event_id());
            reconciler.receive_all("honest", log.all().iter().filter(of_the_honest));
            figures.arrivals(log.all());
        });
        figures.peak_memory(self.server.pid());
        let report = reconciler.report();
        figures.print(&report, &self.foe.tally);
        self.foes.shutdown_background();
        let status = self.server.terminate().await;
        let log = self.server.log().all();
        let errors: Vec<_> = log.iter().filter(|line| line.contains("ERROR")).collect();
        println!("{} lines in the log, {} of errors", log.len(), errors.len());
        for line in errors.iter().take(10) {
            println!("  {line}");
        }

        assert!(report.lost.is_empty(), "{report}");
        figures.assert_kept();
        assert_eq!(self.foe.tally.get("orders taken"), 0, "{}", self.foe.tally);
        assert_eq!(status.code(), Some(0), "{log:#?}");
    }
}

/// A token of this role.
async fn token(dir: &Path, role: &str, more: &[&str]) -> String {
    let mut args = vec!["token", "create", "--role", role, "--name", "tester"];
    args.extend(more);
    succeeded(&run(dir, &args).await).trim().to_owned()
}
