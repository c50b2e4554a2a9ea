//! A scriptable receiver over real sockets.

mod behaviour;
mod http;
mod log;
mod serve;
mod tls;

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use behaviour::{Behaviour, Decide, End};
pub use log::{Log, Received};
pub use tls::{Certificate, self_signed};

/// An HTTP/1.1 server on a loopback port, with connections kept alive, that logs each request
/// and behaves as told. Everything it started ends with it.
pub struct Receiver {
    shared: Arc<Shared>,
    addr: SocketAddr,
    tls: Option<TlsAcceptor>,
    certificate: Option<CertificateDer<'static>>,
    serving: Mutex<Serving>,
}

/// One stretch of being up.
struct Serving {
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct Shared {
    behaviour: Mutex<Behaviour>,
    secret: Mutex<Option<String>>,
    secrets: Mutex<HashMap<String, String>>,
    keep_bodies: bool,
    log: Mutex<Log>,
    logged: watch::Sender<usize>,
    requests: AtomicUsize,
    connections: AtomicUsize,
}

impl Shared {
    fn behaviour(&self) -> Behaviour {
        lock(&self.behaviour).clone()
    }

    fn secret_for(&self, path: &str) -> Option<String> {
        let own = lock(&self.secrets).get(path).cloned();
        own.or_else(|| lock(&self.secret).clone())
    }

    fn push(&self, received: Received) {
        lock(&self.log).push(received);
        self.logged.send_modify(|n| *n += 1);
    }
}

/// How a [`Receiver`] starts.
#[derive(Debug)]
pub struct Builder {
    behaviour: Behaviour,
    secret: Option<String>,
    certificate: Option<Certificate>,
    keep_bodies: bool,
}

impl Builder {
    /// Checks every signature against this secret.
    pub fn secret(mut self, secret: &str) -> Self {
        self.secret = Some(secret.to_owned());
        self
    }

    /// Speaks TLS with a self-signed certificate.
    pub fn tls(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// Keeps no bodies: for runs with very many deliveries.
    pub fn without_bodies(mut self) -> Self {
        self.keep_bodies = false;
        self
    }

    /// Listens on a free port.
    ///
    /// # Panics
    /// If there is none.
    pub async fn start(self) -> Receiver {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free loopback port");
        let addr = listener.local_addr().expect("a bound address");
        let (tls, certificate) = self.certificate.map(tls::acceptor).unzip();
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(self.behaviour),
            secret: Mutex::new(self.secret),
            secrets: Mutex::default(),
            keep_bodies: self.keep_bodies,
            log: Mutex::default(),
            logged: watch::Sender::new(0),
            requests: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        });
        let serving = Mutex::new(spawn(&shared, listener, tls.clone()));
        Receiver {
            shared,
            addr,
            tls,
            certificate,
            serving,
        }
    }
}

fn spawn(shared: &Arc<Shared>, listener: TcpListener, tls: Option<TlsAcceptor>) -> Serving {
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let loop_ = serve::accept(
        Arc::clone(shared),
        listener,
        tls,
        stop.clone(),
        tasks.clone(),
    );
    tasks.spawn(loop_);
    Serving { stop, tasks }
}

impl Receiver {
    /// A receiver that behaves like this.
    pub fn builder(behaviour: Behaviour) -> Builder {
        Builder {
            behaviour,
            secret: None,
            certificate: None,
            keep_bodies: true,
        }
    }

    /// A plain-text receiver that checks no signatures until it is told a secret.
    pub async fn start(behaviour: Behaviour) -> Self {
        Self::builder(behaviour).start().await
    }

    /// `http(s)://127.0.0.1:port/hook`.
    pub fn url(&self) -> String {
        self.url_of("/hook")
    }

    /// The URL of a path, which begins with `/`.
    pub fn url_of(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.addr)
    }

    /// Where it listens, or listened while it is down.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The certificate to trust.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.certificate.as_ref()
    }

    /// Behaves differently from the next request on. Requests are counted on, for
    /// [`Behaviour::First`] too.
    pub fn behave(&self, behaviour: Behaviour) {
        *lock(&self.shared.behaviour) = behaviour;
    }

    /// Checks signatures against this secret from now on.
    pub fn trust(&self, secret: &str) {
        *lock(&self.shared.secret) = Some(secret.to_owned());
    }

    /// Checks the signatures of requests for one path against a secret of its own.
    pub fn trust_on(&self, path: &str, secret: &str) {
        lock(&self.shared.secrets).insert(path.to_owned(), secret.to_owned());
    }

    /// Closes the port and every connection.
    pub async fn down(&self) {
        let tasks = {
            let serving = lock(&self.serving);
            serving.stop.cancel();
            serving.tasks.close();
            serving.tasks.clone()
        };
        tasks.wait().await;
    }

    /// Listens on the same port again.
    pub async fn up(&self) -> io::Result<()> {
        let listener = TcpListener::bind(self.addr).await?;
        *lock(&self.serving) = spawn(&self.shared, listener, self.tls.clone());
        Ok(())
    }

    /// Looks at everything received so far.
    pub fn log<T>(&self, look: impl FnOnce(&Log) -> T) -> T {
        look(&lock(&self.shared.log))
    }

    /// Everything received so far.
    pub fn received(&self) -> Vec<Received> {
        self.log(|log| log.all().to_vec())
    }

    /// Requests so far.
    pub fn count(&self) -> usize {
        self.log(Log::len)
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Waits until there were `n` requests, and returns all of them.
    ///
    /// # Panics
    /// When the time is up.
    pub async fn wait_for(&self, n: usize, within: Duration) -> Vec<Received> {
        let what = format!("{n} requests");
        self.wait(|log| log.len() >= n, within, &what).await;
        self.received()
    }

    /// Waits until a look at the log is satisfied.
    ///
    /// # Panics
    /// When the time is up.
    pub async fn wait_until(&self, satisfied: impl Fn(&Log) -> bool, within: Duration) {
        self.wait(satisfied, within, "what was waited for").await;
    }

    async fn wait(&self, satisfied: impl Fn(&Log) -> bool, within: Duration, what: &str) {
        let mut logged = self.shared.logged.subscribe();
        let waiting = logged.wait_for(|_| self.log(&satisfied));
        let in_time = tokio::time::timeout(within, waiting).await.is_ok();
        assert!(
            in_time || self.log(&satisfied),
            "{what} did not come within {within:?}: {} requests, {} taken, {} duplicates",
            self.count(),
            self.log(Log::taken),
            self.log(Log::duplicates),
        );
    }

    /// POSTs to this receiver by hand, for tests of the kit itself; returns the raw answer.
    ///
    /// # Panics
    /// If the connection cannot be made.
    pub async fn post_raw(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.addr).await.expect("a receiver");
        let mut head = format!("POST {path} HTTP/1.1\r\nconnection: close\r\n");
        head.push_str(&format!("content-length: {}\r\n", body.len()));
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut answer = Vec::new();
        stream.write_all(head.as_bytes()).await.expect("a receiver");
        stream.write_all(body).await.expect("a receiver");
        // A reset is one of the things a receiver may do.
        let _ = stream.read_to_end(&mut answer).await;
        answer
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        lock(&self.serving).stop.cancel();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
