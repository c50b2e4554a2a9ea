//! Signals become a cancelled token; the second one ends the process at once. A hang-up has servers open
//! their logs anew.

use std::{fs, process};

use anyhow::Context;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{output, telemetry::Logs};

/// What a hang-up does.
pub(crate) enum OnHangup {
    /// A tool goes with its terminal.
    Stops,
    /// A server outlives it; who rotates its logs says so this way.
    Reopens(Logs),
}

/// Cancels `shutdown` at the first SIGTERM, SIGINT or, with [`OnHangup::Stops`], SIGHUP, and exits with
/// 128 + its number at the second. The task ends with the runtime.
pub(crate) fn on_signals(
    shutdown: CancellationToken,
    hangup: OnHangup,
) -> anyhow::Result<JoinHandle<()>> {
    let mut signals = Signals::new(hangup).context("installing signal handlers")?;
    Ok(tokio::spawn(async move {
        let first = signals.next().await;
        output::say!("{}: stopping; once more stops at once", first.name);
        shutdown.cancel();
        let second = signals.next().await;
        process::exit(128 + second.number);
    }))
}

struct Signals {
    term: Signal,
    /// None where whoever started this process has it ignored, as shells do for what runs in the
    /// background.
    int: Option<Signal>,
    /// None likewise, as `nohup` does.
    hup: Option<Signal>,
    hangup: OnHangup,
}

struct Received {
    name: &'static str,
    number: i32,
}

impl Signals {
    fn new(hangup: OnHangup) -> std::io::Result<Self> {
        let ignored = Ignored::inherited();
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: ignored.unless(SignalKind::interrupt())?,
            hup: ignored.unless(SignalKind::hangup())?,
            hangup,
        })
    }

    async fn next(&mut self) -> Received {
        loop {
            tokio::select! {
                _ = self.term.recv() => return Received { name: "SIGTERM", number: 15 },
                () = received(&mut self.int) => return Received { name: "SIGINT", number: 2 },
                () = received(&mut self.hup) => match &self.hangup {
                    OnHangup::Stops => return Received { name: "SIGHUP", number: 1 },
                    OnHangup::Reopens(logs) => logs.reopen(),
                },
            }
        }
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => std::future::pending().await,
    }
}

/// The signals that this process was started to ignore, a bit each from the lowest on.
struct Ignored(u64);

impl Ignored {
    /// None where Linux does not tell.
    fn inherited() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self::parse(&status)
    }

    fn parse(status: &str) -> Self {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        Self(mask.map_or(0, |mask| u64::from_str_radix(mask.trim(), 16).unwrap_or(0)))
    }

    fn unless(&self, kind: SignalKind) -> std::io::Result<Option<Signal>> {
        let is_ignored = self.0 >> (kind.as_raw_value() - 1) & 1 == 1;
        (!is_ignored).then(|| signal(kind)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_ignored_stays_ignored() {
        let ignored = Ignored::parse("Name:\tdecnet\nSigIgn:\t0000000000001001\nSigCgt:\t0\n");
        assert!(ignored.unless(SignalKind::hangup()).unwrap().is_none());
        assert!(ignored.unless(SignalKind::interrupt()).unwrap().is_some());
        let nothing = Ignored::parse("");
        assert!(nothing.unless(SignalKind::hangup()).unwrap().is_some());
    }
}
