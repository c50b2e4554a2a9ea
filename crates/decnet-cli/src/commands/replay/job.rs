//! A replay as the server tells of it.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, json, value::RawValue};
use tokio::time::sleep;

use crate::{
    client::{Client, Names, decode, route, segment},
    output::{self, BAD, BOLD, GOOD, NOTE},
};

/// Pause between two looks at a job: the worker looks for jobs once a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a server may be away while one waits: a restart. The job outlives it.
const AWAY_FOR: Duration = Duration::from_secs(60);

/// A job, and the JSON that told of it.
pub(super) struct Job {
    told: Told,
    raw: Bytes,
}

#[derive(Deserialize)]
struct Told {
    id: Option<String>,
    subscription: String,
    state: String,
    reason: Option<String>,
    matched: u64,
    replayed: u64,
    unavailable: u64,
    #[serde(default)]
    present: u64,
}

impl Job {
    fn read(raw: Bytes) -> anyhow::Result<Self> {
        let told = decode(&raw)?;
        Ok(Self { told, raw })
    }

    pub(super) async fn load(client: &Client, id: &str) -> anyhow::Result<Self> {
        Self::read(client.call(Method::GET, &path(id)?, None).await?)
    }

    pub(super) fn matched(&self) -> u64 {
        self.told.matched
    }

    pub(super) fn subscription(&self) -> &str {
        &self.told.subscription
    }

    pub(super) fn id(&self) -> &str {
        self.told.id.as_deref().unwrap_or("-")
    }

    fn runs(&self) -> bool {
        self.told.state == "running"
    }
}

fn path(id: &str) -> anyhow::Result<String> {
    Ok(format!("/api/v1/replays/{}", segment(id)?))
}

/// Asks for one job a subscription, or what it would match.
pub(super) async fn create(
    client: &Client,
    subscriptions: &[String],
    fields: &[(&'static str, String)],
    dry_run: bool,
) -> anyhow::Result<Vec<Job>> {
    let fields = fields
        .iter()
        .map(|(name, value)| ((*name).into(), json!(value)));
    let mut body: Map<_, _> = fields.collect();
    body.insert("dry_run".into(), json!(dry_run));
    let body = Bytes::from(serde_json::to_vec(&body)?);
    let mut jobs = Vec::with_capacity(subscriptions.len());
    for uuid in subscriptions {
        let path = route(uuid)? + "/replay";
        let answer = client.call(Method::POST, &path, Some(body.clone())).await?;
        jobs.push(Job::read(answer)?);
    }
    Ok(jobs)
}

/// Stays until none of them runs.
pub(super) async fn wait(client: &Client, mut jobs: Vec<Job>) -> anyhow::Result<Vec<Job>> {
    let bar = ProgressBar::new(jobs.iter().map(Job::matched).sum());
    bar.set_draw_target(ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} queued  {elapsed}  {msg}")
    {
        bar.set_style(style.progress_chars("━╸ "));
    }
    let mut answered = Instant::now();
    while jobs.iter().any(Job::runs) {
        sleep(LOOK_EVERY).await;
        for job in jobs.iter_mut().filter(|job| job.runs()) {
            match client.ask(Method::GET, &path(job.id())?, None).await {
                Ok(answer) => {
                    answered = Instant::now();
                    bar.set_message("");
                    *job = Job::read(answer?)?;
                }
                Err(away) if answered.elapsed() < AWAY_FOR => {
                    bar.set_message(away.to_string());
                }
                Err(away) => return Err(away.into()),
            }
        }
        let done = jobs
            .iter()
            .map(|job| job.told.replayed + job.told.unavailable + job.told.present);
        bar.set_position(done.sum());
    }
    bar.finish_and_clear();
    Ok(jobs)
}

/// `{"items":[…]}` of the server's own JSON.
pub(super) fn json(jobs: &[Job]) -> anyhow::Result<()> {
    let items: Vec<&RawValue> = jobs
        .iter()
        .map(|job| serde_json::from_slice(&job.raw))
        .collect::<Result<_, _>>()?;
    output::json(&serde_json::to_vec(&json!({"items": items}))?)?;
    Ok(())
}

/// What a dry run found, subscription by subscription.
pub(super) fn counts(jobs: &[Job], names: &Names) -> anyhow::Result<()> {
    let matching = jobs.iter().filter(|job| job.matched() > 0);
    let rows = matching.map(|job| {
        let name = names.name(job.subscription()).to_owned();
        vec![name, output::count(job.matched())]
    });
    let rows = rows.collect();
    output::table(
        &["SUBSCRIPTION", "WOULD BE REPLAYED"],
        &["SUBSCRIPTION"],
        rows,
    )?;
    Ok(())
}

/// How they fared; fails when one of them did.
pub(super) fn tell(jobs: &[Job], names: &Names, as_json: bool) -> anyhow::Result<ExitCode> {
    let failed = jobs.iter().any(|job| job.told.state == "failed");
    if as_json {
        json(jobs)?;
    } else if jobs.iter().all(|job| job.matched() == 0) {
        eprintln!("nothing matches");
    } else {
        for job in jobs.iter().filter(|job| job.matched() > 0) {
            line(job, output::printable(names.name(job.subscription())))?;
        }
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn line(job: &Job, name: String) -> anyhow::Result<()> {
    let told = &job.told;
    let of = format!(
        "{} of {}",
        output::count(told.replayed),
        output::count(told.matched)
    );
    match told.state.as_str() {
        "done" => output::line(format_args!("{GOOD}queued again{GOOD:#} {of} for {name}"))?,
        "failed" => output::line(format_args!(
            "{BAD}failed{BAD:#} after {of} for {name}: {}",
            output::printable(told.reason.as_deref().unwrap_or("no reason was given"))
        ))?,
        state => output::line(format_args!("{BOLD}{state}{BOLD:#} {of} for {name}"))?,
    }
    if told.unavailable > 0 {
        let count = output::count(told.unavailable);
        anstream::eprintln!("{NOTE}{count} unavailable{NOTE:#}: their bodies are nowhere any more");
    }
    if told.present > 0 {
        let count = output::count(told.present);
        anstream::eprintln!(
            "{NOTE}{count} left where they are{NOTE:#}: {name} has a delivery of their events"
        );
    }
    Ok(())
}
