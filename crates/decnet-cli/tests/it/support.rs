//! Starting `decnet`, talking to it, and ending it, by signal or not.
//!
//! Nothing here sleeps to let something happen: what is waited for is asked for, or read from a
//! pipe, with a bound.

mod api;
mod lines;
mod listen;
mod scrape;

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

pub(crate) use self::{api::Api, lines::Lines, listen::Listen, scrape::Scrape};

/// Longest wait for anything that a test expects; the machine may be busy with others.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two questions to a server that is not ready yet.
const POLL: Duration = Duration::from_millis(20);
/// Networks that test receivers live in.
const LOOPBACK: &str = "127.0.0.0/8";

/// A fresh data directory. Short, for a socket's path has to fit into 107 bytes.
pub(crate) fn data_dir() -> TempDir {
    tempfile::Builder::new()
        .prefix("decnet-it-")
        .tempdir()
        .expect("a temporary directory")
}

/// `decnet`, with no variable of the machine's own, and killed when it is dropped.
pub(crate) fn decnet<I: AsRef<OsStr>>(dir: &Path, args: impl IntoIterator<Item = I>) -> Command {
    let mut command = isolated(env!("CARGO_BIN_EXE_decnet"), dir);
    command.args(args);
    command
}

fn isolated(program: &str, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", dir)
        .env("DECNET_DATA_DIR", dir)
        // What is installed on this machine is nobody's business either.
        .env("DECNET_SYSTEM_ROOT", dir)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs a command to its end, which must come.
pub(crate) async fn run(dir: &Path, args: &[&str]) -> Output {
    finish(&mut decnet(dir, args)).await
}

/// Runs a prepared command to its end.
pub(crate) async fn finish(command: &mut Command) -> Output {
    timeout(PATIENCE, command.output())
        .await
        .expect("it ends in time")
        .expect("it starts")
}

/// What a command printed, for people to read in a failed test.
#[track_caller]
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("standard output is text")
}

/// Its errors.
#[track_caller]
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("standard error is text")
}

/// Fails with both outputs unless the command succeeded.
#[track_caller]
pub(crate) fn succeeded(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        stdout(output),
        stderr(output)
    );
    stdout(output)
}

/// A server to start.
pub(crate) struct Starter {
    dir: PathBuf,
    args: Vec<String>,
    vars: Vec<(String, String)>,
    wrapper: Vec<String>,
}

impl Starter {
    /// `decnet <command>` on this data directory, with free ports.
    pub(crate) fn new(command: &str, dir: &Path) -> Self {
        let mut args = vec![command.to_owned()];
        match command {
            "webhook" => args.extend(["--metrics-addr".into(), "127.0.0.1:0".into()]),
            _ => args.extend(["--port".into(), "0".into()]),
        }
        let vars = vec![
            ("DECNET_WEBHOOK_ALLOW_CIDRS".into(), LOOPBACK.into()),
            // Tests scrape as Prometheus does where an operator lets it; who may is the API's test.
            ("DECNET_API_OPEN_METRICS".into(), "true".into()),
        ];
        Self {
            dir: dir.into(),
            args,
            vars,
            wrapper: Vec::new(),
        }
    }

    /// Has this program start it, which gets it and its arguments behind its own.
    pub(crate) fn wrapped(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// This port instead of a free one.
    pub(crate) fn port(mut self, port: u16) -> Self {
        if let Some(value) = self
            .args
            .iter_mut()
            .skip_while(|arg| *arg != "--port")
            .nth(1)
        {
            *value = port.to_string();
        }
        self
    }

    /// One more variable.
    pub(crate) fn var(mut self, name: &str, value: &str) -> Self {
        self.vars.push((name.into(), value.into()));
        self
    }

    /// Starts it without waiting for anything.
    pub(crate) fn spawn(self) -> Decnet {
        let own = [env!("CARGO_BIN_EXE_decnet").to_owned()];
        let mut words = self.wrapper.iter().chain(&own).chain(&self.args);
        let program = words.next().expect("there is a program at least");
        let mut command = isolated(program, &self.dir);
        command.args(words);
        for (name, value) in &self.vars {
            command.env(name, value);
        }
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("decnet starts");
        let log = Lines::of(child.stderr.take().expect("it is piped"));
        Decnet {
            child,
            log,
            dir: self.dir,
            url: String::new(),
        }
    }

    /// Starts it and waits until `/readyz` says so.
    pub(crate) async fn start(self) -> Decnet {
        let mut decnet = self.spawn();
        decnet.wait_ready().await;
        decnet
    }
}

/// A running server. Dropped, it is killed.
pub(crate) struct Decnet {
    child: Child,
    log: Lines,
    dir: PathBuf,
    url: String,
}

impl Decnet {
    /// `decnet serve`, ready.
    pub(crate) async fn serve(dir: &Path) -> Self {
        Starter::new("serve", dir).start().await
    }

    /// `decnet api`, ready.
    pub(crate) async fn api_only(dir: &Path) -> Self {
        Starter::new("api", dir).start().await
    }

    /// `decnet webhook`, ready.
    pub(crate) async fn webhook(dir: &Path) -> Self {
        Starter::new("webhook", dir).start().await
    }

    /// Its base URL: of the API, or of the worker's health server.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The port in that URL.
    pub(crate) fn port(&self) -> u16 {
        self.url
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("a URL with a port")
    }

    /// What it has written to standard error.
    pub(crate) fn log(&self) -> &Lines {
        &self.log
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// An API client with an admin token of its own.
    pub(crate) async fn api(&self) -> Api {
        Api::new(&self.url, &self.dir, "admin").await
    }

    /// SIGKILL, and gone when this returns.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// SIGTERM, and how it ended.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        signal(self.pid(), "TERM").await;
        self.wait().await
    }

    /// How it ended, which has to come soon; all that it said is in the log by then.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        let Ok(status) = timeout(PATIENCE, self.child.wait()).await else {
            panic!("it did not end: {:#?}", self.log.all());
        };
        self.log.end().await;
        status.expect("its status can be had")
    }

    /// What `/readyz` answers at present.
    pub(crate) async fn readiness(&mut self) -> (u16, String) {
        let url = self.log.find(url_of_banner).await;
        self.url = url.unwrap_or_else(|| panic!("it said no address: {:#?}", self.log.all()));
        install_tls();
        let http = reqwest::Client::builder().no_proxy().build();
        let asking = http.expect("a client").get(format!("{}/readyz", self.url));
        let answer = asking.send().await.expect("it answers");
        let status = answer.status().as_u16();
        (status, answer.text().await.expect("text"))
    }

    async fn wait_ready(&mut self) {
        let url = self.log.find(url_of_banner).await;
        let Some(url) = url else {
            panic!("it said no address: {:#?}", self.log.all());
        };
        self.url = url;
        install_tls();
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client");
        let asked = timeout(PATIENCE, async {
            loop {
                let answer = http.get(format!("{}/readyz", self.url)).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    return;
                }
                if let Ok(Some(status)) = self.child.try_wait() {
                    panic!("it ended ({status}): {:#?}", self.log.all());
                }
                sleep(POLL).await;
            }
        });
        assert!(
            asked.await.is_ok(),
            "it is not ready: {:#?}",
            self.log.all()
        );
    }
}

/// The address in a server's first lines: `  api   http://…`, or `  health   http://…/readyz`.
fn url_of_banner(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let label = words
        .next()
        .filter(|label| matches!(*label, "api" | "health"))?;
    let url = words.next().filter(|url| url.starts_with("http://"))?;
    Some(if label == "health" {
        url.strip_suffix("/readyz")?.into()
    } else {
        url.into()
    })
}

/// Sends a signal by name. The shell's own `kill` is everywhere.
pub(crate) async fn signal(pid: u32, name: &str) {
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status()
        .await
        .expect("sh is there");
    assert!(status.success(), "kill -{name} {pid}: {status}");
}

/// The TLS provider that reqwest asks the process for.
pub(crate) fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
