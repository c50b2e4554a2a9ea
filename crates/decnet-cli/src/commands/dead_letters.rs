//! `decnet dead-letters`: what was given up, and sending it again.

use std::process::ExitCode;

use anyhow::bail;
use clap::{ArgGroup, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use webhook_api::tokens::Role;

use super::{
    deliveries::{
        self,
        args::{ContentFilter, ListFilter},
        list,
    },
    replay::{self, Choice, Manner},
};
use crate::{
    client::{Client, ClientOptions, Names, decode, looks_like_uuid},
    output::{self, GOOD},
    settings::Env,
};

const AFTER_HELP: &str = "\
Examples:
  decnet dead-letters list --subscription siem
  decnet dead-letters replay 42
  decnet dead-letters replay --subscription siem --error 400 --wait
  decnet dead-letters purge --subscription siem --error 400";

const REPLAY_AFTER_HELP: &str = "\
Examples:
  decnet dead-letters replay 42 43
  decnet dead-letters replay --subscription siem --since 2h --dry-run
  decnet dead-letters replay --all --yes --wait

On a terminal it counts first and asks, unless --yes is given.";

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
    List(ListFilter),
    /// Send some again: by id, by subscription and filter, or all
    #[command(after_help = REPLAY_AFTER_HELP)]
    Replay(Replay),
    /// Remove some for good: by subscription and filter, those of deleted subscriptions, or all
    #[command(after_help = PURGE_AFTER_HELP)]
    Purge(Purge),
}

#[derive(clap::Args, Debug)]
#[command(group(ArgGroup::new("whose").args(["subscription", "orphans", "all"]).required(true)))]
struct Purge {
    /// Of this subscription, by id or name; of a deleted one by id
    #[arg(long, short, value_name = "SUBSCRIPTION")]
    subscription: Option<String>,
    /// Of subscriptions that were deleted
    #[arg(long)]
    orphans: bool,
    /// Of all subscriptions
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    content: ContentFilter,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(clap::Args, Debug)]
#[command(group(ArgGroup::new("which").args(["id", "subscription", "all"]).required(true)))]
struct Replay {
    /// Their ids, as `list` shows them
    #[arg(conflicts_with_all = ["topic", "error", "since", "until", "dry_run", "wait"])]
    id: Vec<String>,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    manner: Manner,
}

pub(crate) async fn run(args: Args, env: Env<'_>) -> anyhow::Result<ExitCode> {
    let client = Client::new(env, &args.client, Role::Admin)?;
    match args.command {
        Command::List(filter) => list(&client, &filter, args.json).await,
        Command::Replay(replay) if !replay.id.is_empty() => {
            deliveries::retry(&client, &replay.id, args.json).await
        }
        Command::Replay(replay) => {
            replay::begin(&client, "dead", &replay.choice, &replay.manner, args.json).await
        }
        Command::Purge(wanted) => purge(&client, &wanted, args.json).await,
    }
}

async fn purge(client: &Client, wanted: &Purge, as_json: bool) -> anyhow::Result<ExitCode> {
    #[derive(Deserialize)]
    struct Purged {
        purged: u64,
    }
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("status", "dead");
    query.extend_pairs(wanted.content.fields());
    let whose = match &wanted.subscription {
        Some(one) => {
            query.append_pair("subscription", &uuid(client, one).await?);
            format!("those of {one}")
        }
        None if wanted.orphans => {
            query.append_pair("orphans", "true");
            "those of deleted subscriptions".to_owned()
        }
        None => "those of all subscriptions".to_owned(),
    };
    if output::asks(wanted.yes) {
        let question = format!("remove dead letters for good, {whose} that match");
        if !output::confirmed(&question)? {
            bail!("nothing was removed");
        }
    }
    let path = format!("/api/v1/deliveries?{}", query.finish());
    let body = client.call(Method::DELETE, &path, None).await?;
    if as_json {
        output::json(&body)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Purged { purged } = decode(&body)?;
    output::line(format_args!(
        "{GOOD}removed{GOOD:#} {}",
        output::count(purged)
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// The uuid of a subscription that may be gone by now.
async fn uuid(client: &Client, wanted: &str) -> anyhow::Result<String> {
    match Names::load(client).await?.uuid(wanted) {
        Ok(uuid) => Ok(uuid),
        Err(_) if looks_like_uuid(wanted) => Ok(wanted.to_owned()),
        Err(error) => Err(error),
    }
}

async fn list(client: &Client, filter: &ListFilter, as_json: bool) -> anyhow::Result<ExitCode> {
    let names = Names::load(client).await?;
    let any = list::dead_letters(client, &names, filter, as_json).await?;
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
    }
    let body = client.call(Method::GET, "/api/v1/status", None).await?;
    let status: Status = decode(&body)?;
    Ok(status.deliveries.map(|deliveries| deliveries.dead))
}
