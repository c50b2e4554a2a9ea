//! A consumer against a model of it, through random lives.

use std::collections::BTreeSet;

use proptest::prelude::*;
use webhook_bus::{Acker, Bus, Consumer, Journal, Role};

use crate::support::{config, consume, drain, open, pattern, publish, seqs};

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
    /// Acknowledge the n-th of what is out after closing and opening again.
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
}

impl Model {
    fn nth_out(&self, n: usize) -> Option<u64> {
        self.out.iter().nth(n % self.out.len().max(1)).copied()
    }

    fn took(&mut self, seq: u64, redelivered: bool) {
        assert!(self.matching.contains(&seq), "{seq} does not match");
        assert!(!self.acked.contains(&seq), "{seq} was acknowledged");
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
    dir: tempfile::TempDir,
    bus: Bus,
    appender: Bus,
    consumer: Option<Consumer>,
    model: Model,
}

impl Run {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bus = worker(dir.path()).await;
        Self {
            appender: open(dir.path(), Role::Appender).await,
            consumer: Some(consume(&bus, "c", "a.*").await),
            bus,
            dir,
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
                    self.model.took(message.seq, message.redelivered);
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
                self.consumer = Some(consume(&self.bus, "c", "a.*").await);
                if let Some(n) = late {
                    self.ack(&acker, n).await;
                }
                self.model.new_life();
            }
            Act::Restart => {
                self.consumer = None;
                self.bus.clone().close().await.unwrap();
                self.bus = worker(self.dir.path()).await;
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
        let pending = self.bus.pending("c", &pattern("a.*").into()).await.unwrap();
        assert_eq!(pending, unacked.len() as u64);
        self.act(Act::Restart).await;
        let end = self.bus.position().await.unwrap().next_seq - 1;
        let found = drain(self.consumer.as_mut().unwrap(), end).await;
        assert_eq!(seqs(&found), unacked);
        assert_eq!(
            self.bus.pending("c", &pattern("a.*").into()).await.unwrap(),
            0
        );
    }
}

/// With a ring that is overrun all the time.
async fn worker(dir: &std::path::Path) -> Bus {
    let mut config = config(dir, Role::Worker);
    config.ring_events = 50;
    Journal::open(config).await.unwrap().into()
}

proptest! {
    // Each case opens files and commits; the default number would take a minute.
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_lost_or_doubled(acts in proptest::collection::vec(act(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new().await;
            for act in acts {
                run.act(act).await;
            }
            run.finish().await;
        });
    }
}
