//! A real PostgreSQL on loopback.

mod obtain;
mod wire;

use std::{
    env,
    fs::{self, File},
    io,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use nix::unistd::{Uid, User};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::{
    build::free_port,
    tools::{self, run},
};

/// Longest wait for a server to answer, or to go; a loaded machine takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(20);
/// A port that was free may be taken when the server binds it: so many other ones are tried.
const PORTS: usize = 5;
/// How the directories of its data begin.
const PREFIX: &str = "decnet-pg-";
/// The file in them that their process keeps locked.
const OWNER: &str = "owner";
/// Who may run it when this process is root, which PostgreSQL refuses to be.
const USERS: [&str; 3] = ["postgres", "nobody", "daemon"];

static SHARED: OnceCell<Postgres> = OnceCell::const_new();

/// A PostgreSQL of the test's own, its data in a temporary directory. Ended when dropped, and when
/// the test's process is killed.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    dir: TempDir,
    /// Locked while this process lives.
    _owner: File,
    user: Option<User>,
    port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
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
        panic!("PostgreSQL does not start: {}", server.log());
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
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child may be killed");
            child.wait().expect("a child may be waited for");
        }
    }

    /// Starts it again on the same port and data.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let begun = Instant::now();
        // The sessions of the one that was killed may be a moment behind it.
        while begun.elapsed() < PATIENCE {
            self.spawn();
            if self.answers().await {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
        panic!("PostgreSQL does not come up again: {}", self.log());
    }

    /// SIGKILL, and up again on the same port and data.
    pub async fn restart(&mut self) {
        self.kill();
        self.start_again().await;
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn make() -> Self {
        sweep(&env::temp_dir());
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir()
            .expect("a temporary directory");
        let owner = own(dir.path()).expect("a temporary file");
        let user = Uid::effective().is_root().then(unprivileged);
        if let Some(user) = &user {
            let own = chown(dir.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw()));
            own.expect("root may give a directory away");
        }
        let programs = obtain::programs(user.is_some().then(|| dir.path()));
        let server = Self {
            programs,
            dir,
            _owner: owner,
            user,
            port: 0,
            arguments: Vec::new(),
            child: None,
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
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .expect("a temporary file");
        let command = self.command("postgres");
        let child = tools::spawn(Path::new(command.get_program()), |spawned| {
            spawned
                .current_dir(self.dir.path())
                .args(command.get_args())
                .arg("-D")
                .arg(self.data())
                .arg("-k")
                .arg(self.dir.path())
                .args(["-p", &self.port.to_string(), "-h", "127.0.0.1"])
                // A killed process loses nothing without it; only a power cut would.
                .args(["-c", "fsync=off", "-c", "max_connections=200"])
                .args(&self.arguments)
                .stdout(Stdio::null())
                .stderr(log);
        });
        self.child = Some(child.expect("PostgreSQL starts"));
    }

    /// Whether it came up; false once it has ended by itself.
    async fn answers(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if wire::execute(self.port, "postgres", "SELECT 1")
                .await
                .is_ok()
            {
                return true;
            }
            let child = self.child.as_mut().expect("just started");
            if child.try_wait().expect("a child").is_some() {
                self.child = None;
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        panic!("PostgreSQL does not answer: {}", self.log());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Marks a directory as that of a living process. The mark is locked before it has its name, so
/// that nobody finds it without.
fn own(dir: &Path) -> io::Result<File> {
    let owner = File::create(dir.join("owner.new"))?;
    owner.lock()?;
    fs::rename(dir.join("owner.new"), dir.join(OWNER))?;
    Ok(owner)
}

/// Removes what processes left behind that are gone. The shared server is never dropped: no static
/// is.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let owner = File::open(entry.path().join(OWNER));
        if owner.is_ok_and(|owner| owner.try_lock().is_ok()) {
            // Another process may be at it, too.
            let _ = fs::remove_dir_all(entry.path());
        }
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
