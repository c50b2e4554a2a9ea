//! A consumer against a model of it, through random lives.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::time::timeout;
use webhook_bus::{Acker, Bus, BusError, Consumer, Journal, Role};
use webhook_testkit::NatsServer;

use crate::{
    jetstream::support as jetstream,
    support::{config, consume, drain, open, pattern, publish, seqs},
};

/// What a bus had when it was closed comes before a server's patience for it, 30 s, ends.
const GIVEN_BACK: Duration = Duration::from_secs(20);

/// Where the events are.
enum Place {
    Journal(TempDir),
    JetStream(NatsServer),
}

impl Place {
    /// What takes; the journal's ring is overrun all the time.
    async fn worker(&self) -> Bus {
        match self {
            Self::Journal(dir) => {
                let mut config = config(dir.path(), Role::Worker);
                config.ring_events = 50;
                let unlocked = async {
                    loop {
                        // A server that another test starts has a copy of the lock until it runs.
                        match Journal::open(config.clone()).await {
                            Err(BusError::Locked(_)) => tokio::task::yield_now().await,
                            opened => return opened.unwrap().into(),
                        }
                    }
                };
                timeout(jetstream::PATIENCE, unlocked).await.unwrap()
            }
            Self::JetStream(server) => jetstream::open(jetstream::config(server)).await,
        }
    }

    /// Another process.
    async fn appender(&self) -> Bus {
        match self {
            Self::Journal(dir) => open(dir.path(), Role::Appender).await,
            Self::JetStream(_) => self.worker().await,
        }
    }

    /// Whether it keeps to itself what it fetched and nobody took. A server hands that out again
    /// like what somebody had, and what comes again among what is new.
    fn is_ours(&self) -> bool {
        matches!(self, Self::Journal(_))
    }
}

#[derive(Debug, Clone)]
enum Act {
    /// By this process or another one: so many that match, or that do not.
    Publish {
        here: bool,
        matching: bool,
        count: usize,
    },
    Take(usize),
    /// The n-th of what is out.
    Ack(usize),
    Release(usize),
    /// Close and open again; acknowledge the n-th of what was out afterwards, or in between on a
    /// server, which might have handed it out once more.
    Reopen(Option<usize>),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (any::<bool>(), any::<bool>(), 1_usize..60).prop_map(|(here, matching, count)| {
            Act::Publish { here, matching, count }
        }),
        4 => (1_usize..40).prop_map(Act::Take),
        6 => (0_usize..50).prop_map(Act::Ack),
        1 => (0_usize..50).prop_map(Act::Release),
        1 => proptest::option::of(0_usize..50).prop_map(Act::Reopen),
        1 => Just(Act::Restart),
    ]
}

#[derive(Debug, Default)]
struct Model {
    matching: BTreeSet<u64>,
    acked: BTreeSet<u64>,
    out: BTreeSet<u64>,
    /// Handed out in this life.
    seen: BTreeSet<u64>,
    released: BTreeSet<u64>,
    /// Handed out in any life, and the last of those that nobody had had.
    ever_seen: BTreeSet<u64>,
    newest: Option<u64>,
}

impl Model {
    fn nth_out(&self, n: usize) -> Option<u64> {
        self.out.iter().nth(n % self.out.len().max(1)).copied()
    }

    /// On a server, through all lives: nobody has it, and who may have had it is told.
    fn took_of_server(&mut self, seq: u64, redelivered: bool) {
        self.may_come(seq);
        assert!(!self.out.contains(&seq), "{seq} is out");
        let again = !self.ever_seen.insert(seq);
        assert!(redelivered || !again, "{seq} was out before");
        if !redelivered {
            let before = self.newest.replace(seq);
            assert!(before < Some(seq), "{seq} came after {before:?}");
        }
        self.out.insert(seq);
    }

    fn may_come(&self, seq: u64) {
        assert!(self.matching.contains(&seq), "{seq} does not match");
        assert!(!self.acked.contains(&seq), "{seq} was acknowledged");
    }

    fn took(&mut self, seq: u64, redelivered: bool) {
        self.may_come(seq);
        assert_eq!(self.released.remove(&seq), redelivered, "{seq}");
        let again = !self.seen.insert(seq);
        assert_eq!(again, redelivered, "{seq} was out before");
        if !again {
            let skipped = self
                .matching
                .range(..seq)
                .find(|it| !self.seen.contains(it) && !self.acked.contains(it));
            assert_eq!(skipped, None, "{seq} came before it");
        }
        self.out.insert(seq);
    }

    fn new_life(&mut self) {
        self.out.clear();
        self.seen.clear();
        self.released.clear();
    }
}

struct Run {
    place: Place,
    bus: Bus,
    appender: Bus,
    consumer: Option<Consumer>,
    model: Model,
}

impl Run {
    async fn new(place: Place) -> Self {
        let bus = place.worker().await;
        Self {
            appender: place.appender().await,
            consumer: Some(consume(&bus, "c", "a.*").await),
            bus,
            place,
            model: Model::default(),
        }
    }

    fn acker(&self) -> Acker {
        self.consumer.as_ref().unwrap().acker()
    }

    async fn ack(&mut self, acker: &Acker, n: usize) {
        if let Some(seq) = self.model.nth_out(n) {
            acker.ack(seq).await;
            self.model.out.remove(&seq);
            self.model.acked.insert(seq);
        }
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Publish {
                here,
                matching,
                count,
            } => {
                let bus = if here { &self.bus } else { &self.appender };
                let topic = if matching { "a.b" } else { "b.b" };
                let seqs = publish(bus, topic, count).await;
                if matching {
                    self.model.matching.extend(seqs);
                }
            }
            Act::Take(max) => {
                let consumer = self.consumer.as_mut().unwrap();
                let messages = consumer.take(max).await.unwrap();
                assert!(messages.len() <= max);
                for message in messages {
                    let (seq, redelivered) = (message.seq, message.redelivered);
                    if self.place.is_ours() {
                        self.model.took(seq, redelivered);
                    } else {
                        self.model.took_of_server(seq, redelivered);
                    }
                }
            }
            Act::Ack(n) => {
                let acker = self.acker();
                self.ack(&acker, n).await;
            }
            Act::Release(n) => {
                if let Some(seq) = self.model.nth_out(n) {
                    self.consumer.as_ref().unwrap().release(seq);
                    self.model.out.remove(&seq);
                    self.model.released.insert(seq);
                }
            }
            Act::Reopen(late) => {
                let acker = self.acker();
                self.consumer = None;
                let (between, after) = if self.place.is_ours() {
                    (None, late)
                } else {
                    (late, None)
                };
                if let Some(n) = between {
                    self.ack(&acker, n).await;
                }
                self.consumer = Some(consume(&self.bus, "c", "a.*").await);
                if let Some(n) = after {
                    self.ack(&acker, n).await;
                }
                self.model.new_life();
            }
            Act::Restart => {
                self.consumer = None;
                self.bus.clone().close().await.unwrap();
                self.bus = self.place.worker().await;
                self.consumer = Some(consume(&self.bus, "c", "a.*").await);
                self.model.new_life();
            }
        }
    }

    /// Everything that was not acknowledged comes, once.
    async fn finish(mut self) {
        let unacked: Vec<u64> = self
            .model
            .matching
            .difference(&self.model.acked)
            .copied()
            .collect();
        self.bus.flush().await.unwrap();
        let pending = self.bus.pending("c", &pattern("a.*").into()).await.unwrap();
        assert_eq!(pending, unacked.len() as u64);
        self.act(Act::Restart).await;
        let end = self.bus.position().await.unwrap().next_seq - 1;
        let draining = drain(self.consumer.as_mut().unwrap(), end);
        let found = timeout(GIVEN_BACK, draining).await.expect("given back");
        let mut found = seqs(&found);
        if !self.place.is_ours() {
            found.sort_unstable();
        }
        assert_eq!(found, unacked);
        self.bus.flush().await.unwrap();
        assert_eq!(
            self.bus.pending("c", &pattern("a.*").into()).await.unwrap(),
            0
        );
    }
}

fn live(acts: Vec<Act>, place: impl AsyncFnOnce() -> Place) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut run = Run::new(place().await).await;
        for act in acts {
            run.act(act).await;
        }
        run.finish().await;
    });
}

proptest! {
    // Each case opens files and commits; the default number would take a minute.
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_lost_or_doubled(acts in proptest::collection::vec(act(), 1..60)) {
        live(acts, async || Place::Journal(tempfile::tempdir().unwrap()));
    }
}

proptest! {
    // Each case starts a server, and waits where nothing is there.
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 20, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_lost_or_doubled_on_jetstream(acts in proptest::collection::vec(act(), 1..60)) {
        live(acts, async || Place::JetStream(NatsServer::start().await));
    }
}
