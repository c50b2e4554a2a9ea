//! A real PostgreSQL on loopback.

mod obtain;
mod wire;

use std::{
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};

use nix::unistd::{Uid, User};
use tokio::sync::OnceCell;

use crate::{
    build::free_port,
    process::{PATIENCE, POLL, PORTS, Process},
    scratch::Scratch,
    tools::run,
};

/// Who may run it when this process is root, which PostgreSQL refuses to be.
const USERS: [&str; 3] = ["postgres", "nobody", "daemon"];

static SHARED: OnceCell<Postgres> = OnceCell::const_new();

/// A PostgreSQL of the test's own, its data in a temporary directory. Ended when dropped, and when
/// the test's process is killed.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    programs: PathBuf,
    dir: Scratch,
    user: Option<User>,
    port: u16,
    arguments: Vec<String>,
    databases: AtomicU32,
}

impl Postgres {
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
    /// If there is no PostgreSQL and none can be fetched; says what to install.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts one with these arguments, which win over its own: `["-c", "fsync=on"]` where commits
    /// are to cost what they cost.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn with(arguments: &[&str]) -> Self {
        let made = tokio::task::spawn_blocking(Self::make).await;
        let mut server = made.expect("making a cluster does not panic");
        server.arguments = arguments.iter().map(|&it| it.to_owned()).collect();
        for _ in 0..PORTS {
            server.port = free_port();
            server.spawn();
            if server.answers().await {
                return server;
            }
        }
        panic!("PostgreSQL does not start: {}", server.process.log());
    }

    /// A fresh, empty database: `postgres://postgres@127.0.0.1:<port>/<name>`.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute("postgres", &format!("CREATE DATABASE {name}"))
            .await;
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// Runs statements in a database, named by itself or by its URL, as an administrator would.
    ///
    /// # Panics
    /// If the server refuses one.
    pub async fn execute(&self, database: &str, sql: &str) {
        let name = database.rsplit('/').next().unwrap_or(database);
        if let Err(why) = wire::execute(self.port, name, sql).await {
            panic!("{sql}: {why}");
        }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// SIGKILL of the server. Its sessions notice and end; what it committed stays.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port and data.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start_again(&mut self) {
        let begun = Instant::now();
        // The sessions of the one that was killed may be a moment behind it.
        while begun.elapsed() < PATIENCE {
            self.spawn();
            if self.answers().await {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
        panic!("PostgreSQL does not come up again: {}", self.process.log());
    }

    /// SIGKILL, and up again on the same port and data.
    pub async fn restart(&mut self) {
        self.kill();
        self.start_again().await;
    }

    fn make() -> Self {
        let dir = Scratch::new();
        let user = Uid::effective().is_root().then(unprivileged);
        if let Some(user) = &user {
            let own = chown(dir.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw()));
            own.expect("root may give a directory away");
        }
        let programs = obtain::programs(user.is_some().then(|| dir.path()));
        let server = Self {
            process: Process::new("PostgreSQL", dir.path().join("log")),
            programs,
            dir,
            user,
            port: 0,
            arguments: Vec::new(),
            databases: AtomicU32::new(0),
        };
        let mut initdb = server.command("initdb");
        initdb
            .args(["--no-sync", "--auth=trust", "--username=postgres"])
            .args(["--encoding=UTF8", "--locale=C"])
            .arg(server.data());
        if let Err(why) = run(&mut initdb) {
            panic!("PostgreSQL's initdb: {why}");
        }
        server
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// One of its programs, as the user who may run it.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = match &self.user {
            None => Command::new(program),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command
                    .arg(format!("--reuid={}", user.uid))
                    .arg(format!("--regid={}", user.gid))
                    // Whoever changes its user loses the tie to its parent.
                    .args(["--clear-groups", "--pdeathsig", "KILL", "--"])
                    .arg(program);
                command
            }
        };
        // The caller's directory may be closed to that user.
        command.current_dir(self.dir.path());
        command
    }

    fn spawn(&mut self) {
        let command = self.command("postgres");
        let (data, dir) = (self.data(), self.dir.path());
        let program = Path::new(command.get_program());
        self.process.start(program, |spawned| {
            spawned
                .current_dir(dir)
                .args(command.get_args())
                .arg("-D")
                .arg(data)
                .arg("-k")
                .arg(dir)
                .args(["-p", &self.port.to_string(), "-h", "127.0.0.1"])
                // A killed process loses nothing without it; only a power cut would.
                .args(["-c", "fsync=off", "-c", "max_connections=200"])
                .args(&self.arguments);
        });
    }

    /// Whether it came up; false once it has ended by itself.
    async fn answers(&mut self) -> bool {
        let port = self.port;
        let answers = || async move { wire::execute(port, "postgres", "SELECT 1").await.is_ok() };
        self.process.comes_up(answers).await
    }
}

fn unprivileged() -> User {
    let found = USERS
        .iter()
        .find_map(|name| User::from_name(name).ok().flatten());
    found.expect("PostgreSQL refuses root, and this machine has no other user: useradd postgres")
}

#[cfg(test)]
mod tests;
