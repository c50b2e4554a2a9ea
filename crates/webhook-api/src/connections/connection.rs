//! One connection, as the registry and its requests see it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::{Duration, Instant},
};

/// How long a client may leave an answer unread before its connection counts as of no use.
const UNREAD_GRACE: Duration = Duration::from_secs(1);
/// How long a request may be on its way, the first or the next; until then others give way first.
const ASKING_GRACE: Duration = Duration::from_secs(1);
/// Bytes a second at which a client reads on any link; who reads slower counts as not reading.
const LEAST_RATE: f64 = 8192.0;

/// Who gives way first, when connections are of equal age: a lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// Silent for longer than a request takes to come.
    None,
    /// New, and its first request may be on its way.
    New,
    /// Answered a moment ago, and its next request may be on its way.
    Kept,
}

/// Why a connection is ended by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Another one needed the room.
    GaveWay,
    /// Its client took too long.
    TooSlow,
    /// The server stops.
    Drained,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) id: u64,
    pub(super) peer: SocketAddr,
    /// What counts as its address.
    pub(super) address: IpAddr,
    /// Whether it is beyond the limits, and so for probes alone.
    pub(crate) for_probes: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Those that are being answered.
    requests: usize,
    /// Whether there was one.
    was_answered: bool,
    /// Whether something that they answered may not be written yet.
    is_answering: bool,
    /// When the last one was answered, or the connection made.
    idle_since: Instant,
    /// When the client began not to read. What it reads moves this on.
    unread_since: Option<Instant>,
    ends_when_idle: bool,
    ended: Option<Ended>,
    waker: Option<Waker>,
}

/// A request that is being answered.
pub(crate) struct Request(Arc<Connection>);

impl Drop for Request {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests -= 1;
        state.was_answered = true;
        state.idle_since = Instant::now();
    }
}

impl Connection {
    pub(super) fn new(
        id: u64,
        peer: SocketAddr,
        address: IpAddr,
        for_probes: bool,
        now: Instant,
    ) -> Self {
        Self {
            id,
            peer,
            address,
            for_probes,
            state: Mutex::new(State {
                requests: 0,
                was_answered: false,
                is_answering: false,
                idle_since: now,
                unread_since: None,
                ends_when_idle: false,
                ended: None,
                waker: None,
            }),
        }
    }

    /// A request begins.
    pub(crate) fn request(self: &Arc<Self>) -> Request {
        let mut state = self.state();
        state.requests += 1;
        state.is_answering = true;
        Request(Arc::clone(self))
    }

    /// How long nobody has had any use of it; none while somebody has.
    pub(super) fn useless_for(&self, now: Instant) -> Option<Duration> {
        let state = self.state();
        if let Some(since) = state.unread_since {
            return Some(now.saturating_duration_since(since)).filter(|it| *it >= UNREAD_GRACE);
        }
        let is_idle = state.requests == 0 && !state.is_answering;
        is_idle.then(|| now.saturating_duration_since(state.idle_since))
    }

    /// What it has to say for itself while it is idle.
    pub(super) fn claim(&self, now: Instant) -> Claim {
        let state = self.state();
        if state.unread_since.is_some() || now >= state.idle_since + ASKING_GRACE {
            Claim::None
        } else if state.was_answered {
            Claim::Kept
        } else {
            Claim::New
        }
    }

    /// Whether its client took too long to send a request or to read an answer.
    pub(super) fn is_late(&self, now: Instant, idle: Duration, unread: Duration) -> bool {
        let state = self.state();
        match state.unread_since {
            Some(since) => now > since + unread,
            None => state.requests == 0 && now > state.idle_since + idle,
        }
    }

    /// Ends it, whatever it does.
    pub(super) fn end(&self, why: Ended) {
        let waker = {
            let mut state = self.state();
            state.ended.get_or_insert(why);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends it now or with what it is answering.
    pub(super) fn end_when_idle(&self) {
        let is_idle = {
            let mut state = self.state();
            state.ends_when_idle = true;
            state.requests == 0 && !state.is_answering
        };
        if is_idle {
            self.end(Ended::Drained);
        }
    }

    /// Why it is to end.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.state().ended
    }

    /// Whether what is written may be the answer to a request, and not what the server says by itself.
    pub(super) fn is_answering(&self) -> bool {
        self.state().is_answering
    }

    /// Its client sends nothing.
    pub(super) fn waits(&self, waker: &Waker) {
        self.state().wake_later(waker);
    }

    /// Its client does not read.
    pub(super) fn stalls(&self, waker: &Waker) {
        let mut state = self.state();
        state.unread_since.get_or_insert_with(Instant::now);
        state.wake_later(waker);
    }

    /// Its client has read that much.
    pub(super) fn progresses(&self, bytes: usize) {
        let mut state = self.state();
        if let Some(since) = state.unread_since {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a socket's buffer has a few MiB"
            )]
            let earned = Duration::from_secs_f64(bytes as f64 / LEAST_RATE);
            state.unread_since = Some((since + earned).min(Instant::now()));
        }
    }

    /// All that there was to write is written.
    pub(super) fn flushed(&self) {
        let mut state = self.state();
        state.unread_since = None;
        if state.requests == 0 {
            state.is_answering = false;
            if state.ends_when_idle {
                state.ended.get_or_insert(Ended::Drained);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake_later(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }
}
