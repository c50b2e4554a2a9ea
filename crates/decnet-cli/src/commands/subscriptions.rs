//! `decnet subscriptions`: contract §2's routes at the command line.

mod args;
mod settings;
mod view;

use std::{fs, io::Read, process::ExitCode};

use anyhow::{Context, bail};
use bytes::Bytes;
use reqwest::Method;
use serde_json::{Map, Value, json};
use webhook_api::tokens::Role;

pub(crate) use self::args::Args;
use self::{
    args::{Command, Create, Fields, Update},
    view::{Subscription, TestResult},
};
use crate::{
    client::{Client, Names, decode, route},
    output::{self, BAD, BOLD, DIM, GOOD, NOTE},
    settings::Env,
};

const ROUTE: &str = "/api/v1/webhooks";

pub(crate) async fn run(args: Args, env: Env<'_>) -> anyhow::Result<ExitCode> {
    let client = Client::new(env, &args.client, Role::Admin)?;
    match args.command {
        Command::List => list(&client, args.json).await?,
        Command::Show { subscription } => show(&client, &subscription, args.json).await?,
        Command::Create(create) => self::create(&client, create, env, args.json).await?,
        Command::Update(update) => self::update(&client, update, env, args.json).await?,
        Command::Rename {
            subscription,
            new_name,
        } => {
            let change = ("name", json!(new_name));
            set(&client, &subscription, change, "renamed to", args.json).await?;
        }
        Command::Enable { subscription } => {
            let change = ("enabled", json!(true));
            set(&client, &subscription, change, "enabled", args.json).await?;
        }
        Command::Disable { subscription } => {
            let change = ("enabled", json!(false));
            set(&client, &subscription, change, "paused", args.json).await?;
        }
        Command::Delete { subscription, yes } => {
            delete(&client, &subscription, yes, args.json).await?;
        }
        Command::Test { subscription } => return test(&client, &subscription, args.json).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, as_json: bool) -> anyhow::Result<()> {
    let body = client.call(Method::GET, ROUTE, None).await?;
    if as_json {
        return Ok(output::json(&body)?);
    }
    let subscriptions: Vec<Subscription> = decode(&body)?;
    if subscriptions.is_empty() {
        eprintln!(
            "no subscriptions yet; make one with `decnet subscriptions create --name … --url …`"
        );
        return Ok(());
    }
    view::list(&subscriptions)
}

async fn show(client: &Client, wanted: &str, as_json: bool) -> anyhow::Result<()> {
    let path = find(client, wanted).await?;
    let body = client.call(Method::GET, &path, None).await?;
    if as_json {
        Ok(output::json(&body)?)
    } else {
        view::one(&decode(&body)?)
    }
}

async fn create(
    client: &Client,
    create: Create,
    env: Env<'_>,
    as_json: bool,
) -> anyhow::Result<()> {
    if create.fields.pattern.is_empty() && create.fields.event.is_empty() {
        bail!(
            "it would get no events: say which topics with --pattern, e.g. 'attacker.>', or with \
             --event, e.g. AttackerDetail"
        );
    }
    let mut fields = changed(&create.fields)?;
    let headers = create.fields.settings.headers(env)?;
    if !headers.is_empty() {
        fields.insert("headers".into(), json!(headers));
    }
    fields.insert("name".into(), json!(create.name));
    fields.insert("url".into(), json!(create.url));
    if create.disabled {
        fields.insert("enabled".into(), json!(false));
    }
    let body = client.call(Method::POST, ROUTE, encode(fields)).await?;
    if as_json {
        return Ok(output::json(&body)?);
    }
    let made: Subscription = decode(&body)?;
    output::line(format_args!(
        "{GOOD}created{GOOD:#} {} {DIM}{}{DIM:#}",
        output::printable(&made.name),
        made.uuid
    ))?;
    warn(&made);
    if let Some(secret) = &made.secret {
        output::line(format_args!("secret: {BOLD}{secret}{BOLD:#}"))?;
        eprintln!("It is shown this once: the receiver verifies signatures with it. Try");
        eprintln!("  DECNET_LISTEN_SECRET='{secret}' decnet listen");
    }
    Ok(())
}

async fn update(
    client: &Client,
    update: Update,
    env: Env<'_>,
    as_json: bool,
) -> anyhow::Result<()> {
    let path = find(client, &update.subscription).await?;
    let mut fields = changed(&update.fields)?;
    let new = update.fields.settings.headers(env)?;
    if !new.is_empty() || update.removal.is_wanted() {
        // The API takes all headers at once; those that are not named keep their values.
        let body = client.call(Method::GET, &path, None).await?;
        let old: Subscription = decode(&body)?;
        let headers = update.removal.apply(old.headers.keys(), new)?;
        fields.insert("headers".into(), json!(headers));
    }
    for (field, value) in [("name", update.name), ("url", update.url)] {
        if let Some(value) = value {
            fields.insert(field.into(), json!(value));
        }
    }
    if update.enable || update.disable {
        fields.insert("enabled".into(), json!(update.enable));
    }
    if fields.is_empty() {
        bail!("nothing to change; `decnet subscriptions update --help` lists what can be changed");
    }
    let body = client.call(Method::PATCH, &path, encode(fields)).await?;
    if as_json {
        return Ok(output::json(&body)?);
    }
    let subscription: Subscription = decode(&body)?;
    warn(&subscription);
    view::one(&subscription)
}

async fn delete(client: &Client, wanted: &str, yes: bool, as_json: bool) -> anyhow::Result<()> {
    let path = find(client, wanted).await?;
    if output::asks(yes) {
        let question = format!("delete {wanted}, and drop what it has not been delivered yet");
        if !output::confirmed(&question)? {
            bail!("nothing was deleted");
        }
    }
    let body = client.call(Method::DELETE, &path, None).await?;
    if as_json {
        return Ok(output::json(&body)?);
    }
    output::line(format_args!(
        "{GOOD}deleted{GOOD:#} {}",
        output::printable(wanted)
    ))?;
    Ok(())
}

async fn test(client: &Client, wanted: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let path = find(client, wanted).await? + "/test";
    let body = client.call(Method::POST, &path, None).await?;
    let result: TestResult = decode(&body)?;
    let status = result
        .status_code
        .map(|code| format!(" (HTTP {code})"))
        .unwrap_or_default();
    if as_json {
        output::json(&body)?;
    } else if result.delivered {
        output::line(format_args!("{GOOD}delivered{GOOD:#}{status}"))?;
    } else {
        let error = result.error.unwrap_or_default();
        output::line(format_args!(
            "{BAD}not delivered{BAD:#}{status}: {}",
            output::printable(&error)
        ))?;
    }
    Ok(if result.delivered {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Changes one field, and says what that did.
async fn set(
    client: &Client,
    wanted: &str,
    (field, value): (&str, Value),
    said: &str,
    as_json: bool,
) -> anyhow::Result<()> {
    let path = find(client, wanted).await?;
    let fields = Map::from_iter([(field.to_owned(), value)]);
    let body = client.call(Method::PATCH, &path, encode(fields)).await?;
    if as_json {
        return Ok(output::json(&body)?);
    }
    let subscription: Subscription = decode(&body)?;
    warn(&subscription);
    let name = output::printable(&subscription.name);
    output::line(format_args!("{GOOD}{said}{GOOD:#} {name}"))?;
    Ok(())
}

/// The route of the subscription with this id or, failing that, this name.
async fn find(client: &Client, wanted: &str) -> anyhow::Result<String> {
    route(&Names::load(client).await?.uuid(wanted)?)
}

fn changed(fields: &Fields) -> anyhow::Result<Map<String, Value>> {
    let mut map = fields.settings.fields();
    if let Some(secret) = secret(fields)? {
        map.insert("secret".into(), json!(secret));
    }
    // Either list replaces the merge of both, so each is sent as given.
    if !fields.event.is_empty() {
        map.insert("simple_events".into(), json!(fields.event));
    }
    if !fields.pattern.is_empty() {
        map.insert("topic_patterns".into(), json!(fields.pattern));
    }
    Ok(map)
}

fn secret(fields: &Fields) -> anyhow::Result<Option<String>> {
    let Some(path) = &fields.secret_file else {
        return Ok(fields.secret.clone());
    };
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin()
            .read_to_string(&mut text)
            .context("reading the secret from stdin")?;
    } else {
        text = fs::read_to_string(path)
            .with_context(|| format!("reading the secret from {}", path.display()))?;
    }
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn warn(subscription: &Subscription) {
    for warning in &subscription.warnings {
        anstream::eprintln!("{NOTE}warning{NOTE:#}: {}", output::printable(warning));
    }
    if let Some(dropped @ 1..) = subscription.dropped_events {
        anstream::eprintln!(
            "{NOTE}dropped{NOTE:#}: {} events that had been published and not delivered",
            output::count(dropped)
        );
    }
}

fn encode(fields: Map<String, Value>) -> Option<Bytes> {
    Some(Value::Object(fields).to_string().into())
}
