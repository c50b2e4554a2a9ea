//! The guardian on real tables, against operators, restarts and a database that goes away.

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tempfile::TempDir;
use tokio::runtime::Runtime as Tokio;
use webhook_delivery::EndpointVerdict;
use webhook_model::{EndpointUrl, Secret, Settings, State, SubscriptionName, TopicPattern};
use webhook_store::{DatabaseConfig, NewSubscription, Position, SubscriptionPatch};

use super::*;
use crate::{
    announcer,
    crew::Share,
    gate::{Asking, Pass},
    prober,
    slots::SlotPool,
};

const THRESHOLD: u32 = 3;
/// As good as any; see [`Play::tick`].
const COOL_DOWN: Duration = Duration::from_secs(30);
/// Rounds within which a healthy receiver must have its subscription back.
const ROUNDS: usize = 3;

/// What may happen, in any order.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// So many rounds have failed in a row; told of the current version, or of an earlier one.
    Failures {
        count: u32,
        answered: bool,
        stale: bool,
    },
    Gone {
        stale: bool,
    },
    /// Whoever is offered a probe takes it.
    Probe {
        result: Probe,
    },
    /// Whoever is offered one finds nothing to send.
    NothingToProbe,
    /// The operator's word.
    Enable(bool),
    /// The operator's word in DECNET's dashboard, which writes the row alone.
    EnableByRow,
    /// The operator changes something else.
    Rename,
    Reload,
    /// Time passes until something is due.
    Tick,
    Restart,
}

/// Mostly what leads somewhere.
fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (THRESHOLD - 1..=THRESHOLD, any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(count, answered, stale)| Event::Failures { count, answered, stale }),
        1 => prop::bool::weighted(0.1).prop_map(|stale| Event::Gone { stale }),
        5 => prop_oneof![
            4 => Just(Probe::Taken),
            2 => Just(refused(Manner::Answers)),
            2 => Just(refused(Manner::Silent)),
            1 => Just(Probe::Nothing),
            1 => Just(Probe::Gone),
        ]
        .prop_map(|result| Event::Probe { result }),
        1 => Just(Event::NothingToProbe),
        1 => any::<bool>().prop_map(Event::Enable),
        1 => Just(Event::EnableByRow),
        1 => Just(Event::Rename),
        2 => Just(Event::Reload),
        5 => Just(Event::Tick),
        1 => Just(Event::Restart),
    ]
}

/// An installation whose worker is a guardian alone.
struct World {
    store: Store,
    /// The same database, closed: what a database that is away looks like.
    away: Store,
    path: std::path::PathBuf,
    _dir: TempDir,
}

fn ended(probe: Probe) -> Probed {
    Probed::Ended {
        probe,
        error: "503".to_owned(),
    }
}

/// One subscription's life.
struct Play<'a> {
    world: &'a World,
    guardian: Guardian,
    asked: mpsc::Receiver<Question>,
    uuid: String,
    paused_by_operator: bool,
    renamed: u32,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("decnet.db");
        let url = format!("sqlite://{}", path.display());
        let config = DatabaseConfig::new(url);
        let store = Store::open(&config).await.unwrap();
        let away = Store::open(&config).await.unwrap();
        away.close().await.unwrap();
        Self {
            store,
            away,
            path,
            _dir: dir,
        }
    }

    fn guardian(&self) -> (Guardian, mpsc::Receiver<Question>) {
        let (questions, asked) = prober::channel();
        let guardian = Guardian {
            store: self.store.clone(),
            announcements: announcer::channel().0,
            directory: Directory::default(),
            policy: Policy {
                threshold: THRESHOLD,
                cool_down: COOL_DOWN,
                answering_cool_down: COOL_DOWN / 10,
                control_ping: true,
            },
            reload: Arc::default(),
            owner: "the worker".to_owned(),
            counters: Arc::default(),
            questions,
            wards: Wards::default(),
        };
        (guardian, asked)
    }
}

fn refused(manner: Manner) -> Probe {
    Probe::Refused {
        manner,
        not_before: None,
    }
}

fn position() -> Position {
    Position {
        incarnation: "bus".to_owned(),
        next_seq: 1,
    }
}

impl<'a> Play<'a> {
    async fn new(world: &'a World) -> Self {
        let name = uuid::Uuid::new_v4().to_string();
        let new = NewSubscription {
            name: SubscriptionName::parse(&name).unwrap(),
            url: EndpointUrl::parse("https://siem.example/").unwrap(),
            secret: Secret::generate(),
            topic_patterns: vec![TopicPattern::parse("attacker.>").unwrap()],
            settings: Settings::default(),
            enabled: true,
        };
        let made = world.store.create(new, &position()).await.unwrap();
        let (guardian, asked) = world.guardian();
        let mut play = Self {
            world,
            guardian,
            asked,
            uuid: made.uuid,
            paused_by_operator: false,
            renamed: 0,
        };
        play.reload().await;
        play
    }

    /// The subscription as the table has it.
    async fn view(&self) -> SubscriptionView {
        let snapshot = self.world.store.snapshot().await.unwrap();
        let mut views = snapshot.subscriptions.into_iter();
        views.find(|it| it.subscription.uuid == self.uuid).unwrap()
    }

    /// As the supervisor does it.
    async fn reload(&mut self) {
        let views = vec![self.view().await];
        let pool = SlotPool::new(1, usize::MAX, Arc::default());
        let directory = &self.guardian.directory;
        directory.update(&views, Share::WHOLE, || pool.subscription());
        self.guardian.hear(Notice::Reloaded(views)).await;
    }

    fn runtime(&self) -> Arc<Runtime> {
        self.guardian.directory.get(&self.uuid).unwrap()
    }

    fn epoch(&self, stale: bool) -> i64 {
        self.runtime().current().epoch - i64::from(stale)
    }

    async fn probed(&mut self, result: Probed) {
        let uuid = self.uuid.clone();
        if let Ok(Question { epoch, ask, .. }) = self.asked.try_recv() {
            let notice = match ask {
                Ask::Control => Notice::Controlled {
                    uuid,
                    epoch,
                    result,
                },
                Ask::Ping | Ask::Newest => Notice::Probed {
                    uuid,
                    epoch,
                    result,
                },
            };
            return self.guardian.hear(notice).await;
        }
        let runtime = self.runtime();
        let asking = Asking::Rows {
            patience: Duration::ZERO,
        };
        let offered = runtime.gate.offers_rows(Duration::ZERO);
        if offered && runtime.gate.try_enter(asking) == Some(Pass::Probe) {
            let epoch = runtime.probing.epoch();
            let probed = Notice::Probed {
                uuid,
                epoch,
                result,
            };
            self.guardian.hear(probed).await;
        }
    }

    /// The clock cannot be moved, but what is due can.
    async fn tick(&mut self) {
        for ward in self.guardian.wards.0.values_mut() {
            if matches!(ward.breaker.phase, Phase::Tripped { .. }) {
                ward.breaker = ward.breaker.deferred(UtcTime::now());
            }
        }
        self.guardian.tick().await;
    }

    /// As DECNET does it: no epoch moves.
    fn enable_by_row(&self) {
        let decnet = rusqlite::Connection::open(&self.world.path).unwrap();
        decnet.busy_timeout(Duration::from_secs(5)).unwrap();
        let update = "UPDATE webhook_subscriptions SET enabled = 1, auto_disabled_at = NULL, \
                      consecutive_failures = 0, last_error = NULL WHERE uuid = ?1";
        assert_eq!(decnet.execute(update, [&self.uuid]).unwrap(), 1);
    }

    async fn patch(&mut self, patch: SubscriptionPatch) {
        let store = &self.world.store;
        store.patch(&self.uuid, patch, &position()).await.unwrap();
    }

    /// It happens while nothing can be written; then there is no restart and no reload, either.
    async fn happen_in_vain(&mut self, event: Event) {
        self.guardian.store = self.world.away.clone();
        if !matches!(event, Event::Reload | Event::Restart) {
            self.happen(event).await;
        }
        self.guardian.store = self.world.store.clone();
    }

    async fn happen(&mut self, event: Event) {
        let uuid = self.uuid.clone();
        match event {
            Event::Failures {
                count,
                answered,
                stale,
            } => {
                let endpoint = if answered {
                    EndpointVerdict::Answers
                } else {
                    EndpointVerdict::Silent
                };
                let error = Some("http 500".to_owned());
                self.runtime().streak.note(endpoint, error);
                let epoch = self.epoch(stale);
                let notice = Notice::Failures { uuid, epoch, count };
                self.guardian.hear(notice).await;
            }
            Event::Gone { stale } => {
                let (epoch, error) = (self.epoch(stale), "410".to_owned());
                let notice = Notice::Gone { uuid, epoch, error };
                self.guardian.hear(notice).await;
            }
            Event::Probe { result } => self.probed(ended(result)).await,
            Event::NothingToProbe => self.probed(Probed::Released).await,
            Event::Enable(enabled) => {
                self.paused_by_operator = !enabled;
                self.patch(SubscriptionPatch {
                    enabled: Some(enabled),
                    ..SubscriptionPatch::default()
                })
                .await;
            }
            Event::EnableByRow => {
                self.paused_by_operator = false;
                self.enable_by_row();
            }
            Event::Rename => {
                self.renamed += 1;
                let name = format!("{} {}", &uuid[..8], self.renamed);
                self.patch(SubscriptionPatch {
                    name: Some(SubscriptionName::parse(&name).unwrap()),
                    ..SubscriptionPatch::default()
                })
                .await;
            }
            Event::Reload => self.reload().await,
            Event::Restart => {
                (self.guardian, self.asked) = self.world.guardian();
                self.reload().await;
            }
            Event::Tick => self.tick().await,
        }
    }

    /// Nobody but an operator pauses a subscription, and nobody but an operator ends that.
    async fn check(&self, event: Event) {
        let state = self.view().await.subscription.state;
        let paused = state == State::Paused;
        assert_eq!(paused, self.paused_by_operator, "{event:?}: {state:?}");
        if matches!(event, Event::Reload | Event::Restart) {
            let gate = &self.runtime().gate;
            assert!(!gate.is_open() || state == State::Active, "{event:?}");
        }
    }

    /// From here on the receiver is well and the database is there. An operator's help is needed
    /// only by what waits for an operator.
    async fn recover(&mut self) {
        self.reload().await;
        let view = self.view().await;
        let given_up = view.breaker.probe_at.is_none();
        match view.subscription.state {
            State::Active => {}
            State::Tripped { .. } if !given_up => {}
            State::Paused | State::Tripped { .. } => self.happen(Event::Enable(true)).await,
        }
        for _ in 0..ROUNDS {
            self.reload().await;
            let active = self.view().await.subscription.state == State::Active;
            // A test ping may still be on its way.
            if active && self.runtime().gate.is_open() {
                return;
            }
            self.tick().await;
            self.probed(ended(Probe::Taken)).await;
        }
        panic!("stuck: {:?}", self.view().await);
    }
}

#[test]
fn whatever_happens_it_recovers_and_the_operator_is_obeyed() {
    let tokio = Tokio::new().unwrap();
    let world = tokio.block_on(World::new());
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::with_cases(40)
    });
    // One in four meets a database that is away.
    let events = prop::collection::vec((event(), prop::bool::weighted(0.25)), 0..20);
    let played = runner.run(&events, |events| {
        tokio.block_on(async {
            let mut play = Play::new(&world).await;
            for (event, in_vain) in events {
                if in_vain {
                    play.happen_in_vain(event).await;
                } else {
                    play.happen(event).await;
                    play.check(event).await;
                }
            }
            play.recover().await;
        });
        Ok(())
    });
    played.unwrap();
}
