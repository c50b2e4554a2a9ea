//! A real nats-server, one or three of them, on loopback.

mod account;
mod certificates;
mod cluster;
mod obtain;
mod wire;

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    build::free_port,
    process::{PORTS, Process},
};

pub use account::NatsAccount;
pub use certificates::nats_certificates;
pub use cluster::NatsCluster;

/// A nats-server of the test's own, with JetStream and its store in a temporary directory. Ended
/// when dropped, and when the test's process is killed.
#[derive(Debug)]
pub struct NatsServer {
    process: Process,
    program: PathBuf,
    dir: TempDir,
    name: String,
    port: u16,
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

    /// The folder with the program of the oldest version that the bus is for, 2.9: for
    /// [`Self::with_program`], or before all others in `PATH`.
    ///
    /// # Panics
    /// If it cannot be fetched; says what to do.
    pub async fn oldest() -> PathBuf {
        obtain::oldest().await
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
        self.process.kill();
    }

    /// Starts it again on the same port and store.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start_again(&mut self) {
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
        self.process.freeze();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.thaw();
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    fn new(program: PathBuf, name: &str, port: u16) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self {
            process: Process::new("nats-server", dir.path().join("log")),
            program,
            dir,
            name: name.to_owned(),
            port,
        }
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
        self.process.start(&self.program, |command| {
            command
                .arg("-c")
                .arg(dir.join("server.conf"))
                .arg("--store_dir")
                .arg(dir.join("store"));
        });
    }

    /// Whether it came up; false once it has ended by itself.
    async fn answers(&mut self) -> bool {
        let port = self.port;
        self.process.comes_up(|| wire::greets(port)).await
    }
}

#[cfg(test)]
mod tests;
