//! One `decnet` with a data directory of its own, as one process or as two.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use super::{http, peers::Servers, process::Process};
use crate::cargo::clean_environment;

/// Signs the tokens of an installation that lives for minutes.
const JWT_SECRET: &str = "a key for the minutes of a benchmark";
/// Subscriptions that one token may create in a minute.
const CREATES: usize = 20;
/// A start takes well under a second.
const STARTING: Duration = Duration::from_secs(20);

/// How `decnet` runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `decnet api` and `decnet webhook`.
    TwoProcesses,
    /// `decnet serve`.
    OneProcess,
}

pub(super) struct Installation {
    shape: Shape,
    program: PathBuf,
    directory: PathBuf,
    api_addr: SocketAddr,
    worker_addr: SocketAddr,
    token: String,
    api: Option<Process>,
    worker: Option<Process>,
    /// With the token of now.
    created: usize,
    /// Instead of a journal and SQLite.
    servers: Option<Servers>,
}

impl Installation {
    pub(super) fn new(program: &Path, directory: &Path, shape: Shape) -> anyhow::Result<Self> {
        // What an interrupted bench left.
        let _ = fs::remove_dir_all(directory);
        fs::create_dir_all(directory)?;
        let mut new = Self {
            shape,
            program: program.to_owned(),
            directory: directory.to_owned(),
            api_addr: free_address()?,
            worker_addr: free_address()?,
            token: String::new(),
            api: None,
            worker: None,
            created: 0,
            servers: None,
        };
        new.token = new.new_token()?;
        Ok(new)
    }

    /// Puts it on a nats-server and a PostgreSQL.
    pub(super) fn on(mut self, servers: Servers) -> Self {
        self.servers = Some(servers);
        self
    }

    fn new_token(&self) -> anyhow::Result<String> {
        let output = self
            .command(&["token", "create", "--role", "admin"])
            .output()?;
        ensure!(
            output.status.success(),
            "decnet token create: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Starts what takes subscriptions and events; in one process that delivers, too.
    pub(super) fn start_api(&mut self) -> anyhow::Result<()> {
        let command = match self.shape {
            Shape::TwoProcesses => "api",
            Shape::OneProcess => "serve",
        };
        self.api = Some(self.start(command, self.api_addr)?);
        Ok(())
    }

    /// Starts what delivers, where that is a process of its own.
    pub(super) fn start_worker(&mut self) -> anyhow::Result<()> {
        if self.shape == Shape::OneProcess {
            return Ok(());
        }
        self.worker = Some(self.start("webhook", self.worker_addr)?);
        Ok(())
    }

    pub(super) fn stop_worker(&mut self) -> anyhow::Result<()> {
        self.worker
            .take()
            .context("no worker runs")?
            .stop()
            .context("decnet webhook")
    }

    /// Subscribes a receiver to everything that attackers do.
    pub(super) fn subscribe(&mut self, name: &str, url: &str, secret: &str) -> anyhow::Result<()> {
        if self.created == CREATES {
            self.token = self.new_token()?;
            self.created = 0;
        }
        self.created += 1;
        let body = format!(
            r#"{{"name":"{name}","url":"{url}","secret":"{secret}","topic_patterns":["attacker.>"]}}"#
        );
        let (status, answer) = http::request(
            self.api_addr,
            "POST",
            "/api/v1/webhooks",
            &self.token,
            &body,
        )?;
        ensure!(status == 201, "cannot subscribe: {status} {answer}");
        Ok(())
    }

    pub(super) fn api_addr(&self) -> SocketAddr {
        self.api_addr
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// CPU time of the API, where that is a process of its own.
    pub(super) fn api_cpu(&self) -> anyhow::Result<Option<Duration>> {
        match (self.shape, &self.api) {
            (Shape::TwoProcesses, Some(api)) => api.cpu().map(Some),
            _ => Ok(None),
        }
    }

    /// CPU time of the process that delivers.
    pub(super) fn sender_cpu(&self) -> anyhow::Result<Duration> {
        self.sender()?.cpu()
    }

    pub(super) fn sender_peak_memory(&self) -> anyhow::Result<u64> {
        self.sender()?.peak_memory()
    }

    fn sender(&self) -> anyhow::Result<&Process> {
        let sender = match self.shape {
            Shape::TwoProcesses => &self.worker,
            Shape::OneProcess => &self.api,
        };
        sender.as_ref().context("nothing that delivers runs")
    }

    fn start(&self, command: &str, addr: SocketAddr) -> anyhow::Result<Process> {
        let log_path = self.directory.join(format!("{command}.log"));
        let log = fs::File::create(&log_path)?;
        let mut process = Process::start(
            self.command(&[command])
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log),
        )?;
        let end = Instant::now() + STARTING;
        while Instant::now() < end {
            if matches!(http::request(addr, "GET", "/readyz", "", ""), Ok((200, _))) {
                return Ok(process);
            }
            if let Err(ended) = process.ensure_running() {
                bail!(
                    "decnet {command}: {ended}:\n{}",
                    fs::read_to_string(&log_path)?
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!(
            "decnet {command} is not ready:\n{}",
            fs::read_to_string(&log_path)?
        )
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        clean_environment(&mut command);
        command
            .args(args)
            .env("DECNET_DATA_DIR", &self.directory)
            .env("DECNET_API_HOST", self.api_addr.ip().to_string())
            .env("DECNET_API_PORT", self.api_addr.port().to_string())
            .env("DECNET_JWT_SECRET", JWT_SECRET)
            .env("DECNET_METRICS_ADDR", self.worker_addr.to_string())
            .env("DECNET_WEBHOOK_ALLOW_CIDRS", "127.0.0.1/32");
        if let Some(servers) = &self.servers {
            command
                .env("DECNET_BUS_URL", &servers.bus)
                .env("DECNET_DATABASE_URL", &servers.database);
        }
        command
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        // The processes first: they write into the directory.
        self.worker = None;
        self.api = None;
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
