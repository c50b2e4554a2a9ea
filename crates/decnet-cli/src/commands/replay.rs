//! `decnet replay`: jobs of the server that send deliveries again, by filter.

mod job;

use std::{collections::HashSet, process::ExitCode};

use anyhow::bail;
use clap::{ArgGroup, Subcommand, ValueEnum};
use webhook_api::tokens::Role;

use self::job::Job;
use super::deliveries::args::ContentFilter;
use crate::{
    client::{Client, ClientOptions, Names},
    output::{self, DIM, NOTE},
    settings::Env,
};

const AFTER_HELP: &str = "\
Examples:
  decnet replay --subscription siem --error 400 --dry-run
  decnet replay --subscription siem --status delivered --since 2h --until 1h --wait
  decnet replay --subscription siem --status retrying
  decnet replay --all --yes
  decnet replay --subscription siem-2 --from 0f8fad5b-d9cb-469f-a165-70867728950e
  decnet replay show 0f8fad5b-d9cb-469f-a165-70867728950e

Events keep their ids. Delivered ones can be replayed as long as the bus keeps them. On a terminal
it counts first and asks, unless --yes is given.";

/// `decnet replay`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
#[command(subcommand_negates_reqs = true)]
#[command(group(ArgGroup::new("which").args(["subscription", "all"]).required(true)))]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Which: dead letters, what waits to be tried again, or what had arrived
    #[arg(long, value_enum, default_value = "dead")]
    status: Status,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    manner: Manner,
    #[command(flatten)]
    client: ClientOptions,
    /// Print the server's JSON, for pipes
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show how far a replay is
    #[command(after_help = "Example:\n  decnet replay show 0f8fad5b-d9cb-469f-a165-70867728950e")]
    Show {
        /// Its id, as it was printed when it began
        id: String,
        /// Stay until it is done
        #[arg(long)]
        wait: bool,
    },
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum Status {
    /// Dead letters
    Dead,
    /// What waits to be tried again: it is due now, and its schedule goes on
    Retrying,
    /// What had arrived, as long as the bus keeps it
    Delivered,
}

/// What to replay.
#[derive(clap::Args, Debug)]
pub(crate) struct Choice {
    /// Of this subscription, by id or name; repeat for more
    #[arg(long, short, value_name = "SUBSCRIPTION")]
    subscription: Vec<String>,
    /// Of all subscriptions
    #[arg(long, conflicts_with = "subscription")]
    all: bool,
    /// The dead letters that this deleted subscription left, by its id; they become those of
    /// --subscription, which gets each event once
    #[arg(
        long,
        value_name = "UUID",
        requires = "subscription",
        conflicts_with = "all"
    )]
    from: Option<String>,
    #[command(flatten)]
    content: ContentFilter,
}

/// How to go about it.
#[derive(clap::Args, Debug)]
pub(crate) struct Manner {
    /// Count what matches, and do nothing
    #[arg(long, short = 'n', conflicts_with_all = ["wait", "yes"])]
    dry_run: bool,
    /// Stay until all is queued; Ctrl-C leaves the replay running
    #[arg(long)]
    wait: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(args: Args, env: Env<'_>) -> anyhow::Result<ExitCode> {
    let client = Client::new(env, &args.client, Role::Admin)?;
    if let Some(Command::Show { id, wait }) = args.command {
        let names = Names::load(&client).await?;
        let job = Job::load(&client, &id).await?;
        let jobs = if wait {
            job::wait(&client, vec![job]).await?
        } else {
            vec![job]
        };
        return job::tell(&jobs, &names, args.json);
    }
    let status = match args.status {
        Status::Dead => "dead",
        Status::Retrying => "retrying",
        Status::Delivered => "delivered",
    };
    begin(&client, status, &args.choice, &args.manner, args.json).await
}

/// Counts, asks, begins and waits, as wanted.
pub(crate) async fn begin(
    client: &Client,
    status: &str,
    choice: &Choice,
    manner: &Manner,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let names = Names::load(client).await?;
    let mut wanted: Vec<String> = if choice.all {
        names.all()?.iter().map(|one| one.uuid.clone()).collect()
    } else {
        let uuids = choice.subscription.iter().map(|one| names.uuid(one));
        uuids.collect::<Result<_, _>>()?
    };
    // One that is named twice, by name and by uuid say, is replayed once.
    let mut seen = HashSet::new();
    wanted.retain(|uuid| seen.insert(uuid.clone()));
    // `--since 2h` was read once: what is counted is what is replayed.
    let mut fields: Vec<_> = choice.content.fields().collect();
    fields.push(("status", status.to_owned()));
    if let Some(from) = &choice.from {
        if wanted.len() > 1 {
            bail!("--from goes to one subscription: give one --subscription");
        }
        fields.push(("from", from.clone()));
    }

    let asks = output::asks(manner.yes);
    if manner.dry_run || asks {
        let counted = job::create(client, &wanted, &fields, true).await?;
        if manner.dry_run && as_json {
            job::json(&counted)?;
            return Ok(ExitCode::SUCCESS);
        }
        let matched: u64 = counted.iter().map(Job::matched).sum();
        if matched == 0 {
            eprintln!("nothing matches");
            return Ok(ExitCode::SUCCESS);
        }
        if manner.dry_run {
            job::counts(&counted, &names)?;
            return Ok(ExitCode::SUCCESS);
        }
        let question = format!("replay {} {status} deliveries", output::count(matched));
        if !output::confirmed(&question)? {
            bail!("nothing was replayed");
        }
        let with_any = counted.iter().filter(|job| job.matched() > 0);
        wanted = with_any.map(|job| job.subscription().to_owned()).collect();
    }

    let begun = job::create(client, &wanted, &fields, false).await?;
    for job in begun.iter().filter(|job| job.matched() > 0) {
        held_back(&names, job.subscription());
        anstream::eprintln!(
            "{DIM}`decnet replay show {}` tells how far it is{DIM:#}",
            job.id()
        );
    }
    let jobs = if manner.wait {
        job::wait(client, begun).await?
    } else {
        begun
    };
    job::tell(&jobs, &names, as_json)
}

/// Says so where what is replayed will not go out at once.
fn held_back(names: &Names, uuid: &str) {
    let Some(one) = names.get(uuid) else { return };
    let name = output::printable(&one.name);
    match one.state() {
        "paused" => anstream::eprintln!(
            "{NOTE}{name} is paused{NOTE:#}: nothing goes out until `decnet subscriptions enable {name}`"
        ),
        "tripped" => anstream::eprintln!(
            "{NOTE}{name} is tripped{NOTE:#}: its deliveries wait until a probe gets through"
        ),
        _ => {}
    }
}
