//! A real MariaDB on loopback.

mod obtain;
mod wire;

use std::{
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::sync::OnceCell;

use crate::{
    build::free_port,
    process::{PORTS, Process},
    scratch::Scratch,
};
use obtain::Programs;

static SHARED: OnceCell<MariaDb> = OnceCell::const_new();

/// A MariaDB of the test's own, its data in a temporary directory; it asks nobody for a password.
/// Ended when dropped, and when the test's process is killed.
#[derive(Debug)]
pub struct MariaDb {
    process: Process,
    programs: Programs,
    dir: Scratch,
    port: u16,
    databases: AtomicU32,
}

impl MariaDb {
    /// The one of this test binary, for tests that leave it running. Take a database of your own.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn shared() -> &'static Self {
        SHARED.get_or_init(Self::start).await
    }

    /// Starts one.
    ///
    /// # Panics
    /// If there is no MariaDB and none can be fetched; says what to install.
    pub async fn start() -> Self {
        let found = tokio::task::spawn_blocking(obtain::programs).await;
        let dir = Scratch::new();
        let mut server = Self {
            process: Process::new("MariaDB", dir.path().join("log")),
            programs: found.expect("looking for it does not panic").unwrap_or_else(|why| {
                panic!(
                    "these tests need MariaDB, and it can be neither found nor fetched ({why}); \
                     install it: apt-get install mariadb-server-core"
                )
            }),
            dir,
            port: 0,
            databases: AtomicU32::new(0),
        };
        for _ in 0..PORTS {
            server.port = free_port();
            server.spawn();
            if server.answers().await {
                return server;
            }
        }
        panic!("MariaDB does not start: {}", server.process.log());
    }

    /// A fresh, empty database: `mysql://root@127.0.0.1:<port>/<name>`.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute("", &format!("CREATE DATABASE {name}")).await;
        format!("mysql://root@127.0.0.1:{}/{name}", self.port)
    }

    /// Runs a statement in a database, named by itself or by its URL, as an administrator would.
    ///
    /// # Panics
    /// If the server refuses it.
    pub async fn execute(&self, database: &str, sql: &str) {
        let name = database.rsplit('/').next().unwrap_or(database);
        if let Err(why) = wire::execute(self.port, name, sql).await {
            panic!("{sql}: {why}");
        }
    }

    /// SIGKILL of the server. What it committed stays.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port and data.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start_again(&mut self) {
        self.spawn();
        assert!(self.answers().await, "{}", self.process.log());
    }

    /// SIGKILL, and up again on the same port and data.
    pub async fn restart(&mut self) {
        self.kill();
        self.start_again().await;
    }

    fn spawn(&mut self) {
        let file = |name: &str| self.dir.path().join(name);
        let share = self.programs.share.as_deref();
        let libraries = self.programs.libraries.as_deref();
        self.process.start(&self.programs.server, |command| {
            // First, or it reads the machine's own settings.
            command.arg("--no-defaults");
            command
                .arg(option("datadir", self.dir.path()))
                .arg(option("socket", &file("socket")))
                .arg(option("pid-file", &file("pid")))
                .args(["--bind-address=127.0.0.1", &format!("--port={}", self.port)])
                // It refuses root unless told.
                .args(
                    nix::unistd::Uid::effective()
                        .is_root()
                        .then_some("--user=root"),
                )
                // Without them, no tables of users and rights need be made first.
                .arg("--skip-grant-tables")
                .args(["--max-connections=200", "--innodb-log-file-size=16M"])
                // A killed process loses nothing so; only a power cut would.
                .arg("--innodb-flush-log-at-trx-commit=2");
            if let Some(share) = share {
                command
                    .arg(option("lc-messages-dir", share))
                    .arg(option("character-sets-dir", &share.join("charsets")));
            }
            if let Some(libraries) = libraries {
                command.env("LD_LIBRARY_PATH", libraries);
            }
        });
    }

    /// Whether it came up; false once it has ended by itself.
    async fn answers(&mut self) -> bool {
        let port = self.port;
        let answers = || async move { wire::execute(port, "", "DO 1").await.is_ok() };
        self.process.comes_up(answers).await
    }
}

fn option(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

#[cfg(test)]
mod tests;
