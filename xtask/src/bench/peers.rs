//! The programs around `decnet`: `crates/webhook-testkit/examples/bench`, each a process.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{
    installation::Installation,
    process::{Process, TICK},
};

const SECRET: &str = "a secret of the benchmark";

pub(super) struct Peers {
    pub(super) program: PathBuf,
}

/// How a receiver behaves.
#[derive(Clone, Copy)]
pub(super) enum Manner {
    Prompt,
    Silent,
    Stalls,
    Endless,
    Resets,
    Trickles,
}

impl Manner {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Silent => "silent",
            Self::Stalls => "stalls",
            Self::Endless => "endless",
            Self::Resets => "resets",
            Self::Trickles => "trickles",
        }
    }
}

/// What an installation on servers runs on; they end with it.
pub(super) struct Servers {
    pub(super) bus: String,
    pub(super) database: String,
    process: Process,
}

impl Drop for Servers {
    fn drop(&mut self) {
        // They clean up when their input ends; killed, they would leave their data behind.
        drop(self.process.child().stdin.take());
        let _ = self.process.child().wait();
    }
}

/// What was sent or accepted.
pub(super) struct Sent {
    pub(super) count: u64,
    pub(super) started_us: i64,
    /// Of a bare loop; a publisher's does not matter.
    pub(super) cpu: Duration,
}

/// What a receiver counted in one run.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) distinct: u64,
    pub(super) duplicated: u64,
    pub(super) first_us: i64,
    pub(super) last_us: i64,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) max: Duration,
}

impl Peers {
    pub(super) fn receiver(&self, manner: Manner, capacity: usize) -> anyhow::Result<Receiver> {
        self.receiver_of_many(manner, capacity, 1)
    }

    /// One that counts for several subscriptions, each to its [`Receiver::path`].
    pub(super) fn receiver_of_many(
        &self,
        manner: Manner,
        capacity: usize,
        paths: usize,
    ) -> anyhow::Result<Receiver> {
        let mut process = Process::start(
            Command::new(&self.program)
                .args(["receive", "--manner", manner.name(), "--secret", SECRET])
                .args(["--paths", &paths.to_string()])
                .args(["--capacity", &capacity.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped()),
        )?;
        let stdout = process.child().stdout.take().context("no output")?;
        let mut receiver = Receiver {
            process,
            answers: BufReader::new(stdout),
            url: String::new(),
            run: 0,
        };
        let said = receiver.answer()?;
        let addr = said["addr"]
            .as_str()
            .context("the receiver names no address")?;
        receiver.url = format!("http://{addr}/hook");
        Ok(receiver)
    }

    /// A nats-server and a PostgreSQL for one installation.
    pub(super) fn servers(&self) -> anyhow::Result<Servers> {
        let mut process = Process::start(
            Command::new(&self.program)
                .arg("servers")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped()),
        )?;
        let stdout = process.child().stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line).context("the servers do not start")?;
        let named = |name: &str| said[name].as_str().map(str::to_owned);
        Ok(Servers {
            bus: named("bus").context("no bus")?,
            database: named("database").context("no database")?,
            process,
        })
    }

    pub(super) fn bare(
        &self,
        receiver: &Receiver,
        run: u32,
        time: Duration,
        in_flight: usize,
        capacity: usize,
    ) -> anyhow::Result<Sent> {
        self.report(
            Command::new(&self.program)
                .args(["bare", "--url", &receiver.url, "--secret", SECRET])
                .args([
                    "--run",
                    &run.to_string(),
                    "--seconds",
                    &time.as_secs().to_string(),
                ])
                .args(["--in-flight", &in_flight.to_string()])
                .args(["--capacity", &capacity.to_string()]),
        )
    }

    /// Publishes at a rate, 0 for as fast as it is taken.
    pub(super) fn publish(
        &self,
        decnet: &Installation,
        run: u32,
        count: usize,
        rate: f64,
        time: Duration,
    ) -> anyhow::Result<Sent> {
        self.report(
            Command::new(&self.program)
                .args(["publish", "--api", &decnet.api_addr().to_string()])
                .args(["--token", decnet.token(), "--run", &run.to_string()])
                .args(["--count", &count.to_string(), "--rate", &rate.to_string()])
                .args(["--seconds", &time.as_secs().to_string()]),
        )
    }

    fn report(&self, command: &mut Command) -> anyhow::Result<Sent> {
        let output = command.stderr(Stdio::inherit()).output()?;
        ensure!(
            output.status.success(),
            "a bench program ended with {}",
            output.status
        );
        let said: Value = serde_json::from_slice(&output.stdout)?;
        let count = said["sent"].as_u64().or(said["accepted"].as_u64());
        let ticks = said["cpu_ticks"].as_u64().unwrap_or_default();
        Ok(Sent {
            count: count.context("no count")?,
            started_us: number(&said, "started_us")?,
            cpu: TICK * u32::try_from(ticks)?,
        })
    }
}

/// A receiver at work.
pub(super) struct Receiver {
    process: Process,
    answers: BufReader<ChildStdout>,
    url: String,
    run: u32,
}

impl Receiver {
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Where one of its subscriptions posts to.
    pub(super) fn path(&self, n: usize) -> String {
        format!("{}/{n}", self.url)
    }

    pub(super) fn secret(&self) -> &'static str {
        SECRET
    }

    /// Forgets what came and counts events of the next run alone.
    pub(super) fn begin(&mut self) -> anyhow::Result<u32> {
        self.run += 1;
        self.order(&format!("begin {}", self.run))?;
        Ok(self.run)
    }

    /// Waits for so many different events, or so long.
    pub(super) fn wait(&mut self, count: u64, time: Duration) -> anyhow::Result<Tally> {
        let said = self.order(&format!("wait {count} {}", time.as_secs()))?;
        tally(&said)
    }

    pub(super) fn report(&mut self) -> anyhow::Result<Tally> {
        let said = self.order("report")?;
        tally(&said)
    }

    fn order(&mut self, order: &str) -> anyhow::Result<Value> {
        let stdin = self.process.child().stdin.as_mut().context("no input")?;
        writeln!(stdin, "{order}")?;
        self.answer()
    }

    fn answer(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).context("the receiver has ended")
    }
}

fn tally(said: &Value) -> anyhow::Result<Tally> {
    let unverified = number(said, "unverified")?;
    ensure!(
        unverified == 0,
        "{unverified} deliveries failed the signature check"
    );
    let count = |key| anyhow::Ok(u64::try_from(number(said, key)?)?);
    let micros = |key| anyhow::Ok(Duration::from_micros(count(key)?));
    Ok(Tally {
        distinct: count("distinct")?,
        duplicated: count("duplicated")?,
        first_us: number(said, "first_us")?,
        last_us: number(said, "last_us")?,
        p50: micros("p50_us")?,
        p99: micros("p99_us")?,
        max: micros("max_us")?,
    })
}

fn number(said: &Value, key: &str) -> anyhow::Result<i64> {
    said[key]
        .as_i64()
        .with_context(|| format!("no {key} in {said}"))
}
