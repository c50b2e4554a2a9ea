//! A stand-in for DECNET's broker, written from the protocol's description alone: it shares no code
//! with what it tests. It misbehaves when told to.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinSet,
};

/// Longest wait for anything that a test expects; the machine may be busy with others.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running broker. It ends when it is dropped.
pub struct Broker {
    path: PathBuf,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<()>,
    serving: Option<JoinSet<()>>,
}

/// What a client published.
#[derive(Debug, Clone)]
pub struct Published {
    /// The name in its HELLO.
    pub client: String,
    /// The topic of its PUB.
    pub topic: String,
    /// The envelope as it came.
    pub envelope: Value,
}

#[derive(Default)]
struct State {
    clients: Vec<Client>,
    published: Vec<Published>,
    events: u64,
    connections: u64,
}

struct Client {
    number: u64,
    name: String,
    patterns: Vec<String>,
    /// What it subscribed to and dropped, in order: `SUB a.*`, `UNSUB a.*`.
    said: Vec<String>,
    out: mpsc::UnboundedSender<Out>,
}

enum Out {
    Bytes(Vec<u8>),
    HangUp,
}

impl Broker {
    /// Listens at this path.
    pub async fn start(path: impl Into<PathBuf>) -> Self {
        let mut broker = Self {
            path: path.into(),
            state: Arc::default(),
            changed: watch::Sender::new(()),
            serving: None,
        };
        broker.up();
        broker
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Listens again after [`down`](Self::down), with nobody connected.
    pub fn up(&mut self) {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
        let listener = UnixListener::bind(&self.path).expect("a socket can be made there");
        let (state, changed) = (self.state.clone(), self.changed.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut clients = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                clients.spawn(serve(stream, state.clone(), changed.clone()));
            }
        });
        self.serving = Some(serving);
    }

    /// Drops every connection and listens no more. Returns once nobody is connected.
    pub async fn down(&mut self) {
        if let Some(mut serving) = self.serving.take() {
            serving.shutdown().await;
        }
        std::fs::remove_file(&self.path).expect("the socket is there");
        self.with(|state| state.clients.clear());
    }

    /// Publishes as one of DECNET's own programs would; returns the id that the broker gave it.
    pub fn publish(&self, topic: &str, payload: &Value) -> String {
        let mut state = self.state.lock().expect("no panic holds this lock");
        state.fan_out(topic, "test", payload, None)
    }

    /// Hangs up on everybody; listens on.
    pub fn hang_up(&self) {
        self.to_all(|_| Out::HangUp);
    }

    /// Sends half an event to everybody.
    pub fn send_half(&self) {
        let whole = frame("EVT attacker.half", br#"{"v":1,"id":"half","payload":{}}"#);
        self.to_all(|_| Out::Bytes(whole[..whole.len() / 2].to_vec()));
    }

    /// Sends these bytes to everybody.
    pub fn send_raw(&self, bytes: &[u8]) {
        self.to_all(|_| Out::Bytes(bytes.to_vec()));
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> u64 {
        self.with(|state| state.connections)
    }

    /// Waits until there were so many.
    pub async fn wait_for_connections(&self, count: u64) {
        let what = format!("{count} connections");
        self.wait_until(&what, |state| state.connections >= count)
            .await;
    }

    /// What clients have published so far.
    pub fn published(&self) -> Vec<Published> {
        self.with(|state| state.published.clone())
    }

    /// What the client of this name said about patterns on its present connection, in order.
    pub fn said(&self, name: &str) -> Vec<String> {
        self.with(|state| {
            let of_it = state.clients.iter().filter(|client| client.name == name);
            of_it.flat_map(|client| client.said.clone()).collect()
        })
    }

    /// Waits until a client of this name is subscribed to exactly these.
    pub async fn wait_for_patterns(&self, name: &str, patterns: &[&str]) {
        let mut wanted: Vec<String> = patterns.iter().map(|it| (*it).to_owned()).collect();
        wanted.sort();
        self.wait_until(&format!("{name} to want {wanted:?}"), |state| {
            state.clients.iter().any(|client| {
                let mut has = client.patterns.clone();
                has.sort();
                client.name == name && has == wanted
            })
        })
        .await;
    }

    /// Waits until a client of this name is subscribed to this, among others.
    pub async fn wait_for_pattern(&self, name: &str, pattern: &str) {
        self.wait_until(&format!("{name} to want {pattern}"), |state| {
            state
                .clients
                .iter()
                .any(|client| client.name == name && client.patterns.iter().any(|it| it == pattern))
        })
        .await;
    }

    /// Waits until a client has published something that fits, and returns it.
    pub async fn wait_for_published(&self, fits: impl Fn(&Published) -> bool) -> Published {
        let find = |state: &State| state.published.iter().find(|it| fits(it)).cloned();
        self.wait_until("a publication", |state| find(state).is_some())
            .await;
        self.with(|state| find(state)).expect("it was there")
    }

    async fn wait_until(&self, what: &str, fits: impl Fn(&State) -> bool) {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            loop {
                changed.borrow_and_update();
                if self.with(|state| fits(state)) {
                    return;
                }
                changed.changed().await.expect("we hold the other end");
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            let clients = self.with(|state| {
                let shown = |it: &Client| (it.name.clone(), it.patterns.clone());
                state.clients.iter().map(shown).collect::<Vec<_>>()
            });
            panic!("waited in vain for {what}; connected: {clients:?}");
        }
    }

    fn to_all(&self, out: impl Fn(&Client) -> Out) {
        self.with(|state| {
            for client in &state.clients {
                let _ = client.out.send(out(client));
            }
        });
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().expect("no panic holds this lock"))
    }
}

impl State {
    /// To everybody who wants it but the publisher, once each, with an id and a time of its own.
    fn fan_out(&mut self, topic: &str, kind: &str, payload: &Value, from: Option<u64>) -> String {
        self.events += 1;
        let id = format!("broker-{}", self.events);
        let envelope = json!({
            "v": 1, "id": id, "topic": topic, "type": kind, "ts": 1_745_000_000.5, "payload": payload,
        });
        let bytes = frame(&format!("EVT {topic}"), envelope.to_string().as_bytes());
        for client in &self.clients {
            let wants = client.patterns.iter().any(|it| matches(it, topic));
            if wants && Some(client.number) != from {
                let _ = client.out.send(Out::Bytes(bytes.clone()));
            }
        }
        id
    }
}

async fn serve(stream: UnixStream, state: Arc<Mutex<State>>, changed: watch::Sender<()>) {
    let (read, write) = stream.into_split();
    let (out, queue) = mpsc::unbounded_channel();
    let number = {
        let mut state = state.lock().expect("no panic holds this lock");
        state.connections += 1;
        let number = state.connections;
        state.clients.push(Client {
            number,
            name: String::new(),
            patterns: Vec::new(),
            said: Vec::new(),
            out,
        });
        number
    };
    let heard = |line: &str, body: &[u8]| {
        hear(
            &mut state.lock().expect("no panic holds this lock"),
            number,
            line,
            body,
        );
        changed.send_replace(());
    };
    tokio::select! {
        () = read_frames(read, heard) => {}
        () = write_out(write, queue) => {}
    }
    let mut state = state.lock().expect("no panic holds this lock");
    state.clients.retain(|client| client.number != number);
    changed.send_replace(());
}

fn hear(state: &mut State, number: u64, line: &str, body: &[u8]) {
    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
    let client = state.clients.iter_mut().find(|it| it.number == number);
    let Some(client) = client else { return };
    match verb {
        "HELLO" => client.name = argument.to_owned(),
        "SUB" => {
            client.said.push(line.to_owned());
            client.patterns.push(argument.to_owned());
        }
        "UNSUB" => {
            client.said.push(line.to_owned());
            client.patterns.retain(|it| it != argument);
        }
        "PUB" => {
            let envelope: Value = serde_json::from_slice(body).expect("a PUB carries JSON");
            let published = Published {
                client: client.name.clone(),
                topic: argument.to_owned(),
                envelope: envelope.clone(),
            };
            state.published.push(published);
            let kind = envelope["type"].as_str().unwrap_or_default().to_owned();
            state.fan_out(argument, &kind, &envelope["payload"], Some(number));
        }
        _ => {}
    }
}

async fn read_frames(read: OwnedReadHalf, mut heard: impl FnMut(&str, &[u8])) {
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        loop {
            match read.read_u8().await {
                Ok(b'\n') => break,
                Ok(byte) => line.push(byte),
                Err(_) => return,
            }
        }
        let Ok(length) = read.read_u32().await else {
            return;
        };
        let mut body = vec![0; length as usize];
        if read.read_exact(&mut body).await.is_err() {
            return;
        }
        let line = String::from_utf8(line).expect("a header line is ASCII");
        if line == "BYE" {
            return;
        }
        heard(&line, &body);
    }
}

async fn write_out(mut write: OwnedWriteHalf, mut queue: mpsc::UnboundedReceiver<Out>) {
    while let Some(Out::Bytes(bytes)) = queue.recv().await {
        if write.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

fn frame(line: &str, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("small bodies");
    [line.as_bytes(), b"\n", &length.to_be_bytes(), body].concat()
}

fn matches(pattern: &str, topic: &str) -> bool {
    let mut topic = topic.split('.');
    for token in pattern.split('.') {
        match (token, topic.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (token, Some(found)) if token == found => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, topic, expected) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a", true),
            ("a.b", "a", false),
        ] {
            assert_eq!(matches(pattern, topic), expected, "{pattern} {topic}");
        }
    }
}
