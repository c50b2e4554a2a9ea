//! A child process that does not outlive its owner, and what /proc says of it.

use std::{
    fs,
    process::{Child, Command},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

/// Linux reports CPU time in hundredths of a second, whatever its own tick is (proc(5), USER_HZ).
pub(super) const TICK: Duration = Duration::from_millis(10);
/// A drain takes at most 10 s and then closes.
const STOPPING: Duration = Duration::from_secs(30);

pub(super) struct Process(Child);

impl Process {
    pub(super) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let program = command.get_program().to_owned();
        command
            .spawn()
            .map(Self)
            .with_context(|| format!("cannot start {program:?}"))
    }

    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Whether it has ended, which servers do not do by themselves.
    pub(super) fn ensure_running(&mut self) -> anyhow::Result<()> {
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("it ended with {status}"),
        }
    }

    /// User and system time so far.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        cpu_of_stat(&stat).context("cannot read /proc/…/stat")
    }

    /// The most memory it ever had resident, in bytes.
    pub(super) fn peak_memory(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        peak_of_status(&status).context("cannot read /proc/…/status")
    }

    /// SIGTERM, then waits until it has drained.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        let sent = Command::new("kill").arg(self.0.id().to_string()).status()?;
        ensure!(sent.success(), "kill: {sent}");
        let end = Instant::now() + STOPPING;
        while Instant::now() < end {
            if let Some(status) = self.0.try_wait()? {
                ensure!(status.success(), "it stopped with {status}");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("it did not stop within {STOPPING:?}")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fields 14 and 15; the name before them may contain anything, also spaces and parentheses.
fn cpu_of_stat(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u32>().ok()? + fields.get(12)?.parse::<u32>().ok()?;
    Some(TICK * ticks)
}

fn peak_of_status(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::{Duration, cpu_of_stat, peak_of_status};

    #[test]
    fn reads_proc() {
        let stat = "42 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 3 0 1";
        assert_eq!(cpu_of_stat(stat), Some(Duration::from_secs(2)));
        assert_eq!(
            peak_of_status("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t1 kB\n"),
            Some(2 << 20)
        );
    }
}
