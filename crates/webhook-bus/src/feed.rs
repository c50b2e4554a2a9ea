//! DECNET's socket protocol, the client's end: drains an existing DECNET broker into the journal, and
//! lets that broker's other clients have what is published here.
//!
//! That broker keeps nothing: what it sends while nobody listens is gone, and of a client that does
//! not read it drops the oldest of 1,024. So the feed reads whatever happens to the journal, and what
//! it cannot keep it counts and says. Only the process with the journal's lock runs a feed.
//!
//! A silent broker is a normal one, since events are rare at night. Nothing is asked of it to prove
//! that it is alive: a Unix socket does not lose its other end without the system saying so, and to
//! leave a broker that is merely stopped would lose what it has queued for us. What is not normal is
//! a frame that does not end.

mod away;
mod connection;
mod inbox;
pub(crate) mod incoming;
mod status;
mod takeover;
mod writing;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use webhook_model::TopicPattern;

use crate::{
    Bus, BusError, Journal,
    journal::{Follower, Hold},
    message::Origin,
    socket::{self, complaints::Complaints, journalling::Journalling},
};
use away::Away;
use connection::{Connection, Ended};
use inbox::Inbox;
use takeover::Gate;

pub use status::{FeedCounts, FeedStatus};

/// How a connection has to last, unless an event comes, before the outage before it counts as over:
/// a broker that accepts and hangs up must be neither asked all the time nor warned of.
const SETTLED: Duration = Duration::from_secs(5);

/// When what comes off the broker begins to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With the first event.
    AtOnce,
    /// With the first event after an order to stop for whichever worker has delivered so far. The
    /// feed gives that order, and finds its place among the events: what came before it is that
    /// worker's, what comes after it ours.
    AfterStop,
}

/// How to drain a broker.
#[derive(Debug, Clone)]
pub struct FeedConfig {
    /// The broker's socket.
    pub path: PathBuf,
    /// Longest pause between two attempts to connect, `DECNET_WEBHOOK_BUS_RECONNECT_SECS`. 60 s.
    pub longest_pause: Duration,
    /// When events begin to count. At once.
    pub begin: Begin,
    /// After an order to stop: how long the other worker must not have been heard to count as gone.
    /// 35 s, for DECNET's makes itself heard every 30 s.
    pub silence: Duration,
}

impl FeedConfig {
    /// The defaults named at each field.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            longest_pause: Duration::from_secs(60),
            begin: Begin::AtOnce,
            silence: Duration::from_secs(35),
        }
    }
}

/// A feed that is about to run.
#[derive(Debug)]
pub struct BrokerFeed {
    config: FeedConfig,
    journal: Journal,
    status: FeedStatus,
    origin: Origin,
    /// What goes the other way.
    follower: Follower,
    _hold: Hold,
}

impl BrokerFeed {
    /// What is published here from now on goes to the broker as well, once [`run`](Self::run) has
    /// found it.
    pub async fn new(bus: &Bus, config: FeedConfig) -> Result<Self, BusError> {
        let Bus::Journal(journal) = bus else {
            return Err(BusError::SocketWithoutJournal);
        };
        let hold = journal.hold().await?;
        let origin = socket::origin();
        let follower = Follower::new(journal.shared(), Some(origin));
        follower.subscribe(&everything(), 1);
        Ok(Self {
            config,
            journal: journal.clone(),
            status: FeedStatus::default(),
            origin,
            follower,
            _hold: hold,
        })
    }

    /// A window onto it.
    pub fn status(&self) -> FeedStatus {
        self.status.clone()
    }

    /// Feeds until `shutdown`, through any number of outages. `patterns` is what to subscribe to;
    /// nothing is connected to while it is empty. When this returns, what was received is in the
    /// journal, and what was published here is with the broker, if it reads.
    pub async fn run(
        self,
        mut patterns: watch::Receiver<Vec<TopicPattern>>,
        shutdown: CancellationToken,
    ) {
        let complaints = Arc::new(Complaints::default());
        let (inbox, queued) = Inbox::new(self.status.clone(), complaints.clone());
        let journalling = Journalling {
            journal: self.journal.clone(),
            origin: self.origin,
            from: "DECNET's broker",
            complaints: &complaints,
            shutdown: &shutdown,
        };
        let feeding = async {
            let known = patterns.wait_for(|patterns| !patterns.is_empty());
            let known = tokio::select! {
                () = shutdown.cancelled() => false,
                known = known => known.is_ok(),
            };
            if known {
                self.feed(inbox, patterns, &complaints, &shutdown).await;
            }
        };
        tokio::join!(feeding, journalling.run(queued));
    }

    async fn feed(
        &self,
        inbox: Inbox,
        mut patterns: watch::Receiver<Vec<TopicPattern>>,
        complaints: &Complaints,
        shutdown: &CancellationToken,
    ) {
        let path = self.config.path.display();
        let gate = Gate::new(&self.config);
        let mut away = Away::new(self.config.longest_pause);
        while !shutdown.is_cancelled() {
            let connected = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                connected = Connection::open(&self.config.path) => connected,
            };
            let ended = match connected {
                Ok(connection) => {
                    let feeding = connection::Feeding {
                        inbox: &inbox,
                        follower: &self.follower,
                        gate: &gate,
                        status: &self.status,
                        complaints,
                        path: &self.config.path,
                    };
                    let since = Instant::now();
                    let before = self.status.counts().received;
                    let ended = connection.serve(feeding, &mut patterns, shutdown).await;
                    self.status.set_connected(false);
                    let heard = self.status.counts().received > before;
                    if heard || since.elapsed() >= SETTLED {
                        away.over();
                    }
                    ended
                }
                Err(error) => Ended::Unreachable(error),
            };
            if matches!(ended, Ended::Orderly) || shutdown.is_cancelled() {
                return;
            }
            if away.is_new() {
                tracing::warn!(
                    error = %ended,
                    "no connection to DECNET's broker at {path}: what it carries meanwhile is lost; trying again until it is back"
                );
                self.status.count_outage();
            }
            let pause = away.pause(Instant::now());
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }
}

fn everything() -> TopicPattern {
    TopicPattern::parse(">").expect("a valid pattern")
}
