//! `decnet dead-letters`: what was given up, and sending it again.

mod settle;

use std::process::ExitCode;

use clap::{ArgGroup, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use webhook_api::tokens::Role;

use self::settle::{Acknowledge, Purge};
use super::{
    deliveries::{self, args::ListFilter, list},
    replay::{self, Choice, Manner},
};
use crate::{
    client::{Client, ClientOptions, Names, decode},
    output,
    settings::Env,
};

const AFTER_HELP: &str = "\
Examples:
  decnet dead-letters list --subscription siem
  decnet dead-letters replay 42
  decnet dead-letters replay --subscription siem --error 400 --wait
  decnet dead-letters acknowledge --all --until 1h
  decnet dead-letters purge --subscription siem --error 400";

const REPLAY_AFTER_HELP: &str = "\
Examples:
  decnet dead-letters replay 42 43
  decnet dead-letters replay --subscription siem --since 2h --dry-run
  decnet dead-letters replay --all --yes --wait
  decnet dead-letters replay --subscription siem-2 --from 0f8fad5b-d9cb-469f-a165-70867728950e

On a terminal it counts first and asks, unless --yes is given.";

const ACKNOWLEDGE_AFTER_HELP: &str = "\
Examples:
  decnet dead-letters acknowledge 42 43
  decnet dead-letters acknowledge --subscription siem --error 'http 400'
  decnet dead-letters acknowledge --all --until 1h --yes

They stay as they are, and can be listed, replayed and purged. `decnet status`, and the metric
decnet_webhook_dead_letters, do not count them any more; one that is sent again and dies again is not
acknowledged any more. On a terminal it asks first, unless ids or --yes are given.";

const PURGE_AFTER_HELP: &str = "\
Examples:
  decnet dead-letters purge --subscription siem --until 30d
  decnet dead-letters purge --orphans
  decnet dead-letters purge --all --error 'http 400' --yes

What is purged is gone for good. On a terminal it asks first, unless --yes is given.";

/// `decnet dead-letters`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    client: ClientOptions,
    /// Print the server's JSON, for pipes
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// List them, latest first, with their number
    #[command(after_help = "Example:\n  decnet dead-letters list --subscription siem --since 2h")]
    List(List),
    /// Send some again: by id, by subscription and filter, or all
    #[command(after_help = REPLAY_AFTER_HELP)]
    Replay(Replay),
    /// Remove some for good: by subscription and filter, those of deleted subscriptions, or all
    #[command(after_help = PURGE_AFTER_HELP)]
    Purge(Purge),
    /// Note that somebody has seen some, so that no alert tells of them any more: by id, by
    /// subscription and filter, those of deleted subscriptions, or all
    #[command(after_help = ACKNOWLEDGE_AFTER_HELP, visible_alias = "ack")]
    Acknowledge(Acknowledge),
}

#[derive(clap::Args, Debug)]
struct List {
    #[command(flatten)]
    filter: ListFilter,
    #[command(flatten)]
    seen: Seen,
}

/// Whether an operator has seen them.
#[derive(clap::Args, Debug)]
struct Seen {
    /// Those alone that somebody has acknowledged
    #[arg(long)]
    acknowledged: bool,
    /// Those alone that nobody has acknowledged
    #[arg(long, conflicts_with = "acknowledged")]
    unacknowledged: bool,
}

impl Seen {
    /// As the API wants it.
    fn field(&self) -> Option<&'static str> {
        match (self.acknowledged, self.unacknowledged) {
            (true, _) => Some("true"),
            (_, true) => Some("false"),
            _ => None,
        }
    }
}

#[derive(clap::Args, Debug)]
#[command(group(ArgGroup::new("which").args(["id", "subscription", "all"]).required(true)))]
struct Replay {
    /// Their ids, as `list` shows them
    #[arg(conflicts_with_all = ["topic", "error", "since", "until", "from", "dry_run", "wait"])]
    id: Vec<String>,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    manner: Manner,
}

pub(crate) async fn run(args: Args, env: Env<'_>) -> anyhow::Result<ExitCode> {
    let client = Client::new(env, &args.client, Role::Admin)?;
    match args.command {
        Command::List(wanted) => list(&client, &wanted, args.json).await,
        Command::Replay(replay) if !replay.id.is_empty() => {
            deliveries::retry(&client, &replay.id, args.json).await
        }
        Command::Replay(replay) => {
            replay::begin(&client, "dead", &replay.choice, &replay.manner, args.json).await
        }
        Command::Purge(wanted) => settle::purge(&client, &wanted, args.json).await,
        Command::Acknowledge(wanted) if !wanted.id.is_empty() => {
            deliveries::acknowledge(&client, &wanted.id, args.json).await
        }
        Command::Acknowledge(wanted) => settle::acknowledge(&client, &wanted, args.json).await,
    }
}

async fn list(client: &Client, wanted: &List, as_json: bool) -> anyhow::Result<ExitCode> {
    let names = Names::load(client).await?;
    let (filter, seen) = (&wanted.filter, wanted.seen.field());
    let any = list::dead_letters(client, &names, filter, seen, as_json).await?;
    if as_json {
        return Ok(ExitCode::SUCCESS);
    }
    if !any {
        eprintln!("no dead letters match");
    } else if let Some(count) = total(client).await? {
        eprintln!(
            "dead letters of all subscriptions: {}",
            output::count(count)
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// How many there are in all, as the server's status says.
async fn total(client: &Client) -> anyhow::Result<Option<u64>> {
    #[derive(Deserialize)]
    struct Status {
        deliveries: Option<Deliveries>,
    }
    #[derive(Deserialize)]
    struct Deliveries {
        dead: u64,
        #[serde(default)]
        dead_acknowledged: u64,
    }
    let body = client.call(Method::GET, "/api/v1/status", None).await?;
    let status: Status = decode(&body)?;
    Ok((status.deliveries).map(|counts| counts.dead + counts.dead_acknowledged))
}
