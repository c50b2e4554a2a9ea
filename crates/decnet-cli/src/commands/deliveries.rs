//! `decnet deliveries`: the log of what became of each event for each subscription.

pub(crate) mod args;
pub(crate) mod list;
mod pretty;
mod show;

use std::process::ExitCode;

use reqwest::Method;
use webhook_api::tokens::Role;

pub(crate) use self::args::Args;
use self::args::Command;
use crate::{
    client::{Client, segment},
    output::{self, BAD, GOOD},
    settings::Env,
};

const ROUTE: &str = "/api/v1/deliveries";

pub(crate) async fn run(args: Args, env: Env<'_>) -> anyhow::Result<ExitCode> {
    let client = Client::new(env, &args.client, Role::Admin)?;
    match args.command {
        Command::List(list) => list::deliveries(&client, &list, args.json).await,
        Command::Show { id } => show::run(&client, &id, args.json).await,
        Command::Retry { id } => retry(&client, &id, args.json).await,
        Command::Skip { id } => each(&client, &id, "skip", "given up", args.json).await,
    }
}

/// Makes deliveries due now.
pub(crate) async fn retry(
    client: &Client,
    ids: &[String],
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    each(client, ids, "retry", "due now", as_json).await
}

/// Notes of dead letters that they were seen.
pub(crate) async fn acknowledge(
    client: &Client,
    ids: &[String],
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    each(client, ids, "acknowledge", "acknowledged", as_json).await
}

/// Asks the same for each of them by itself: one that is refused is no reason to leave the others.
async fn each(
    client: &Client,
    ids: &[String],
    what: &str,
    said: &str,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for id in ids {
        let path = format!("{ROUTE}/{}/{what}", segment(id)?);
        match client.ask(Method::POST, &path, None).await? {
            Ok(body) if as_json => output::json(&body)?,
            Ok(_) => output::line(format_args!(
                "{GOOD}{said}{GOOD:#} {}",
                output::printable(id)
            ))?,
            Err(refusal) => {
                code = ExitCode::FAILURE;
                let id = output::printable(id);
                anstream::eprintln!("{BAD}error{BAD:#}: {id}: {refusal}");
            }
        }
    }
    Ok(code)
}
