//! What is counted, measured and promised.

use std::{
    collections::BTreeMap,
    fmt, fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{Instant, error::Elapsed};
use webhook_testkit::{Received, Report};

use crate::{
    IS_OPTIMISED, MEMORY, MEMORY_UNOPTIMISED, SLOWEST_OF_A_HUNDRED, SLOWEST_PROBE,
    honest::{Probes, Published},
    pace,
};

/// Between two looks at the memory.
const LOOK: Duration = Duration::from_millis(100);
/// Parts of the time whose latencies are shown each.
const PARTS: usize = 12;
/// In a second, as `/proc` counts (proc(5)).
const TICKS: f64 = 100.0;
/// What a line of the other process begins with.
const MARK: &str = "tally\t";

/// What became of the attacks, counted.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<BTreeMap<String, u64>>>);

impl Tally {
    pub(crate) fn count(&self, what: &str) {
        *self.0.lock().unwrap().entry(what.to_owned()).or_default() += 1;
    }

    pub(crate) fn set(&self, what: &str, count: u64) {
        self.0.lock().unwrap().insert(what.to_owned(), count);
    }

    pub(crate) fn get(&self, what: &str) -> u64 {
        self.0.lock().unwrap().get(what).copied().unwrap_or(0)
    }

    /// How a request was answered.
    pub(crate) fn answer(&self, what: &str, asked: Result<std::io::Result<u16>, Elapsed>) {
        self.count(&match asked {
            Ok(Ok(status)) => format!("{what}: {status}"),
            Ok(Err(_)) => format!("{what}: connection ended"),
            Err(_) => format!("{what}: no answer"),
        });
    }

    /// For another process.
    pub(crate) fn lines(&self) -> String {
        let counts = self.0.lock().unwrap();
        (counts.iter())
            .map(|(what, count)| format!("{MARK}{what}\t{count}\n"))
            .collect()
    }

    /// What another process printed.
    pub(crate) fn take_over(&self, text: &str) {
        for line in text.lines().filter_map(|line| line.strip_prefix(MARK)) {
            let (what, count) = line.rsplit_once('\t').expect("a tab");
            self.set(what, count.parse().expect("a number"));
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in self.0.lock().unwrap().iter() {
            writeln!(f, "  {count:>9}  {what}")?;
        }
        Ok(())
    }
}

/// What was measured.
pub(crate) struct Figures {
    honest: Published,
    neighbour: Published,
    probes: Probes,
    latencies: Vec<Duration>,
    neighbour_latencies: Vec<Duration>,
    /// The honest ones in the order of publishing.
    course: Vec<Duration>,
    machine: Machine,
    peak: u64,
}

impl Figures {
    pub(crate) fn new(
        honest: Published,
        neighbour: Published,
        mut probes: Probes,
        machine: Machine,
    ) -> Self {
        probes.took.sort();
        Self {
            honest,
            neighbour,
            probes,
            latencies: Vec::new(),
            neighbour_latencies: Vec::new(),
            course: Vec::new(),
            machine,
            peak: 0,
        }
    }

    /// The ids of what was accepted of honest publishers.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = &String> {
        self.honest.due.keys().chain(self.neighbour.due.keys())
    }

    pub(crate) fn is_honest(&self, id: Option<&str>) -> bool {
        id.is_some_and(|id| self.honest.due.contains_key(id) || self.neighbour.due.contains_key(id))
    }

    /// Takes the time from when each event was due to when it first came.
    pub(crate) fn arrivals(&mut self, received: &[Received]) {
        let mut came: BTreeMap<&str, std::time::Instant> = BTreeMap::new();
        for it in received.iter().filter(|it| it.is_taken()) {
            came.entry(it.event_id().unwrap_or_default())
                .or_insert(it.at);
        }
        let of = |published: &Published| {
            let mut took: Vec<Duration> = (published.due.iter())
                .filter_map(|(id, due)| Some(*came.get(id.as_str())? - *due))
                .collect();
            took.sort();
            took
        };
        (self.latencies, self.neighbour_latencies) = (of(&self.honest), of(&self.neighbour));
        let mut course: Vec<_> = (self.honest.due.iter())
            .filter_map(|(id, due)| Some((due, *came.get(id.as_str())? - *due)))
            .collect();
        course.sort();
        self.course = course.into_iter().map(|(_, took)| took).collect();
    }

    pub(crate) fn peak_memory(&mut self, pid: u32) {
        self.peak = memory(pid, "VmHWM:").expect("the process runs");
    }

    pub(crate) fn print(&self, report: &Report, tally: &Tally) {
        let row = |what: &str, took: &[Duration]| {
            println!(
                "{what:<34} {:>6}  p50 {:>9.1?}  p99 {:>9.1?}  max {:>9.1?}",
                took.len(),
                at(took, 50),
                at(took, 99),
                at(took, 100),
            );
        };
        println!("{report}");
        row("honest, publish to arrival", &self.latencies);
        let parts = (self.course).chunks(self.course.len().div_ceil(PARTS).max(1));
        let slowest = parts.map(|part| format!("{:.1?}", at(&sorted(part), 99)));
        let slowest: Vec<_> = slowest.collect();
        println!("  p99 in each part of the time: {}", slowest.join(" "));
        row(
            "same address, publish to arrival",
            &self.neighbour_latencies,
        );
        row("honest, answers", &sorted(&self.honest.took));
        row("same address, answers", &sorted(&self.neighbour.took));
        row("/healthz", &self.probes.took);
        let Machine {
            resident,
            server,
            own,
            all,
        } = &self.machine;
        println!(
            "memory at most {} MiB, {} MiB at a look; cores busy {all:.2}: the server {server:.2}, this process {own:.2}",
            self.peak >> 20,
            resident >> 20,
        );
        for (name, it) in [("honest", &self.honest), ("same address", &self.neighbour)] {
            println!(
                "{name}: answers {:?}, {} broken",
                it.answers,
                it.broken.len()
            );
            it.broken.iter().take(5).for_each(|it| println!("  {it}"));
        }
        println!("probes failed: {}", self.probes.failed.len());
        self.probes
            .failed
            .iter()
            .take(5)
            .for_each(|it| println!("  {it}"));
        print!("{tally}");
    }

    /// Whether the promises are kept.
    #[track_caller]
    pub(crate) fn assert_kept(&self) {
        let mut broken = Vec::new();
        let mut promise = |kept: bool, what: String| {
            if !kept {
                broken.push(what);
            }
        };
        let p99 = at(&self.latencies, 99);
        promise(
            p99 < SLOWEST_OF_A_HUNDRED || !IS_OPTIMISED,
            format!("p99 {p99:?}"),
        );
        let errors = self.honest.answers.keys().filter(|status| **status >= 500);
        promise(errors.count() == 0, format!("{:?}", self.honest.answers));
        promise(
            self.honest.broken.is_empty(),
            format!("{:?}", self.honest.broken),
        );
        promise(!self.latencies.is_empty(), "nothing came".into());
        let slowest = at(&self.probes.took, 100);
        promise(
            slowest < SLOWEST_PROBE || !IS_OPTIMISED,
            format!("/healthz {slowest:?}"),
        );
        promise(
            self.probes.failed.is_empty(),
            format!("{:?}", self.probes.failed),
        );
        let most = if IS_OPTIMISED {
            MEMORY
        } else {
            MEMORY_UNOPTIMISED
        };
        promise(self.peak < most, format!("{} bytes", self.peak));
        assert!(broken.is_empty(), "not kept: {broken:#?}");
    }
}

/// What the machine was seen to do.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    /// The most memory of the server that was resident at any look, in bytes.
    resident: u64,
    /// Cores that were busy: with the server, with this process, with anything.
    server: f64,
    own: f64,
    all: f64,
}

/// Looks until that time.
pub(crate) async fn watch(pid: u32, until: Instant) -> Machine {
    let server = format!("/proc/{pid}/stat");
    let now = || (processor("/proc/self/stat"), processor(&server), busy());
    let (begun, before) = (Instant::now(), now());
    let mut ticks = pace(LOOK);
    let mut resident = 0;
    while Instant::now() < until {
        ticks.tick().await;
        resident = resident.max(memory(pid, "VmRSS:").unwrap_or(0));
    }
    let (after, seconds) = (now(), begun.elapsed().as_secs_f64());
    Machine {
        resident,
        own: (after.0 - before.0) / seconds,
        server: (after.1 - before.1) / seconds,
        all: (after.2 - before.2) / seconds,
    }
}

/// Seconds of a processor that a process has had.
fn processor(stat: &str) -> f64 {
    let text = fs::read_to_string(stat).unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let fields = after_name.split_whitespace().skip(11).take(2);
    fields.map(ticks_of).sum::<f64>() / TICKS
}

/// Seconds of a processor that all processes and the kernel have had.
fn busy() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.split_whitespace().skip(1).take(8).enumerate();
    let busy = fields.filter(|(n, _)| ![3, 4].contains(n));
    busy.map(|(_, it)| ticks_of(it)).sum::<f64>() / TICKS
}

fn ticks_of(field: &str) -> f64 {
    field.parse().unwrap_or(0.0)
}

fn memory(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

fn sorted(took: &[Duration]) -> Vec<Duration> {
    let mut took = took.to_vec();
    took.sort();
    took
}

/// A percentile of sorted times.
fn at(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}
