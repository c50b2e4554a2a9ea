//! `decnet token`: tokens for the API, made from the key without asking a server.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::bail;
use clap::{Subcommand, ValueEnum};
use webhook_api::tokens::{self, Role};

use crate::{
    output,
    settings::{DataDir, Env, JwtKey},
};

/// Longest life of a token: whoever needs more has forgotten it by then.
const MAX_TTL: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

const AFTER_HELP: &str = "\
Example:
  decnet token create --role publisher --ttl 90d --name sensor-7";

const CREATE_AFTER_HELP: &str = "\
Examples:
  decnet token create --role admin
  export DECNET_TOKEN=$(decnet token create --role publisher --ttl 90d --name sensor-7)";

#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Subcommand, Debug)]
enum TokenCommand {
    /// Print a new token
    Create(CreateArgs),
}

#[derive(clap::Args, Debug)]
#[command(after_help = CREATE_AFTER_HELP)]
struct CreateArgs {
    /// What its bearer may do
    #[arg(long, value_enum)]
    role: RoleArg,
    /// How long it is valid, e.g. 15m, 12h, 90d
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = ttl)]
    ttl: Duration,
    /// Whom to name in the answers and logs that mention its bearer
    #[arg(long, default_value = "decnet-cli")]
    name: String,
    /// Directory with the key [env: DECNET_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum RoleArg {
    /// Everything
    Admin,
    /// Look at deliveries and status
    Viewer,
    /// Publish events, nothing else
    Publisher,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Admin => Self::Admin,
            RoleArg::Viewer => Self::Viewer,
            RoleArg::Publisher => Self::Publisher,
        }
    }
}

pub(crate) fn run(args: Args, env: Env<'_>) -> anyhow::Result<ExitCode> {
    let TokenCommand::Create(args) = args.command;
    let data_dir = DataDir::for_client(env, args.data_dir.as_deref());
    let Some(secret) = JwtKey::for_client(env, &data_dir)? else {
        bail!(
            "there is no key to sign with: {} is missing or not yours to read; start `decnet serve` \
             once, point DECNET_DATA_DIR at its data directory, or set DECNET_JWT_SECRET",
            data_dir.jwt_secret().display()
        );
    };
    output::line(tokens::mint(
        &secret,
        args.role.into(),
        &args.name,
        args.ttl,
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if ttl < Duration::from_secs(1) || ttl > MAX_TTL {
        return Err("use 1s to 10y".into());
    }
    Ok(ttl)
}
