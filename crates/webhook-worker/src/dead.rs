//! Says on the bus that events became dead letters: at most once a minute and subscription, with
//! a count, and never about events of our own, which would make more of themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::{sync::mpsc, time::Instant};
use webhook_model::topics;
use webhook_store::DeliveryRecord;

use crate::{announcer::Announcements, runtime::Directory};

/// Least time between two announcements for one subscription.
const INTERVAL: Duration = Duration::from_secs(60);
/// Reports that may wait; a further one waits for the task, which only counts.
const QUEUE: usize = 1_024;

/// Where dead letters are reported.
#[derive(Debug, Clone)]
pub(crate) struct DeadLetters(mpsc::Sender<(String, String)>);

impl DeadLetters {
    /// Counts a dead letter in.
    pub(crate) async fn add(&mut self, record: &DeliveryRecord) {
        if !record.topic.starts_with(topics::RESERVED_PREFIX) {
            let reason = record.error.clone().unwrap_or_default();
            let _ = self.0.send((record.subscription.clone(), reason)).await;
        }
    }
}

/// What is still to be said of one subscription.
#[derive(Debug, Default)]
struct Tally {
    count: u64,
    reason: String,
    said: Option<Instant>,
}

impl Tally {
    fn due(&self) -> Option<Instant> {
        (self.count > 0).then(|| self.said.map_or_else(Instant::now, |said| said + INTERVAL))
    }
}

/// The queue's two ends.
pub(crate) fn channel() -> (DeadLetters, mpsc::Receiver<(String, String)>) {
    let (send, receive) = mpsc::channel(QUEUE);
    (DeadLetters(send), receive)
}

/// Announces until every [`DeadLetters`] is gone, and then what is left.
pub(crate) async fn run(
    announcements: Announcements,
    directory: Directory,
    mut reports: mpsc::Receiver<(String, String)>,
) {
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    loop {
        let due = tallies.values().filter_map(Tally::due).min();
        let pause = async {
            match due {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            report = reports.recv() => match report {
                Some((uuid, reason)) => {
                    let tally = tallies.entry(uuid).or_default();
                    tally.count += 1;
                    tally.reason = reason;
                }
                None => break,
            },
            () = pause => {}
        }
        let now = Instant::now();
        for (uuid, tally) in &mut tallies {
            if tally.due().is_some_and(|due| due <= now) {
                say(&announcements, &directory, uuid, tally);
                tally.said = Some(now);
            }
        }
        tallies.retain(|_, tally| {
            tally.count > 0 || tally.said.is_some_and(|said| said.elapsed() < INTERVAL)
        });
    }
    for (uuid, tally) in &mut tallies {
        if tally.count > 0 {
            say(&announcements, &directory, uuid, tally);
        }
    }
}

fn say(announcements: &Announcements, directory: &Directory, uuid: &str, tally: &mut Tally) {
    let name = directory.get(uuid).map(|runtime| runtime.current().name);
    let payload = json!({
        "subscription": uuid,
        "name": name.as_deref(),
        "reason": std::mem::take(&mut tally.reason),
        "count": std::mem::take(&mut tally.count),
    });
    announcements.say(topics::DEAD, "dead", &payload);
}
