//! `decnet status`: whether everything is there, and what waits.

mod view;

use std::process::ExitCode;

use reqwest::Method;
use webhook_api::tokens::Role;

use crate::{
    client::{Client, ClientOptions, decode},
    output::{self, BAD},
    settings::Env,
};

const AFTER_HELP: &str = "\
Examples:
  decnet status
  decnet status --json | jq .backlog
  decnet status > /dev/null || echo 'somebody should look'

Fails (exit status 1) when no worker is alive, or the bus or the database does not answer, or the
bus takes no events; the reasons are on standard error. Tripped subscriptions, receivers that asked
for a pause, dead letters and a backlog are shown, and are no failure.";

/// `decnet status`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    client: ClientOptions,
    /// Print the server's JSON, for pipes
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args, env: Env<'_>) -> anyhow::Result<ExitCode> {
    let client = Client::new(env, &args.client, Role::Viewer)?;
    let body = client.call(Method::GET, "/api/v1/status", None).await?;
    let status: view::Status = decode(&body)?;
    if args.json {
        output::json(&body)?;
    } else {
        view::show(&status)?;
    }
    let missing = status.missing();
    for reason in &missing {
        anstream::eprintln!("{BAD}error{BAD:#}: {}", output::printable(reason));
    }
    Ok(if missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
