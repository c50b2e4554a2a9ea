use clap::{Subcommand, ValueEnum};
use webhook_model::UtcTime;

use crate::{client::ClientOptions, when};

const AFTER_HELP: &str = "\
Examples:
  decnet deliveries list --subscription siem --status retrying
  decnet deliveries show 42
  decnet deliveries retry 42
  decnet deliveries skip 42";

const LIST_AFTER_HELP: &str = "\
Examples:
  decnet deliveries list --subscription siem --since 2h
  decnet deliveries list --topic 'attacker.>' --status dead --limit 500 --json | jq '.items[].id'";

/// `decnet deliveries`.
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
    /// List them, latest first
    #[command(after_help = LIST_AFTER_HELP)]
    List(List),
    /// Show one with its failed attempts and its body
    #[command(after_help = "Example:\n  decnet deliveries show 42")]
    Show {
        /// Its id, as `list` shows it
        id: String,
    },
    /// Try some again now; their redelivery schedules begin anew
    #[command(after_help = "Example:\n  decnet deliveries retry 42 43")]
    Retry {
        /// Their ids, as `list` shows them
        #[arg(required = true)]
        id: Vec<String>,
    },
    /// Give some up that wait to be tried again: what an ordered subscription's next events wait for
    /// becomes a dead letter, and they go on
    #[command(after_help = "Example:\n  decnet deliveries skip 42")]
    Skip {
        /// Their ids, as `list` shows them
        #[arg(required = true)]
        id: Vec<String>,
    },
}

#[derive(clap::Args, Debug)]
pub(super) struct List {
    /// Those that stand so
    #[arg(long, value_enum)]
    pub(super) status: Option<Status>,
    #[command(flatten)]
    pub(super) filter: ListFilter,
}

/// Where a delivery stands.
#[derive(ValueEnum, Debug, Clone, Copy)]
pub(super) enum Status {
    /// To be tried again
    Retrying,
    /// Arrived
    Delivered,
    /// Given up: a dead letter
    Dead,
}

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Retrying => "retrying",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

/// Which rows, and how many of them.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct ListFilter {
    /// Of this subscription, by id or name
    #[arg(long, short, value_name = "SUBSCRIPTION")]
    pub(super) subscription: Option<String>,
    /// Of events with this id
    #[arg(long, value_name = "ID")]
    pub(super) event_id: Option<String>,
    #[command(flatten)]
    pub(super) content: ContentFilter,
    /// Most rows to show, 1 to 100000
    #[arg(long, value_name = "N", default_value_t = 50,
        value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(super) limit: u64,
    /// Go on after an earlier list: the `next_cursor` of its --json
    #[arg(long, value_name = "CURSOR")]
    pub(super) cursor: Option<String>,
}

/// What lists and replays filter by alike.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct ContentFilter {
    /// Whose topic matches this pattern, e.g. 'attacker.>'
    #[arg(long, short, value_name = "PATTERN")]
    pub(crate) topic: Option<String>,
    /// Whose last error has this text in it, e.g. 503 or 'connection refused'
    #[arg(long, value_name = "TEXT")]
    pub(crate) error: Option<String>,
    /// First recorded then or later: how long ago, e.g. 2h, or e.g. 2026-04-24T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    pub(crate) since: Option<UtcTime>,
    /// First recorded before then
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    pub(crate) until: Option<UtcTime>,
}

impl ContentFilter {
    /// The API's names for what was given.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'static str, String)> {
        let time = |time: &Option<UtcTime>| time.map(|time| time.rfc3339().to_string());
        [
            ("topic", self.topic.clone()),
            ("error", self.error.clone()),
            ("since", time(&self.since)),
            ("until", time(&self.until)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}
