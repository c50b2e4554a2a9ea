//! One connection, as the registry and its requests see it.

use std::{
    collections::HashMap,
    io::ErrorKind,
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    task::Waker,
    time::{Duration, Instant},
};

use socket2::SockRef;
use tokio::net::TcpStream;

/// How long a client may leave an answer unread before its connection counts as of no use.
const UNREAD_GRACE: Duration = Duration::from_secs(1);
/// How long a request may be on its way, the first or the next; until then others give way first.
const ASKING_GRACE: Duration = Duration::from_secs(1);
/// Bytes a second at which a client reads on any link; who reads slower counts as not reading.
const LEAST_RATE: f64 = 8192.0;

/// How long a client takes from connecting to asking, on a machine that is busy. Where many connect
/// and say nothing, most of them have been there for longer.
const PROMPT: Duration = Duration::from_millis(20);
/// Connections that the holders of one token may keep between two requests; beyond that they are
/// as good as anybody's.
const PER_TOKEN: usize = 32;
/// What is read at a time of a body whose length is known, and of one that its handler does not want
/// (yet): small ones are read all the same, so that the connection can be kept.
const BODY_READ_BYTES: usize = 8 << 10;
/// What is read at a time of a body whose length is not known: what follows it may be requests, which
/// would each take a hundred times their size.
const CHUNK_READ_BYTES: usize = 1 << 10;

/// What may be read from a client now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MayRead {
    /// Nothing: an answer is being made or written, and what follows would only be kept in memory.
    Nothing,
    /// The head of a request, to its end.
    Head,
    /// So much of a body.
    Body(usize),
}

/// Who gives way first, however old the connections are: a lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// Silent for longer than a request takes to come, or its client does not read.
    None,
    /// Its client has not read for a moment.
    Unread,
    /// New, and its first request may be on its way.
    New,
    /// Answered a moment ago, and its next request may be on its way; or so new that its client has
    /// hardly had the time to ask.
    Kept,
    /// A part of its request has come.
    Asking,
    /// Silent, but whoever has it showed a token.
    Known,
    /// Answered a moment ago to whoever showed a token.
    KnownKept,
    /// A part of its request has come from whoever showed a token before.
    KnownAsking,
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
    socket: OnceLock<Weak<TcpStream>>,
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
    /// Whether the body of one of them is being read.
    is_reading_body: bool,
    /// Since when a part of the next one has come.
    asking_since: Option<Instant>,
    /// Bytes of its body that have been read.
    body_bytes: usize,
    /// How many it has, where that is known.
    body_length: Option<usize>,
    /// Since when its client sends nothing of a body that is being read.
    body_late_since: Option<Instant>,
    /// The token that the last one showed.
    token: Option<Arc<str>>,
    /// When the last one was answered, or the connection made.
    idle_since: Instant,
    /// When the client began not to read. What it reads moves this on.
    unread_since: Option<Instant>,
    ends_when_idle: bool,
    ended: Option<Ended>,
    waker: Option<Waker>,
}

/// A request that is being answered: until the last of its answer is in actix's hands.
pub(crate) struct Request(Arc<Connection>);

/// A request whose body is being read.
pub(crate) struct BodyBeingRead(Arc<Connection>);

impl Drop for BodyBeingRead {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_reading_body = false;
        state.body_late_since = None;
    }
}

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
            socket: OnceLock::new(),
            state: Mutex::new(State {
                requests: 0,
                was_answered: false,
                is_answering: false,
                is_reading_body: false,
                asking_since: None,
                body_bytes: 0,
                body_length: Some(0),
                body_late_since: None,
                token: None,
                idle_since: now,
                unread_since: None,
                ends_when_idle: false,
                ended: None,
                waker: None,
            }),
        }
    }

    /// What it reads from and writes to.
    pub(super) fn is_on(&self, socket: &Arc<TcpStream>) {
        let _ = self.socket.set(Arc::downgrade(socket));
    }

    /// A request begins whose body has that length, if its head tells.
    pub(crate) fn request(self: &Arc<Self>, body: Option<usize>) -> Request {
        let mut state = self.state();
        state.requests += 1;
        state.is_answering = true;
        state.asking_since = None;
        state.body_bytes = 0;
        state.body_length = body;
        Request(Arc::clone(self))
    }

    /// The request showed this token.
    pub(crate) fn is_known(&self, jti: &str) {
        let mut state = self.state();
        if state.token.as_deref() != Some(jti) {
            state.token = Some(jti.into());
        }
    }

    /// The request's body is wanted from now on.
    pub(crate) fn reads_body(self: &Arc<Self>) -> BodyBeingRead {
        let waker = {
            let mut state = self.state();
            state.is_reading_body = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        BodyBeingRead(Arc::clone(self))
    }

    pub(super) fn may_read(&self) -> MayRead {
        let state = self.state();
        if !state.is_answering {
            return MayRead::Head;
        }
        let bytes = match state.body_length {
            Some(length) => {
                let unwanted = BODY_READ_BYTES.saturating_sub(state.body_bytes);
                let wanted = if state.is_reading_body {
                    BODY_READ_BYTES
                } else {
                    unwanted
                };
                wanted.min(length.saturating_sub(state.body_bytes))
            }
            None if state.is_reading_body => CHUNK_READ_BYTES,
            None => 0,
        };
        if bytes == 0 {
            MayRead::Nothing
        } else {
            MayRead::Body(bytes)
        }
    }

    /// A part of a request's head was read.
    pub(super) fn asks(&self) {
        let mut state = self.state();
        state.asking_since.get_or_insert_with(Instant::now);
    }

    /// So much of a body was read.
    pub(super) fn has_read(&self, bytes: usize) {
        let mut state = self.state();
        state.body_bytes += bytes;
        state.body_late_since = None;
    }

    /// How long nobody has had any use of it; none while somebody has.
    pub(super) fn useless_for(&self, now: Instant) -> Option<Duration> {
        let state = self.state();
        let is_idle = state.requests == 0 && !state.is_answering;
        let since = match (state.unread_since, state.body_late_since) {
            (Some(since), _) => since,
            (None, Some(since)) if now >= since + ASKING_GRACE => since,
            _ if is_idle => state.idle_since,
            _ => return None,
        };
        Some(now.saturating_duration_since(since))
    }

    /// Whether something has come that nobody has looked at yet, as the system says.
    pub(super) fn has_news(&self) -> bool {
        let state = self.state();
        if state.unread_since.is_some() || state.requests > 0 {
            return false;
        }
        let Some(socket) = self.socket.get().and_then(Weak::upgrade) else {
            return false;
        };
        match SockRef::from(&*socket).peek(&mut [MaybeUninit::uninit()]) {
            Ok(bytes) => bytes > 0,
            Err(error) => error.kind() == ErrorKind::Interrupted,
        }
    }

    /// What it has to say for itself while it is of no use. The connections of each token are counted
    /// in `known`.
    pub(super) fn claim(&self, now: Instant, known: &mut HashMap<Arc<str>, usize>) -> Claim {
        let state = self.state();
        let token = state.token.as_ref().is_some_and(|token| {
            let count = known.entry(Arc::clone(token)).or_default();
            *count += 1;
            *count <= PER_TOKEN
        });
        if let Some(since) = state.unread_since {
            return if now >= since + UNREAD_GRACE {
                Claim::None
            } else {
                Claim::Unread
            };
        }
        if let Some(since) = state.asking_since {
            return match token {
                _ if now >= since + ASKING_GRACE => Claim::None,
                true => Claim::KnownAsking,
                false => Claim::Asking,
            };
        }
        let is_late = state.body_late_since.is_some() || now >= state.idle_since + ASKING_GRACE;
        match (token, is_late) {
            (true, false) => Claim::KnownKept,
            (true, true) if state.requests == 0 => Claim::Known,
            (_, true) => Claim::None,
            (false, false) if state.was_answered || now < state.idle_since + PROMPT => Claim::Kept,
            (false, false) => Claim::New,
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

    /// Ends it now, or with what it is answering or about to be asked.
    pub(super) fn end_when_idle(&self) {
        let is_idle = {
            let mut state = self.state();
            state.ends_when_idle = true;
            state.is_idle() && !state.is_answering
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
        let mut state = self.state();
        if state.is_reading_body {
            state.body_late_since.get_or_insert_with(Instant::now);
        }
        state.wake_later(waker);
    }

    /// Nothing is read for now, whatever its client sends.
    pub(super) fn is_held(&self, waker: &Waker) {
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
            if state.ends_when_idle && state.is_idle() {
                state.ended.get_or_insert(Ended::Drained);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether nobody is asking for anything. Whose head has come in part is: its body, which is read
    /// later, must not seem to be cut off.
    fn is_idle(&self) -> bool {
        self.requests == 0 && self.asking_since.is_none()
    }

    fn wake_later(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }
}
