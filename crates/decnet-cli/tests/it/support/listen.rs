use std::{path::Path, process::Stdio};

use serde_json::Value;
use tokio::process::Child;

use super::{Lines, PATIENCE, decnet, signal};

/// The secret that test subscriptions and `decnet listen` share.
pub(crate) const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// `decnet listen --json`, whose lines are parsed as they come.
pub(crate) struct Listen {
    child: Child,
    rows: Lines,
    log: Lines,
    url: String,
}

impl Listen {
    pub(crate) const SECRET: &str = SECRET;

    /// Starts it on a free port; ready to receive when this returns.
    pub(crate) async fn start(dir: &Path, args: &[&str]) -> Self {
        let all = ["listen", "--json", "--addr", "127.0.0.1:0"];
        let mut child = decnet(dir, all.iter().chain(args))
            .env("DECNET_LISTEN_SECRET", SECRET)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("decnet listen starts");
        let rows = Lines::of(child.stdout.take().expect("it is piped"));
        let log = Lines::of(child.stderr.take().expect("it is piped"));
        let url = log
            .find(|line| {
                Some(
                    line.strip_prefix("listening on ")?
                        .split(' ')
                        .next()?
                        .to_owned(),
                )
            })
            .await;
        let url = url.unwrap_or_else(|| panic!("it does not listen: {:#?}", log.all()));
        Self {
            child,
            rows,
            log,
            url,
        }
    }

    /// Where it receives.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its lines as they came; parsing loses digits of numbers.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.rows.all()
    }

    /// What it has received so far.
    pub(crate) fn rows(&self) -> Vec<Value> {
        let parse = |line: &String| serde_json::from_str(line).expect("each line is JSON");
        self.rows.all().iter().map(parse).collect()
    }

    /// Waits for the first row that is wanted.
    pub(crate) async fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = self.rows.find(|line| {
            let row: Value = serde_json::from_str(line).expect("each line is JSON");
            wanted(&row).then_some(row)
        });
        match found.await {
            Some(row) => row,
            None => panic!("it never came; these did: {:#?}", self.rows()),
        }
    }

    /// Waits until it has received this many.
    pub(crate) async fn wait_for_count(&self, count: usize) -> Vec<Value> {
        let seen = std::cell::Cell::new(0);
        let enough = self.rows.find(|_| {
            seen.set(seen.get() + 1);
            (seen.get() >= count).then_some(())
        });
        if enough.await.is_none() {
            panic!("{} of {count} came within {PATIENCE:?}", self.rows().len());
        }
        self.rows()
    }

    /// SIGINT; returns its summary.
    pub(crate) async fn stop(mut self) -> String {
        signal(self.child.id().expect("it runs"), "INT").await;
        let status = self.child.wait().await.expect("its status can be had");
        assert!(status.success(), "{status}: {:#?}", self.log.all());
        let summary = self
            .log
            .find(|line| line.starts_with("received ").then(|| line.to_owned()))
            .await;
        summary.expect("it sums up")
    }
}
