//! `cargo xtask bench`: what this machine does, measured now.
//!
//! Three questions, each against processes of their own: how much slower than a bare reqwest loop
//! is the whole pipeline; how long does an event take at a moderate load; and what do bad
//! receivers cost the good ones. Sender, receiver and publisher share the machine, so requests per
//! second are a matter of luck; CPU per delivery and ratios within one run are the stable figures.

mod http;
mod installation;
mod isolation;
mod peers;
mod process;
mod report;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, bail, ensure};
use installation::{Installation, Shape};
use peers::{Manner, Peers, Receiver, Tally};
use report::{Report, ThroughputRow};

use crate::cargo::{cargo, target_directory, workspace_root};

/// How long each part goes on.
struct Plan {
    /// How often the throughput runs are repeated; the median counts.
    rounds: usize,
    bare: Duration,
    /// Publishing as fast as it is taken.
    publishing: Duration,
    paced: Duration,
    isolation: Duration,
}

const FULL: Plan = Plan {
    rounds: 3,
    bare: Duration::from_secs(10),
    publishing: Duration::from_secs(10),
    paced: Duration::from_secs(30),
    isolation: Duration::from_secs(60),
};
const QUICK: Plan = Plan {
    rounds: 1,
    bare: Duration::from_secs(5),
    publishing: Duration::from_secs(5),
    paced: Duration::from_secs(10),
    isolation: Duration::from_secs(15),
};

/// Longest wait for what was published to arrive; what has not come by then counts as lost.
const ARRIVAL: Duration = Duration::from_secs(60);
/// A publisher's rate that stands for as fast as it is answered.
const AT_ONCE: f64 = 0.0;
const WARM_UP: Duration = Duration::from_secs(1);
/// Part of the highest rate at which latency is measured: above 60 % it is noise on a shared machine.
const PACED_LOAD: f64 = 0.2;
/// Most events in one run: ten seconds at 100,000 a second, which no machine of today reaches here.
const CAPACITY: usize = 1_000_000;
/// Requests that the bare loop keeps in flight; the pipeline's window goes up to the same.
const IN_FLIGHT: usize = 64;

pub(crate) fn run(flags: &[&str]) -> anyhow::Result<()> {
    let (mut plan, mut write) = (FULL, false);
    for flag in flags {
        match *flag {
            "--quick" => plan = QUICK,
            "--write" => write = true,
            other => bail!("bench knows --quick and --write, not {other}"),
        }
    }
    ensure!(
        cfg!(target_os = "linux"),
        "bench reads CPU time and memory from /proc: Linux only"
    );
    let bench = Bench::build(plan)?;
    let mut report = Report::new();
    bench.throughput(&mut report)?;
    bench.isolation(&mut report)?;
    println!("\n{report}");
    if write {
        let path = workspace_root().join("docs/benchmarks.md");
        fs::write(&path, report.page()).with_context(|| format!("cannot write {path:?}"))?;
        println!("written to docs/benchmarks.md");
    }
    Ok(())
}

struct Bench {
    plan: Plan,
    decnet: PathBuf,
    peers: Peers,
    /// On the disk that holds the build, not on a tmpfs: commits must cost what they cost.
    scratch: PathBuf,
}

impl Bench {
    fn build(plan: Plan) -> anyhow::Result<Self> {
        println!("==> building decnet and the bench programs (release)");
        // In one go: with one set of features nothing is built twice.
        let status = cargo()
            .args(["build", "--release", "--locked"])
            .args(["-p", "decnet-cli", "--bin", "decnet"])
            .args(["-p", "webhook-testkit", "--example", "bench"])
            .status()?;
        ensure!(status.success(), "the build failed");
        let target = target_directory()?;
        Ok(Self {
            plan,
            decnet: target.join("release/decnet"),
            peers: Peers {
                program: target.join("release/examples/bench"),
            },
            scratch: target.join("bench"),
        })
    }

    fn installation(&self, shape: Shape) -> anyhow::Result<Installation> {
        Installation::new(&self.decnet, &self.scratch, shape)
    }

    /// A `decnet` that delivers to the one receiver.
    fn pipeline(&self, shape: Shape, receiver: &Receiver) -> anyhow::Result<Installation> {
        self.delivering(self.installation(shape)?, receiver)
    }

    fn delivering(
        &self,
        mut decnet: Installation,
        receiver: &Receiver,
    ) -> anyhow::Result<Installation> {
        decnet.start_api()?;
        decnet.subscribe("bench", receiver.url(), receiver.secret())?;
        decnet.start_worker()?;
        Ok(decnet)
    }

    fn throughput(&self, report: &mut Report) -> anyhow::Result<()> {
        let mut receiver = self.peers.receiver(Manner::Prompt, CAPACITY)?;
        let mut live_rate = 0.0_f64;
        for round in 1..=self.plan.rounds {
            let of = format!("round {round} of {}", self.plan.rounds);
            println!("==> {of}: bare loop");
            report.throughput.push(self.bare(&mut receiver)?);

            println!("==> {of}: two processes, published meanwhile");
            let mut decnet = self.pipeline(Shape::TwoProcesses, &receiver)?;
            let name = "api + webhook, published meanwhile";
            let live = self.published_meanwhile(name, &decnet, &mut receiver)?;
            live_rate = live_rate.max(live.rate);
            report.throughput.push(live);
            println!("==> {of}: two processes, from a backlog");
            let name = "webhook, from a backlog";
            let drained = self.drained_backlog(name, &mut decnet, &mut receiver)?;
            report.throughput.push(drained);
            drop(decnet);

            println!("==> {of}: on JetStream and PostgreSQL");
            let decnet = self.installation(Shape::TwoProcesses)?;
            let mut decnet = self.delivering(decnet.on(self.peers.servers()?), &receiver)?;
            let name = "JetStream + PostgreSQL, published meanwhile";
            let live = self.published_meanwhile(name, &decnet, &mut receiver)?;
            report.throughput.push(live);
            let name = "JetStream + PostgreSQL, from a backlog";
            let drained = self.drained_backlog(name, &mut decnet, &mut receiver)?;
            report.throughput.push(drained);
            drop(decnet);

            println!("==> {of}: one process, published meanwhile");
            let decnet = self.pipeline(Shape::OneProcess, &receiver)?;
            let name = "serve, published meanwhile";
            report
                .throughput
                .push(self.published_meanwhile(name, &decnet, &mut receiver)?);
        }
        let rate = live_rate * PACED_LOAD;
        for (shape, name) in [
            (Shape::TwoProcesses, "api + webhook, at 20 % of its rate"),
            (Shape::OneProcess, "serve, at the same rate"),
        ] {
            println!("==> {name}: {rate:.0}/s");
            let decnet = self.pipeline(shape, &receiver)?;
            report
                .throughput
                .push(self.paced(name, &decnet, &mut receiver, rate)?);
        }
        Ok(())
    }

    fn bare(&self, receiver: &mut Receiver) -> anyhow::Result<ThroughputRow> {
        let run = receiver.begin()?;
        let sent = self
            .peers
            .bare(receiver, run, self.plan.bare, IN_FLIGHT, CAPACITY)?;
        let tally = receiver.report()?;
        let row = ThroughputRow::new("bare reqwest loop, 64 in flight", sent.count, &tally);
        Ok(row
            .with_rate(sent.started_us, &tally)
            .with_sender_cpu(sent.cpu))
    }

    fn published_meanwhile(
        &self,
        name: &'static str,
        decnet: &Installation,
        receiver: &mut Receiver,
    ) -> anyhow::Result<ThroughputRow> {
        let (row, _) = self.measured(name, decnet, receiver, AT_ONCE, self.plan.publishing)?;
        Ok(row)
    }

    fn drained_backlog(
        &self,
        name: &'static str,
        decnet: &mut Installation,
        receiver: &mut Receiver,
    ) -> anyhow::Result<ThroughputRow> {
        decnet.stop_worker()?;
        let run = receiver.begin()?;
        let sent = self
            .peers
            .publish(decnet, run, CAPACITY, AT_ONCE, self.plan.publishing)?;
        decnet.start_worker()?;
        let tally = receiver.wait(sent.count, ARRIVAL)?;
        Ok(ThroughputRow::new(name, sent.count, &tally)
            .with_rate(tally.first_us, &tally)
            .with_sender_cpu(decnet.sender_cpu()?))
    }

    fn paced(
        &self,
        name: &'static str,
        decnet: &Installation,
        receiver: &mut Receiver,
        rate: f64,
    ) -> anyhow::Result<ThroughputRow> {
        // Connections are open and caches warm before anything is timed.
        self.measured(name, decnet, receiver, rate, WARM_UP)?;
        let (row, tally) = self.measured(name, decnet, receiver, rate, self.plan.paced)?;
        Ok(row.with_latency(&tally))
    }

    /// Publishes at a rate for a time and waits until all has arrived.
    fn measured(
        &self,
        name: &'static str,
        decnet: &Installation,
        receiver: &mut Receiver,
        rate: f64,
        time: Duration,
    ) -> anyhow::Result<(ThroughputRow, Tally)> {
        let run = receiver.begin()?;
        let (sender, api) = (decnet.sender_cpu()?, decnet.api_cpu()?);
        let sent = self.peers.publish(decnet, run, CAPACITY, rate, time)?;
        let tally = receiver.wait(sent.count, ARRIVAL)?;
        let api = decnet
            .api_cpu()?
            .zip(api)
            .map(|(after, before)| after - before);
        let row = ThroughputRow::new(name, sent.count, &tally)
            .with_rate(sent.started_us, &tally)
            .with_sender_cpu(decnet.sender_cpu()? - sender)
            .with_api_cpu(api);
        Ok((row, tally))
    }
}
