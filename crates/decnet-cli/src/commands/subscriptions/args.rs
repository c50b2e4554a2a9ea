use std::path::PathBuf;

use clap::Subcommand;

use super::settings::{HeaderRemoval, SettingsArgs};
use crate::client::ClientOptions;

const AFTER_HELP: &str = "\
Examples:
  decnet subscriptions create --name siem --url https://siem.example/hook --pattern 'attacker.>'
  decnet subscriptions list --json
  decnet subscriptions test siem";

/// `decnet subscriptions`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) client: ClientOptions,
    /// Print the server's JSON, for pipes
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// List all
    #[command(after_help = "Example:\n  decnet subscriptions list")]
    List,
    /// Show one
    #[command(after_help = "Example:\n  decnet subscriptions show siem")]
    Show {
        /// Its id or name
        subscription: String,
    },
    /// Make one; prints its secret, once
    #[command(after_help = CREATE_AFTER_HELP)]
    Create(Create),
    /// Change one
    #[command(after_help = UPDATE_AFTER_HELP)]
    Update(Update),
    /// Give one another name
    #[command(after_help = "Example:\n  decnet subscriptions rename siem siem-old")]
    Rename {
        /// Its id or name
        subscription: String,
        /// Its new name, 1 to 64 characters
        new_name: String,
    },
    /// Resume one that is paused or tripped; clears its failures
    #[command(visible_alias = "resume")]
    #[command(after_help = "Example:\n  decnet subscriptions enable siem")]
    Enable {
        /// Its id or name
        subscription: String,
    },
    /// Pause one: what waits is dropped, and events that arrive meanwhile are not for it
    #[command(visible_alias = "pause")]
    #[command(after_help = "Example:\n  decnet subscriptions disable siem")]
    Disable {
        /// Its id or name
        subscription: String,
    },
    /// Delete one; on a terminal it asks first
    #[command(after_help = "Example:\n  decnet subscriptions delete siem")]
    Delete {
        /// Its id or name
        subscription: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Send it one test event now; exits 1 when that is not delivered
    #[command(after_help = "Example:\n  decnet subscriptions test siem")]
    Test {
        /// Its id or name
        subscription: String,
    },
}

const CREATE_AFTER_HELP: &str = "\
Examples:
  decnet subscriptions create --name siem --url https://siem.example/hook --pattern 'attacker.>'
  decnet subscriptions create --name ops --url https://ops.example/hook --event DeckyStatus \\
      --secret-file siem.secret --disabled
  decnet subscriptions create --name slow --url https://slow.example/hook --pattern '>' \\
      --rate 50 --timeout 30s --schedule 30s,2m,10m --header-env Authorization=SLOW_TOKEN";

#[derive(clap::Args, Debug)]
pub(super) struct Create {
    /// Unique name, 1 to 64 characters
    #[arg(long)]
    pub(super) name: String,
    /// Where events are posted
    #[arg(long)]
    pub(super) url: String,
    #[command(flatten)]
    pub(super) fields: Fields,
    /// Make it paused
    #[arg(long)]
    pub(super) disabled: bool,
}

const UPDATE_AFTER_HELP: &str = "\
Examples:
  decnet subscriptions update siem --pattern 'attacker.>' --pattern 'canary.>'
  decnet subscriptions update siem --ordered --max-in-flight 8
  decnet subscriptions update siem --clear-headers --header-env Authorization=SIEM_TOKEN
  decnet subscriptions update siem --disable";

#[derive(clap::Args, Debug)]
pub(super) struct Update {
    /// Its id or name
    pub(super) subscription: String,
    /// New name
    #[arg(long)]
    pub(super) name: Option<String>,
    /// New URL
    #[arg(long)]
    pub(super) url: Option<String>,
    #[command(flatten)]
    pub(super) fields: Fields,
    #[command(flatten)]
    pub(super) removal: HeaderRemoval,
    /// Resume it; also clears the failures of a tripped one
    #[arg(long, conflicts_with = "disable")]
    pub(super) enable: bool,
    /// Pause it: events that arrive meanwhile are not for it
    #[arg(long)]
    pub(super) disable: bool,
}

/// What can be given at creation and changed later.
#[derive(clap::Args, Debug)]
pub(super) struct Fields {
    /// Topics it gets, e.g. 'attacker.>'; repeat for more. On update the list replaces the old one
    #[arg(long, short, value_name = "PATTERN")]
    pub(super) pattern: Vec<String>,
    /// A ready-made choice: AttackerDetail, DeckyStatus or SystemStatus; repeat for more
    #[arg(long, short, value_name = "EVENT")]
    pub(super) event: Vec<String>,
    /// Signing secret of 16 to 256 characters, which other users may see in the process list;
    /// generated when absent
    #[arg(long, conflicts_with = "secret_file")]
    pub(super) secret: Option<String>,
    /// File with the signing secret; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub(super) secret_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) settings: SettingsArgs,
}
