//! What an operator does with dead letters that are not to be sent again: acknowledging them, and
//! removing them for good.

use std::process::ExitCode;

use anyhow::bail;
use clap::ArgGroup;
use reqwest::Method;
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::{Seen, deliveries::args::ContentFilter};
use crate::{
    client::{Client, Names, decode},
    output::{self, GOOD},
};

#[derive(clap::Args, Debug)]
#[command(group(ArgGroup::new("whose").args(["subscription", "orphans", "all"]).required(true)))]
pub(super) struct Purge {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    seen: Seen,
}

#[derive(clap::Args, Debug)]
#[command(group(ArgGroup::new("whose").args(["id", "subscription", "orphans", "all"]).required(true)))]
pub(super) struct Acknowledge {
    /// Their ids, as `list` shows them
    #[arg(conflicts_with_all = ["topic", "error", "since", "until"])]
    pub(super) id: Vec<String>,
    #[command(flatten)]
    whose: Whose,
}

/// Which dead letters.
#[derive(clap::Args, Debug)]
struct Whose {
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

pub(super) async fn purge(
    client: &Client,
    wanted: &Purge,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    #[derive(Deserialize)]
    struct Purged {
        purged: u64,
    }
    let (mut query, whose) = wanted.whose.query(client).await?;
    query.extend_pairs(wanted.seen.field().map(|seen| ("acknowledged", seen)));
    if output::asks(wanted.whose.yes) {
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
    told("removed", purged)
}

pub(super) async fn acknowledge(
    client: &Client,
    wanted: &Acknowledge,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    #[derive(Deserialize)]
    struct Acknowledged {
        acknowledged: u64,
    }
    let (mut query, whose) = wanted.whose.query(client).await?;
    if output::asks(wanted.whose.yes) {
        let question = format!("acknowledge dead letters, {whose} that match");
        if !output::confirmed(&question)? {
            bail!("nothing was acknowledged");
        }
    }
    let path = format!("/api/v1/deliveries/acknowledge?{}", query.finish());
    let body = client.call(Method::POST, &path, None).await?;
    if as_json {
        output::json(&body)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Acknowledged { acknowledged } = decode(&body)?;
    told("acknowledged", acknowledged)
}

fn told(done: &str, count: u64) -> anyhow::Result<ExitCode> {
    let count = output::count(count);
    output::line(format_args!("{GOOD}{done}{GOOD:#} {count}"))?;
    Ok(ExitCode::SUCCESS)
}

impl Whose {
    /// As the API wants it, and in words.
    async fn query(&self, client: &Client) -> anyhow::Result<(Serializer<'_, String>, String)> {
        let mut query = Serializer::new(String::new());
        query.append_pair("status", "dead");
        query.extend_pairs(self.content.fields());
        let whose = match &self.subscription {
            Some(one) => {
                let uuid = Names::load(client).await?.uuid_of_any(one)?;
                query.append_pair("subscription", &uuid);
                format!("those of {one}")
            }
            None if self.orphans => {
                query.append_pair("orphans", "true");
                "those of deleted subscriptions".to_owned()
            }
            None => "those of all subscriptions".to_owned(),
        };
        Ok((query, whose))
    }
}
