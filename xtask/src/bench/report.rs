//! The figures as tables, each of them computed from what was counted.

use std::{fmt, fs, process::Command, time::Duration};

use super::peers::Tally;

pub(super) struct Report {
    pub(super) throughput: Vec<ThroughputRow>,
    pub(super) isolation: Vec<IsolationRow>,
    machine: String,
}

#[derive(Clone)]
pub(super) struct ThroughputRow {
    what: &'static str,
    pub(super) rate: f64,
    delivered: u64,
    sender_cpu: Duration,
    api_cpu: Option<Duration>,
    latency: Option<(Duration, Duration, Duration)>,
    lost: u64,
    duplicated: u64,
}

impl ThroughputRow {
    pub(super) fn new(what: &'static str, sent: u64, tally: &Tally) -> Self {
        Self {
            what,
            rate: 0.0,
            delivered: tally.distinct,
            sender_cpu: Duration::ZERO,
            api_cpu: None,
            latency: None,
            lost: sent.saturating_sub(tally.distinct),
            duplicated: tally.duplicated,
        }
    }

    /// Different events received, over the time from `start` to the last of them.
    pub(super) fn with_rate(mut self, start_us: i64, tally: &Tally) -> Self {
        let micros = (tally.last_us - start_us).max(1);
        self.rate = tally.distinct as f64 / (micros as f64 / 1e6);
        self
    }

    pub(super) fn with_sender_cpu(mut self, cpu: Duration) -> Self {
        self.sender_cpu = cpu;
        self
    }

    pub(super) fn with_api_cpu(mut self, cpu: Option<Duration>) -> Self {
        self.api_cpu = cpu;
        self
    }

    pub(super) fn with_latency(mut self, tally: &Tally) -> Self {
        self.latency = Some((tally.p50, tally.p99, tally.max));
        self
    }

    fn each(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.delivered.max(1) as f64
    }
}

pub(super) struct IsolationRow {
    bad: usize,
    latency: (Duration, Duration, Duration),
    lost: u64,
    duplicated: u64,
    peak_memory: u64,
}

impl IsolationRow {
    pub(super) fn new(bad: usize, sent: u64, tally: &Tally, peak_memory: u64) -> Self {
        Self {
            bad,
            latency: (tally.p50, tally.p99, tally.max),
            lost: sent.saturating_sub(tally.distinct),
            duplicated: tally.duplicated,
            peak_memory,
        }
    }
}

impl Report {
    pub(super) fn new() -> Self {
        Self {
            throughput: Vec::new(),
            isolation: Vec::new(),
            machine: machine(),
        }
    }

    /// The page that `--write` leaves in `docs/`.
    pub(super) fn page(&self) -> String {
        format!(
            "# Benchmarks\n\n\
             Written by `cargo xtask bench --write`; run it to get your own machine's figures.\n\
             Sender, receiver and publisher are separate processes that share the machine, so the\n\
             ratio and the CPU time of a delivery say more than deliveries a second. Every body is\n\
             about 600 bytes, signed twice by the sender and verified by the receiver.\n\n{self}"
        )
    }

    /// One row a kind: of its repetitions the one in the middle, lost and duplicated summed up.
    fn medians(&self) -> Vec<ThroughputRow> {
        let mut medians: Vec<ThroughputRow> = Vec::new();
        for row in &self.throughput {
            if medians.iter().any(|it| it.what == row.what) {
                continue;
            }
            let mut same: Vec<&ThroughputRow> = self
                .throughput
                .iter()
                .filter(|it| it.what == row.what)
                .collect();
            same.sort_by(|a, b| a.rate.total_cmp(&b.rate));
            medians.push(ThroughputRow {
                lost: same.iter().map(|it| it.lost).sum(),
                duplicated: same.iter().map(|it| it.duplicated).sum(),
                ..same[same.len() / 2].clone()
            });
        }
        medians
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.machine)?;
        writeln!(
            f,
            "| throughput and latency | delivered/s | of bare | sender CPU, µs each | API CPU, µs each | p50 / p99 / max, ms | lost | duplicated |"
        )?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|--:|--:|")?;
        let rows = self.medians();
        let bare = rows.first().map_or(f64::NAN, |row| row.rate);
        for row in &rows {
            writeln!(
                f,
                "| {} | {:.0} | {:.2} | {:.1} | {} | {} | {} | {} |",
                row.what,
                row.rate,
                row.rate / bare,
                row.each(row.sender_cpu),
                row.api_cpu
                    .map_or_else(|| "–".to_owned(), |cpu| format!("{:.1}", row.each(cpu))),
                row.latency.map_or_else(|| "–".to_owned(), millis),
                row.lost,
                row.duplicated,
            )?;
        }
        writeln!(
            f,
            "\n| 70 healthy subscriptions, 20 events/s to each | p50 / p99 / max, ms | p99 of alone | lost | duplicated | worker's peak memory, MiB |"
        )?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|")?;
        let p99 = |row: &IsolationRow| row.latency.1.as_secs_f64();
        let alone = self.isolation.first().map_or(f64::NAN, p99);
        for row in &self.isolation {
            let company = match row.bad {
                0 => "alone".to_owned(),
                bad => {
                    format!("beside {bad} that are silent, stall, reset, trickle or are endless")
                }
            };
            writeln!(
                f,
                "| {company} | {} | {:.2} | {} | {} | {:.1} |",
                millis(row.latency),
                p99(row) / alone,
                row.lost,
                row.duplicated,
                row.peak_memory as f64 / f64::from(1 << 20),
            )?;
        }
        Ok(())
    }
}

fn millis((p50, p99, max): (Duration, Duration, Duration)) -> String {
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    format!("{:.2} / {:.2} / {:.2}", ms(p50), ms(p99), ms(max))
}

/// Cores, processor and compiler: figures mean nothing without them.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, model)| model.trim());
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map_or_else(
        |_| "unknown rustc".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    );
    format!("{cores} cores of {model}, {rustc}")
}

#[cfg(test)]
mod tests {
    use super::{Duration, IsolationRow, Report, Tally, ThroughputRow};

    fn row(what: &'static str, distinct: u64, sent: u64) -> ThroughputRow {
        let tally = Tally {
            distinct,
            last_us: 1_000_000,
            ..Tally::default()
        };
        ThroughputRow::new(what, sent, &tally)
            .with_rate(0, &tally)
            .with_sender_cpu(Duration::from_millis(distinct / 100))
    }

    #[test]
    fn shows_the_median_of_the_rounds_and_all_losses() {
        let mut report = Report::new();
        for (bare, pipeline) in [(40_000, 10_000), (50_000, 30_000), (60_000, 20_000)] {
            report.throughput.push(row("bare", bare, bare));
            report
                .throughput
                .push(row("pipeline", pipeline, pipeline + 1));
        }
        let shown = report.to_string();
        assert!(
            shown.contains("| bare | 50000 | 1.00 | 10.0 | – | – | 0 | 0 |"),
            "{shown}"
        );
        assert!(
            shown.contains("| pipeline | 20000 | 0.40 | 10.0 | – | – | 3 | 0 |"),
            "{shown}"
        );
    }

    #[test]
    fn shows_isolation() {
        let mut report = Report::new();
        let tally = Tally {
            distinct: 9,
            p50: Duration::from_micros(500),
            p99: Duration::from_millis(2),
            max: Duration::from_millis(3),
            ..Tally::default()
        };
        report
            .isolation
            .push(IsolationRow::new(3, 10, &tally, 3 << 20));
        let shown = report.to_string();
        assert!(
            shown.contains("| 0.50 / 2.00 / 3.00 | 1.00 | 1 | 0 | 3.0 |"),
            "{shown}"
        );
    }
}
