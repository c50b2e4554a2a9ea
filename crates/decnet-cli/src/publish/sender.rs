//! Sends batches until the server has taken them, whatever happens to it meanwhile.

use std::time::Duration;

use anyhow::bail;
use reqwest::{Method, StatusCode};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::batch::{Item, body};
use crate::client::{Client, Refusal, Unreachable};

const ROUTE: &str = "/api/v1/events";
/// First and longest pause between two attempts: a server that was just restarted is found within
/// seconds, and one that is down is not hammered.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A `Retry-After` is believed up to this; the server may be back sooner than it thought.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

/// An event the server does not want, and its reason.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) line: u64,
    pub(crate) reason: String,
}

/// What has become of the events so far.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Report {
    /// Events the bus has taken responsibility for.
    pub(crate) taken: u64,
    /// Events that were refused.
    pub(crate) refused: u64,
}

/// Who watches a [`Sender`] at work.
pub(crate) trait Watcher {
    /// The server has taken these.
    fn taken(&mut self, items: &[Item]) -> anyhow::Result<()>;
    /// It will not take this one.
    fn refused(&mut self, refused: &Refused);
    /// It cannot be reached, or cannot take anything now; said once an outage.
    fn waiting(&mut self, reason: &str);
}

/// Sends one batch after the other.
pub(crate) struct Sender<'a, W> {
    client: &'a Client,
    retry_for: Duration,
    stop: CancellationToken,
    /// Who watches.
    pub(crate) watcher: W,
    /// What has been done.
    pub(crate) report: Report,
}

impl<'a, W: Watcher> Sender<'a, W> {
    /// `retry_for` bounds one outage; `stop` ends waiting in one.
    pub(crate) fn new(
        client: &'a Client,
        retry_for: Duration,
        stop: CancellationToken,
        watcher: W,
    ) -> Self {
        Self {
            client,
            retry_for,
            stop,
            watcher,
            report: Report::default(),
        }
    }

    /// Returns once each of them is taken or refused; fails when the server is of no use.
    pub(crate) async fn send(&mut self, items: &[Item]) -> anyhow::Result<()> {
        // Halves instead of single lines: one bad line in a thousand costs twenty requests.
        let mut parts = vec![items];
        while let Some(part) = parts.pop() {
            match self.post(part).await? {
                Ok(()) => {
                    self.report.taken += part.len() as u64;
                    self.watcher.taken(part)?;
                }
                Err(refusal) => match part {
                    [] => {}
                    [item] => {
                        self.refuse(Refused {
                            line: item.line,
                            reason: refusal.to_string(),
                        });
                    }
                    _ => {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second, first]);
                    }
                },
            }
        }
        Ok(())
    }

    /// Counts and tells of an event that is not to be sent.
    pub(crate) fn refuse(&mut self, refused: Refused) {
        self.report.refused += 1;
        self.watcher.refused(&refused);
    }

    /// Until an answer that trying again would not change.
    async fn post(&mut self, items: &[Item]) -> anyhow::Result<Result<(), Refusal>> {
        if items.is_empty() {
            return Ok(Ok(()));
        }
        let body = body(items);
        let deadline = Instant::now() + self.retry_for;
        let mut pauses = Pauses::default();
        let mut renewed = false;
        loop {
            let failure = match self
                .client
                .ask(Method::POST, ROUTE, Some(body.clone()))
                .await
            {
                Ok(Ok(_)) => return Ok(Ok(())),
                Ok(Err(refusal)) => match Meaning::of(&refusal) {
                    Meaning::Events => return Ok(Err(refusal)),
                    Meaning::Caller => {
                        let expired = refusal.status == StatusCode::UNAUTHORIZED && !renewed;
                        if !(expired && self.client.renew_token()) {
                            return Err(refusal.into());
                        }
                        renewed = true;
                        continue;
                    }
                    Meaning::Later => Failure::Later(refusal),
                },
                Err(unreachable) => Failure::NoAnswer(unreachable),
            };
            if pauses.is_first() {
                self.watcher.waiting(&failure.sentence());
            }
            let pause = pauses.next(failure.retry_after());
            if Instant::now() + pause > deadline {
                return Err(failure.into_error());
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = self.stop.cancelled() => bail!(
                    "stopped while the server took nothing: lines from {} on were not published",
                    items[0].line
                ),
            }
        }
    }
}

/// Whose fault a refusal is.
enum Meaning {
    /// At least one event's.
    Events,
    /// This program's token, or its idea of the server.
    Caller,
    /// Nobody's; it passes.
    Later,
}

impl Meaning {
    fn of(refusal: &Refusal) -> Self {
        match refusal.status.as_u16() {
            408 | 429 | 500..=599 => Self::Later,
            // A topic that nobody may publish is 403 too.
            403 if refusal.detail == "Insufficient permissions" => Self::Caller,
            400 | 403 | 409 | 413 | 422 => Self::Events,
            _ => Self::Caller,
        }
    }
}

/// Why nothing was taken this time.
enum Failure {
    NoAnswer(Unreachable),
    Later(Refusal),
}

impl Failure {
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NoAnswer(_) => None,
            Self::Later(refusal) => refusal.retry_after,
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::NoAnswer(unreachable) => unreachable.to_string(),
            Self::Later(refusal) => refusal.to_string(),
        }
    }

    fn into_error(self) -> anyhow::Error {
        match self {
            Self::NoAnswer(unreachable) => unreachable.into(),
            Self::Later(refusal) => refusal.into(),
        }
    }
}

/// Growing pauses, each × a random factor in 0.8..1.2.
#[derive(Default)]
struct Pauses {
    last: Option<Duration>,
}

impl Pauses {
    fn is_first(&self) -> bool {
        self.last.is_none()
    }

    fn next(&mut self, asked: Option<Duration>) -> Duration {
        let pause = self
            .last
            .map_or(FIRST_PAUSE, |last| (last * 2).min(LONGEST_PAUSE));
        self.last = Some(pause);
        let pause = pause.mul_f64(rand::random_range(0.8..1.2));
        asked.map_or(pause, |asked| asked.min(LONGEST_RETRY_AFTER).max(pause))
    }
}
