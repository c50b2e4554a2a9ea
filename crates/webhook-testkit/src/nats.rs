//! A real nats-server, one or three of them, on loopback.

mod cluster;
mod obtain;
mod wire;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{build::free_port, tools};

pub use cluster::NatsCluster;

/// Longest wait for a server to answer, or to go; a loaded machine takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(20);
/// A port that was free may be taken when the server binds it: so many other ones are tried.
const PORTS: usize = 5;

/// A nats-server of the test's own, with JetStream and its store in a temporary directory. Ended
/// when dropped, and when the test's process is killed (see [`tools::spawn`]).
#[derive(Debug)]
pub struct NatsServer {
    program: PathBuf,
    dir: TempDir,
    name: String,
    port: u16,
    child: Option<Child>,
}

impl NatsServer {
    /// Starts one, with JetStream.
    ///
    /// # Panics
    /// If there is no nats-server and none can be fetched; says what to install.
    pub async fn start() -> Self {
        Self::with("jetstream: enabled").await
    }

    /// Starts one with these lines in its configuration. Without `jetstream: enabled` it is a
    /// plain NATS.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn with(config: &str) -> Self {
        Self::with_program(obtain::nats_server().await, config).await
    }

    /// The same with a server of your choice, for another version.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn with_program(program: PathBuf, config: &str) -> Self {
        let mut said = String::new();
        for _ in 0..PORTS {
            let mut server = Self::new(program.clone(), "test", free_port());
            server.configure(config);
            server.spawn();
            if server.answers().await {
                return server;
            }
            said = server.log();
        }
        panic!("nats-server does not start: {said}");
    }

    /// Where clients connect: `nats://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The port of [`Self::url`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it keeps its streams, and where files for its configuration may be put.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// SIGKILL, and waits until it is gone. What it stored stays.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child may be killed");
            child.wait().expect("a child may be waited for");
        }
    }

    /// Starts it again on the same port and store.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        self.spawn();
        assert!(self.answers().await, "{}", self.log());
    }

    /// SIGKILL, and up again on the same port and store.
    pub async fn restart(&mut self) {
        self.kill();
        self.start_again().await;
    }

    /// Stops it in its tracks: connections stay, nothing is answered. Until [`Self::thaw`].
    pub fn freeze(&self) {
        let pid = self.signal(Signal::SIGSTOP);
        // Its threads stop one after the other.
        waitpid(pid, Some(WaitPidFlag::WUNTRACED)).expect("a child may be waited for");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn new(program: PathBuf, name: &str, port: u16) -> Self {
        Self {
            program,
            dir: tempfile::tempdir().expect("a temporary directory"),
            name: name.to_owned(),
            port,
            child: None,
        }
    }

    fn signal(&self, signal: Signal) -> Pid {
        let child = self.child.as_ref().expect("it runs");
        let pid = Pid::from_raw(child.id().cast_signed());
        kill(pid, signal).expect("a child may be signalled");
        pid
    }

    fn configure(&self, config: &str) {
        let own = format!(
            "listen: \"127.0.0.1:{}\"\nserver_name: \"{}\"\n",
            self.port, self.name
        );
        let file = self.dir.path().join("server.conf");
        fs::write(file, format!("{own}{config}\n")).expect("a temporary file");
    }

    fn spawn(&mut self) {
        let dir = self.dir.path();
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(dir.join("log"))
            .expect("a temporary file");
        let child = tools::spawn(&self.program, |command| {
            command
                .arg("-c")
                .arg(dir.join("server.conf"))
                .arg("--store_dir")
                .arg(dir.join("store"))
                .stdout(Stdio::null())
                .stderr(log);
        });
        self.child = Some(child.expect("nats-server starts"));
    }

    /// Whether it came up; false once it has ended by itself.
    async fn answers(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if wire::greets(self.port).await {
                return true;
            }
            let child = self.child.as_mut().expect("just started");
            if child.try_wait().expect("a child").is_some() {
                self.child = None;
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        panic!("nats-server does not answer: {}", self.log());
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests;
