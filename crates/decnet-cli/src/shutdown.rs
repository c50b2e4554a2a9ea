//! Signals become a cancelled token; the second one ends the process at once.

use std::process;

use anyhow::Context;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::output;

/// What a hang-up of the terminal does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hangup {
    /// A program in the foreground goes with its terminal.
    Stops,
    /// A daemon outlives it.
    IsIgnored,
}

/// Cancels `shutdown` at the first SIGTERM, SIGINT or SIGHUP and exits with 128 + its number at the
/// second. The task ends with the runtime.
pub(crate) fn on_signals(
    shutdown: CancellationToken,
    hangup: Hangup,
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
    int: Signal,
    hup: Signal,
    hangup: Hangup,
}

struct Received {
    name: &'static str,
    number: i32,
}

impl Signals {
    fn new(hangup: Hangup) -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            hangup,
        })
    }

    async fn next(&mut self) -> Received {
        loop {
            tokio::select! {
                _ = self.term.recv() => return Received { name: "SIGTERM", number: 15 },
                _ = self.int.recv() => return Received { name: "SIGINT", number: 2 },
                _ = self.hup.recv() => if self.hangup == Hangup::Stops {
                    return Received { name: "SIGHUP", number: 1 };
                },
            }
        }
    }
}
