//! The status as people read it. Servers of other versions may leave any part out.

use serde::Deserialize;

use crate::{outlook::Outlook, output};

/// Most of a reason on its line; `decnet subscriptions show` has all of it.
const REASON_CHARS: usize = 120;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Status {
    workers: Option<Vec<Worker>>,
    other_worker: Option<OtherWorker>,
    bus: Bus,
    database: Database,
    subscriptions: Option<Subscriptions>,
    troubles: Option<Troubles>,
    rows: Option<Rows>,
    deliveries: Option<Deliveries>,
    backlog: Option<Backlog>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Worker {
    name: String,
    version: String,
    alive: bool,
    silent_seconds: f64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OtherWorker {
    last_heartbeat: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Bus {
    reachable: Option<bool>,
    kind: Option<String>,
    head: Option<u64>,
    bytes: Option<u64>,
    refusing: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Database {
    reachable: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Subscriptions {
    active: u64,
    paused: u64,
    tripped: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Troubles {
    subscriptions: Vec<Trouble>,
    more: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Trouble {
    name: String,
    state: String,
    reason: Option<String>,
    since: Option<String>,
    paused_until: Option<String>,
    next_probe_at: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Rows {
    partly_used: u64,
    unreadable: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Deliveries {
    retrying: u64,
    dead: u64,
    dead_acknowledged: u64,
    oldest_retrying: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Backlog {
    events: u64,
    complete: Option<bool>,
}

impl Status {
    /// What has to be there and is not, each with what to do.
    pub(super) fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if self.database.reachable == Some(false) {
            missing.push("the database does not answer; the server's log says why".to_owned());
        }
        if self.bus.reachable == Some(false) {
            missing.push("the bus does not answer; the server's log says why".to_owned());
        }
        if let Some(reason) = &self.bus.refusing {
            missing.push(format!("the bus takes no events: {reason}"));
        }
        // A server that does not tell of workers may have one.
        if let Some(workers) = &self.workers
            && !workers.iter().any(|worker| worker.alive)
        {
            missing.push(
                "no worker is alive, so nothing is delivered; start `decnet webhook` or `decnet \
                 serve`"
                    .to_owned(),
            );
        }
        if let Some(other) = &self.other_worker {
            missing.push(format!(
                "another webhook worker, DECNET's perhaps, is alive on this bus (last heartbeat {}): \
                 what both deliver arrives twice; stop one of the two",
                output::seconds(other.last_heartbeat.as_deref())
            ));
        }
        missing
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let unknown = || "unknown".to_owned();
        let mut lines = Vec::new();
        match &self.workers {
            None => lines.push(("workers", unknown())),
            Some(workers) if workers.is_empty() => lines.push(("workers", "none".into())),
            Some(workers) => lines.extend(workers.iter().map(|one| ("worker", one.text()))),
        }
        lines.push(("bus", self.bus.text()));
        let database = match self.database.reachable {
            Some(true) => "answers".into(),
            Some(false) => "does not answer".into(),
            None => unknown(),
        };
        lines.push(("database", database));
        let subscriptions = self.subscriptions.as_ref().map(|counts| {
            let (active, paused) = (output::count(counts.active), output::count(counts.paused));
            let tripped = output::count(counts.tripped);
            let mut text = format!("{active} active, {paused} paused, {tripped} tripped");
            for (number, what) in self.rows.iter().flat_map(Rows::odd) {
                text += &format!("; {} {what}", output::count(number));
            }
            text
        });
        lines.push(("subscriptions", subscriptions.unwrap_or_else(unknown)));
        if let Some(troubles) = &self.troubles {
            let named = troubles.subscriptions.iter();
            lines.extend(named.map(|one| (one.label(), one.text())));
            if troubles.more > 0 {
                let more = output::count(troubles.more);
                lines.push((
                    "",
                    format!("and {more} more; see `decnet subscriptions list`"),
                ));
            }
        }
        let backlog = self.backlog.as_ref().map(|backlog| {
            let events = output::count(backlog.events);
            match backlog.complete {
                Some(false) => format!("{events} events or more wait on the bus"),
                _ => format!("{events} events wait on the bus"),
            }
        });
        lines.push(("backlog", backlog.unwrap_or_else(unknown)));
        let (mut retrying, mut dead) = (unknown(), unknown());
        if let Some(counts) = &self.deliveries {
            retrying = output::count(counts.retrying);
            if let Some(oldest) = &counts.oldest_retrying {
                retrying += &format!(", the oldest since {}", output::seconds(Some(oldest)));
            }
            dead = output::count(counts.dead);
            if counts.dead_acknowledged > 0 {
                let more = output::count(counts.dead_acknowledged);
                dead += &format!(", and {more} that were acknowledged");
            }
        }
        lines.extend([("retrying", retrying), ("dead letters", dead)]);
        lines
    }
}

impl Trouble {
    fn label(&self) -> &'static str {
        if self.state == "tripped" {
            "  tripped"
        } else {
            "  waiting"
        }
    }

    fn text(&self) -> String {
        let mut text = self.name.clone();
        if let Some(since) = &self.since {
            text += &format!(" since {}", output::seconds(Some(since)));
        }
        if let Some(reason) = &self.reason {
            text += &format!(": {}", output::short(reason, REASON_CHARS));
        }
        let outlook = Outlook {
            is_tripped: self.state == "tripped",
            paused_until: self.paused_until.as_deref(),
            next_probe_at: self.next_probe_at.as_deref(),
        };
        if let Some(next) = outlook.text() {
            text += &format!("; {next}");
        }
        text
    }
}

impl Rows {
    /// Those that an operator has to look at.
    fn odd(&self) -> impl Iterator<Item = (u64, &'static str)> {
        let partly = "with patterns that are none (its warnings name them)";
        let unreadable = "that cannot be read and get nothing (the log says why)";
        [(self.partly_used, partly), (self.unreadable, unreadable)]
            .into_iter()
            .filter(|(number, _)| *number > 0)
    }
}

impl Worker {
    fn text(&self) -> String {
        let state = if self.alive { "alive" } else { "silent" };
        format!(
            "{} ({}), {state}, heard {:.0} s ago",
            self.name, self.version, self.silent_seconds
        )
    }
}

impl Bus {
    fn text(&self) -> String {
        match self.reachable {
            None => return "unknown".into(),
            Some(false) => return "does not answer".into(),
            Some(true) => {}
        }
        let mut text = self.kind.clone().unwrap_or("answers".into());
        if let Some(head) = self.head {
            text += &format!(", newest event {}", output::count(head));
        }
        if let Some(bytes) = self.bytes {
            text += &format!(", {:.1} MiB", bytes as f64 / f64::from(1 << 20));
        }
        if self.refusing.is_some() {
            text += ", takes no events";
        }
        text
    }
}

/// Prints it.
pub(super) fn show(status: &Status) -> anyhow::Result<()> {
    for (label, value) in status.lines() {
        output::labelled(label, &value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(json: &str) -> Status {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_is_missing_is_named_and_what_is_unknown_is_not() {
        assert!(status("{}").missing().is_empty());
        let known = status("{}").lines();
        assert!(
            known.iter().all(|(_, value)| value == "unknown"),
            "{known:?}"
        );

        let bad = status(
            r#"{"workers":[{"name":"a/1","alive":false}],"bus":{"reachable":true,
            "refusing":"the disk is full"},"database":{"reachable":false},"backlog":null}"#,
        );
        let missing = bad.missing().join("\n");
        for reason in ["database", "the disk is full", "no worker is alive"] {
            assert!(missing.contains(reason), "{missing}");
        }
        let good = status(
            r#"{"workers":[{"name":"a/1","alive":true}],"bus":{"reachable":true},
            "database":{"reachable":true},"subscriptions":{"tripped":3}}"#,
        );
        assert!(good.missing().is_empty());
    }

    #[test]
    fn who_gets_nothing_is_named_with_the_cause() {
        let status = status(
            r#"{"troubles":{"more":1200,"subscriptions":[
            {"name":"siem","state":"tripped","reason":"http 503","since":"2026-04-24T12:00:00.000000Z",
             "next_probe_at":"2026-04-24T12:00:30.000000Z"},
            {"name":"soc","state":"tripped","reason":"gone"},
            {"name":"slow","state":"waiting","reason":null,
             "paused_until":"2999-04-24T12:00:00.000000Z"}]}}"#,
        );
        assert!(status.missing().is_empty(), "no failure of the server's");
        let lines = status.lines();
        let found: Vec<_> = (lines.iter())
            .skip_while(|(label, _)| *label != "subscriptions")
            .skip(1)
            .take(4)
            .map(|(label, text)| format!("{label} {text}"))
            .collect();
        assert_eq!(
            found,
            [
                "  tripped siem since 2026-04-24T12:00:00Z: http 503; next probe now",
                "  tripped soc: gone; not probed any more: `decnet subscriptions enable` it once it is well",
                "  waiting slow; asked to be left alone until 2999-04-24T12:00:00Z",
                " and 1,200 more; see `decnet subscriptions list`",
            ]
        );
    }
}
