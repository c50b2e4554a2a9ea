//! `decnet dead-letters`: what was given up, and sending it again.

use std::process::ExitCode;

use clap::{ArgGroup, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use webhook_api::tokens::Role;

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
  decnet dead-letters replay --subscription siem --error 400 --wait";

const REPLAY_AFTER_HELP: &str = "\
Examples:
  decnet dead-letters replay 42 43
  decnet dead-letters replay --subscription siem --since 2h --dry-run
  decnet dead-letters replay --all --yes --wait

On a terminal it counts first and asks, unless --yes is given.";

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
