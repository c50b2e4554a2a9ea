//! `decnet serve --demo`: the whole way of an event, for somebody who has just arrived.
//!
//! It reads no variable and no file of an installation, listens on loopback only, lets requests
//! go to one address, and leaves nothing behind.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use reqwest::Method;
use serde_json::json;
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;
use webhook_api::tokens::{self, JwtSecret, Role};
use webhook_delivery::verify::Verifier;
use webhook_model::Secret;

use super::made_up;
use crate::{
    client::Client,
    output::{self, BOLD, DIM, GOOD},
    receiver::{
        Answers, Delivery, Receiver,
        print::{self, Counts},
    },
    server::{Parts, Server},
    settings::{DataDir, Env, Nothing, ServerSettings},
    shutdown::{self, OnHangup},
    telemetry,
};

/// A demo is over sooner.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 3600);
/// The first events come briskly, later ones leave time to read and type.
const BRISK: Duration = Duration::from_millis(350);
const BRISK_EVENTS: usize = 12;
const CALM: Duration = Duration::from_secs(4);

pub(super) async fn run() -> anyhow::Result<ExitCode> {
    telemetry::start_quiet(Env(&Nothing))?;
    let shutdown = CancellationToken::new();
    shutdown::on_signals(shutdown.clone(), OnHangup::Stops)?;

    let folder = tempfile::Builder::new()
        .prefix("decnet-demo-")
        .tempdir()
        .context("making a temporary directory")?;
    let secret = Secret::generate();
    let any_port = "127.0.0.1:0".parse()?;
    let receiver =
        Receiver::bind(any_port, Some(Verifier::new(&secret)), Answers::default()).await?;
    let receiver_url = format!("http://{}/hook", receiver.addr());

    let settings = ServerSettings::demo(DataDir::at(folder.path().into()))?;
    let random: [u8; 32] = rand::random();
    let key = JwtSecret::parse(&random.map(|byte| format!("{byte:02x}")).concat())?;
    let token = tokens::mint(&key, Role::Admin, "demo", TOKEN_TTL);
    let parts = Parts {
        api: Some((key, None)),
        worker: true,
        probe: None,
        ready_pipe: false,
    };
    let server = Server::start(settings, parts, shutdown.clone()).await?;
    let Some(mut server) = server else {
        return Ok(ExitCode::SUCCESS);
    };
    server.ready().await?;
    let api_url = server.api_url().context("the demo has an API")?.to_owned();
    let client = Client::to(&api_url, &token)?;
    subscribe(&client, &receiver_url, &secret).await?;
    welcome(&api_url, &token, &receiver_url, &secret);

    let (sender, deliveries) = Receiver::queue();
    // Told to end only after the server, whose last deliveries it takes.
    let no_more = CancellationToken::new();
    let receiving = tokio::spawn(receiver.run(sender, no_more.clone()));
    let showing = tokio::spawn(show(deliveries, shutdown.clone()));
    let publishing = tokio::spawn(publish(client, shutdown.clone()));

    let ended = server.wait().await;
    publishing.await.context("publishing")?;
    no_more.cancel();
    receiving.await.context("receiving")?;
    let counts = showing.await.context("showing")??;
    folder.close().context("removing the temporary directory")?;
    let report = ended?;
    output::say!("\n{}", counts.summary());
    output::say!("{report}; the temporary data is removed");
    Ok(ExitCode::SUCCESS)
}

async fn subscribe(client: &Client, url: &str, secret: &Secret) -> anyhow::Result<()> {
    let subscription = json!({
        "name": "demo",
        "url": url,
        "secret": secret.expose(),
        "topic_patterns": made_up::PATTERNS,
    });
    client
        .call(
            Method::POST,
            "/api/v1/webhooks",
            Some(subscription.to_string().into()),
        )
        .await?;
    Ok(())
}

async fn publish(client: Client, shutdown: CancellationToken) {
    for number in 0.. {
        let pause = if number < BRISK_EVENTS { BRISK } else { CALM };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = sleep(pause) => {}
        }
        let event = made_up::event(number).to_string();
        let sent = client
            .call(Method::POST, "/api/v1/events", Some(event.into()))
            .await;
        if let Err(error) = sent
            && !shutdown.is_cancelled()
        {
            output::failure(&error);
        }
    }
}

/// Prints deliveries until there are no more.
async fn show(
    mut deliveries: mpsc::Receiver<Delivery>,
    shutdown: CancellationToken,
) -> anyhow::Result<Counts> {
    // A demo that nobody can see is over.
    let _over = shutdown.drop_guard();
    let mut counts = Counts::default();
    while let Some(delivery) = deliveries.recv().await {
        counts.add(&delivery);
        output::line(print::coloured(&delivery))?;
    }
    Ok(counts)
}

fn welcome(api_url: &str, token: &str, receiver_url: &str, secret: &Secret) {
    let decnet = own_name();
    output::say!(
        "
{BOLD}decnet demo{BOLD:#}  everything is temporary and stays on this machine

  {DIM}made-up attackers{DIM:#} → {DIM}API{DIM:#} {api_url} → {DIM}journal{DIM:#} → {DIM}worker{DIM:#} → {DIM}receiver{DIM:#} {receiver_url}

{BOLD}Try it from another terminal:{BOLD:#}

  export DECNET_API_URL={api_url}
  export DECNET_TOKEN={token}

  {DIM}# publish an event and watch it arrive here{DIM:#}
  {decnet} publish attacker.observed '{{\"ip\":\"192.0.2.99\",\"note\":\"me\"}}'
  curl -s \"$DECNET_API_URL/api/v1/events\" -H \"Authorization: Bearer $DECNET_TOKEN\" \\
    -H 'Content-Type: application/json' \\
    -d '{{\"topic\":\"canary.tripped\",\"type\":\"tripped\",\"payload\":{{\"file\":\"passwords.xlsx\"}}}}'

  {DIM}# look at the subscription, or add a receiver of your own{DIM:#}
  {decnet} subscriptions list
  {decnet} subscriptions create --name mine --url http://127.0.0.1:9999/ --pattern 'attacker.>' \\
    --secret {secret}
  {decnet} listen --secret {secret}

{BOLD}Deliveries{BOLD:#}, {GOOD}ok{GOOD:#} = both signatures verified {DIM}(Ctrl-C ends){DIM:#}",
        secret = secret.expose(),
    );
}

/// What to type to run this very program.
fn own_name() -> String {
    let found = || {
        let own = std::env::current_exe().ok()?.canonicalize().ok()?;
        let on_path = std::env::split_paths(&std::env::var_os("PATH")?)
            .map(|folder| folder.join("decnet"))
            .find_map(|path| path.canonicalize().ok());
        if on_path.as_ref() == Some(&own) {
            return Some("decnet".into());
        }
        let here = std::env::current_dir().ok()?;
        let relative = own
            .strip_prefix(&here)
            .ok()
            .map(|path| PathBuf::from(".").join(path));
        Some(relative.unwrap_or(own).to_str()?.to_owned())
    };
    found().unwrap_or_else(|| "decnet".into())
}
