//! `decnet token`: tokens for the API, made from the key without asking a server; the server lists and
//! revokes them.

use std::{num::NonZeroU32, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::bail;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{Subcommand, ValueEnum};
use reqwest::Method;
use serde::Deserialize;
use webhook_api::tokens::{self, Grant, JwtSecret, Role};
use webhook_model::TopicPattern;

use crate::{
    client::{Client, ClientOptions, decode, looks_like_uuid, segment},
    output,
    settings::{DataDir, Env, JwtKey},
};

const ROUTE: &str = "/api/v1/tokens";
/// Longest life of a token: whoever needs it longer makes another one meanwhile.
const MAX_TTL: Duration = Duration::from_secs(366 * 24 * 3600);

const AFTER_HELP: &str = "\
Examples:
  decnet token create --role publisher --ttl 90d --name sensor-7
  decnet token list
  decnet token revoke 6a4d3b0e-7c6e-4e0f-9a5e-0a1f5b0f3c11";

const LIST_AFTER_HELP: &str = "\
Example:
  decnet token list --json";

const REVOKE_AFTER_HELP: &str = "\
Examples:
  decnet token revoke 6a4d3b0e-7c6e-4e0f-9a5e-0a1f5b0f3c11
  decnet token revoke \"$DECNET_TOKEN\"";

const CREATE_AFTER_HELP: &str = "\
Examples:
  decnet token create --role admin
  export DECNET_TOKEN=$(decnet token create --role publisher --ttl 90d --name sensor-7)
  decnet token create --role publisher --topic 'attacker.>' --events-per-second 100";

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
    /// List the tokens that were used and have not ended by themselves
    List(ListArgs),
    /// End a token, at once and for good
    Revoke(RevokeArgs),
}

#[derive(clap::Args, Debug)]
#[command(after_help = LIST_AFTER_HELP)]
struct ListArgs {
    /// Print the server's own JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientOptions,
}

#[derive(clap::Args, Debug)]
#[command(after_help = REVOKE_AFTER_HELP)]
struct RevokeArgs {
    /// The token's id, as `list` and `create` show it, or the token itself
    token: String,
    /// Print the server's own JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientOptions,
}

#[derive(clap::Args, Debug)]
#[command(after_help = CREATE_AFTER_HELP)]
struct CreateArgs {
    /// What its bearer may do
    #[arg(long, value_enum)]
    role: RoleArg,
    /// Topics that its bearer may publish to, e.g. 'attacker.>'; may be given several times. Without
    /// any, all that a publisher may
    #[arg(long, value_name = "PATTERN", value_parser = TopicPattern::parse)]
    topic: Vec<TopicPattern>,
    /// Most events a second, where that is less than the server allows; ten seconds' worth, and at
    /// least one list of 1,000, may come at once
    #[arg(long, value_name = "NUMBER")]
    events_per_second: Option<NonZeroU32>,
    /// Most bytes a second, where that is less than the server allows; ten seconds' worth, and at
    /// least one body of 16 MiB, may come at once
    #[arg(long, value_name = "NUMBER")]
    bytes_per_second: Option<NonZeroU32>,
    /// Most of the bus that it may fill, in percent, where that is less than the server allows
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    bus_share: Option<NonZeroU32>,
    /// How long it is valid, at most a year, e.g. 15m, 12h, 90d
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

pub(crate) async fn run(args: Args, env: Env<'_>) -> anyhow::Result<ExitCode> {
    match args.command {
        TokenCommand::Create(args) => create(&args, env)?,
        TokenCommand::List(args) => list(&args, env).await?,
        TokenCommand::Revoke(args) => revoke(&args, env).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn create(args: &CreateArgs, env: Env<'_>) -> anyhow::Result<()> {
    let publishes = matches!(args.role, RoleArg::Publisher);
    let is_bound = !args.topic.is_empty()
        || args.events_per_second.is_some()
        || args.bytes_per_second.is_some()
        || args.bus_share.is_some();
    if is_bound && !publishes {
        bail!(
            "--topic, --events-per-second, --bytes-per-second and --bus-share say what a publisher may \
             publish; add --role publisher or leave them out"
        );
    }
    let data_dir = DataDir::for_client(env, args.data_dir.as_deref());
    let Some(secret) = JwtKey::for_client(env, &data_dir)? else {
        bail!(
            "there is no key to sign with: {} is missing or not yours to read; start `decnet serve` \
             once, point DECNET_DATA_DIR at its data directory, or set DECNET_JWT_SECRET",
            data_dir.jwt_secret().display()
        );
    };
    print(&secret, args)
}

fn print(secret: &JwtSecret, args: &CreateArgs) -> anyhow::Result<()> {
    let grant = Grant {
        role: args.role.into(),
        username: &args.name,
        ttl: args.ttl,
        topics: &args.topic,
        events_per_second: args.events_per_second,
        bytes_per_second: args.bytes_per_second,
        bus_share_percent: args.bus_share,
    };
    let minted = tokens::mint_grant(secret, &grant);
    output::line(&minted.token)?;
    output::say!(
        "its id is {0}; `decnet token revoke {0}` ends it",
        minted.jti
    );
    Ok(())
}

async fn list(args: &ListArgs, env: Env<'_>) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Tokens {
        items: Vec<Token>,
    }
    #[derive(Deserialize)]
    struct Token {
        jti: String,
        username: String,
        role: String,
        topics: Vec<String>,
        expires_at: String,
        revoked_at: Option<String>,
    }
    let client = Client::new(env, &args.client, Role::Admin)?;
    let body = client.call(Method::GET, ROUTE, None).await?;
    if args.json {
        return Ok(output::json(&body)?);
    }
    let tokens: Tokens = decode(&body)?;
    if tokens.items.is_empty() {
        output::say!("no token was used yet; `decnet token create` makes one");
        return Ok(());
    }
    let rows = tokens.items.into_iter().map(|token| {
        let or_dash = |text: String| if text.is_empty() { "-".into() } else { text };
        let state = if token.revoked_at.is_some() {
            "revoked"
        } else {
            "valid"
        };
        vec![
            token.jti,
            state.into(),
            or_dash(token.role),
            or_dash(token.username),
            or_dash(token.topics.join(" ")),
            output::moment(Some(&token.expires_at)),
        ]
    });
    let headings = ["ID", "STATE", "ROLE", "NAME", "TOPICS", "ENDS"];
    Ok(output::table(
        &headings,
        &["ID", "STATE", "ROLE", "ENDS"],
        rows.collect(),
    )?)
}

async fn revoke(args: &RevokeArgs, env: Env<'_>) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Revoked {
        known: Option<bool>,
    }
    let jti = match jti_of(&args.token) {
        Some(jti) => jti,
        None if looks_like_uuid(&args.token) => args.token.clone(),
        None => bail!(
            "{:?} is neither a token nor the id of one, which is a UUID as `decnet token list` shows it; \
             a token with an id of another kind is revoked by giving the token itself",
            args.token
        ),
    };
    let client = Client::new(env, &args.client, Role::Admin)?;
    let path = format!("{ROUTE}/{}", segment(&jti)?);
    let body = client.call(Method::DELETE, &path, None).await?;
    if args.json {
        return Ok(output::json(&body)?);
    }
    let revoked: Revoked = decode(&body)?;
    output::line(format_args!("revoked {}", output::printable(&jti)))?;
    if revoked.known == Some(false) {
        output::say!(
            "no token with this id was used so far: check that it is the one that you meant with \
             `decnet token list`"
        );
    }
    Ok(())
}

/// The id of a token that is given whole; whether it is valid does not matter to who ends it.
fn jti_of(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        jti: String,
    }
    let [_, claims, _] = token.split('.').collect::<Vec<_>>()[..] else {
        return None;
    };
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    Some(claims.jti)
}

fn percent(text: &str) -> Result<NonZeroU32, &'static str> {
    let percent = text.parse::<NonZeroU32>().ok();
    let percent = percent.filter(|percent| percent.get() <= 100);
    percent.ok_or("use a whole percentage from 1 to 100")
}

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if ttl < Duration::from_secs(1) || ttl > MAX_TTL {
        return Err("use 1s to 1y".into());
    }
    Ok(ttl)
}
