//! `decnet publish`: one event from the command line, or one for each line of a file.

mod progress;

use std::{io::Read, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use tokio::{sync::mpsc, task::spawn_blocking, time::sleep_until};
use tokio_util::sync::CancellationToken;
use webhook_api::tokens::Role;
use webhook_model::{Payload, Topic};

use self::progress::Progress;
use crate::{
    client::{Client, ClientOptions},
    publish::{
        Batcher, Follow, Item, Line, Pace, Refused, Report, Sender, TopicTemplate, read_lines,
    },
    settings::Env,
    shutdown::{self, OnHangup},
};

/// Lines read ahead: enough that reading and sending overlap, and 64 MiB at the very most.
const READ_AHEAD: usize = 64;

const AFTER_HELP: &str = "\
Examples:
  decnet publish attacker.observed '{\"ip\":\"192.0.2.7\"}'
  jq -c .alert report.json | decnet publish attacker.alert -
  decnet publish --jsonl cowrie.json --topic 'attacker.{eventid}' --follow

Each event gets its id once and is sent with it until the server has taken it, through restarts of
the server too. In a field's value, whatever may not stand in a topic's token becomes `_`, dots too.";

#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Topic of the one event, e.g. attacker.observed
    #[arg(
        value_name = "TOPIC",
        required_unless_present = "jsonl",
        conflicts_with = "jsonl"
    )]
    one: Option<String>,
    /// Its payload, a JSON object; `-` reads standard input
    #[arg(
        value_name = "JSON",
        conflicts_with = "jsonl",
        allow_hyphen_values = true
    )]
    payload: Option<String>,
    /// Publish one event for each line of this file, a JSON object each; `-` reads standard input
    #[arg(long, value_name = "FILE", requires = "template")]
    jsonl: Option<PathBuf>,
    /// Topic of the lines' events; `{field}` stands for a field's value
    #[arg(long = "topic", value_name = "TEMPLATE", requires = "jsonl")]
    template: Option<TopicTemplate>,
    /// Go on as the file grows, through rotation and truncation
    #[arg(long, requires = "jsonl")]
    follow: bool,
    /// At most so many events a second, evenly spaced
    #[arg(long, value_name = "N", requires = "jsonl", value_parser = rate)]
    rate: Option<f64>,
    /// The events' `type`
    #[arg(long = "type", value_name = "TYPE", default_value = "")]
    kind: String,
    /// Print the id of each event that the server has taken
    #[arg(long)]
    ids: bool,
    /// How long to try again when the server cannot be reached or takes nothing
    #[arg(long, value_name = "DURATION", default_value = "15m",
        value_parser = humantime::parse_duration)]
    retry_for: Duration,
    #[command(flatten)]
    client: ClientOptions,
}

pub(crate) async fn run(args: Args, env: Env<'_>) -> anyhow::Result<ExitCode> {
    let client = Client::new(env, &args.client, Role::Publisher)?;
    let stop = CancellationToken::new();
    shutdown::on_signals(stop.clone(), OnHangup::Stops)?;
    match (&args.jsonl, &args.template, &args.one) {
        (Some(path), Some(template), _) => lines(&args, &client, path, template, stop).await,
        (_, _, Some(topic)) => one(&args, &client, topic, stop).await,
        _ => bail!("give a topic, or --jsonl FILE with --topic TEMPLATE"),
    }
}

async fn one(
    args: &Args,
    client: &Client,
    topic: &str,
    stop: CancellationToken,
) -> anyhow::Result<ExitCode> {
    let topic = Topic::parse(topic)?;
    let payload = match args.payload.as_deref() {
        None => Payload::empty(),
        Some("-") => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("reading standard input")?;
            parse_payload(&text)?
        }
        Some(text) => parse_payload(text)?,
    };
    let item = Item::new(topic, &args.kind, payload)?;
    let mut sender = Sender::new(client, args.retry_for, stop, Progress::one());
    sender.send(&[item]).await?;
    Ok(exit(sender.report))
}

async fn lines(
    args: &Args,
    client: &Client,
    path: &std::path::Path,
    template: &TopicTemplate,
    stop: CancellationToken,
) -> anyhow::Result<ExitCode> {
    let follow = if args.follow { Follow::Yes } else { Follow::No };
    let progress = Progress::lines(path, follow, args.ids);
    let (lines_in, mut lines) = mpsc::channel(READ_AHEAD);
    let reader = spawn_blocking({
        let (path, stop) = (path.to_owned(), stop.clone());
        move || read_lines(&path, follow, lines_in, &stop)
    });
    let mut sender = Sender::new(client, args.retry_for, stop.clone(), progress);
    let sent = pump(&mut lines, args, template, &mut sender, &stop).await;
    // Tells a reader that still waits for room.
    drop(lines);
    sender.watcher.finish(&sender.report);
    sent?;
    // Standard input cannot be interrupted; what it reads is of no use any more.
    if !stop.is_cancelled() {
        reader
            .await?
            .with_context(|| format!("reading {}", path.display()))?;
    }
    Ok(exit(sender.report))
}

/// Lines become events, events become batches, until the lines end or `stop`.
async fn pump(
    lines: &mut mpsc::Receiver<Line>,
    args: &Args,
    template: &TopicTemplate,
    sender: &mut Sender<'_, Progress>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut batcher = Batcher::default();
    let mut pace = Pace::new(args.rate);
    loop {
        let due = batcher.due();
        let line = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            () = async { sleep_until(due.expect("guarded")).await }, if due.is_some() => {
                sender.send(&batcher.take()).await?;
                continue;
            }
            line = async { pace.wait().await; lines.recv().await } => line,
        };
        let Some(line) = line else {
            return sender.send(&batcher.take()).await;
        };
        pace.took();
        match Item::from_line(&line, template, &args.kind) {
            Ok(item) => {
                if let Some(batch) = batcher.push(item, tokio::time::Instant::now()) {
                    sender.send(&batch).await?;
                }
            }
            Err(unfit) => sender.refuse(Refused {
                line: line.number,
                reason: unfit.to_string(),
            }),
        }
    }
}

fn exit(report: Report) -> ExitCode {
    if report.refused == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn parse_payload(text: &str) -> anyhow::Result<Payload> {
    Payload::parse(text)
        .context("the payload has to be a JSON object, e.g. '{\"ip\":\"192.0.2.7\"}'")
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("use events a second, 0.001 to 1000000".into()),
    }
}
