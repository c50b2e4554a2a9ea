//! `decnet listen`: a receiver that verifies both signatures and shows each delivery.

use std::{
    io::{self, BufWriter, Write},
    net::SocketAddr,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use hyper::StatusCode;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use webhook_delivery::verify::Verifier;
use webhook_model::Secret;

use crate::{
    output::{DIM, NOTE},
    receiver::{
        Answers, Delivery, Receiver,
        print::{self, Counts},
    },
    settings::Env,
    shutdown::{self, OnHangup},
};

const AFTER_HELP: &str = "\
Examples:
  DECNET_LISTEN_SECRET=whsec_… decnet listen
  decnet listen --addr 127.0.0.1:0 --secret whsec_… --json > deliveries.jsonl
  decnet listen --secret whsec_… --fail 503 --fail-rate 0.2 --delay 250ms

A delivery with a wrong signature is answered with 401, any other with 204.";

#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Signing secret; repeat while one replaces another [env: DECNET_LISTEN_SECRET, or a file:
    /// DECNET_LISTEN_SECRET_FILE]
    #[arg(long, value_name = "SECRET")]
    secret: Vec<String>,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9999")]
    addr: SocketAddr,
    /// Answer with this status instead of 204: every delivery, or the share of --fail-rate
    #[arg(long, value_name = "STATUS", value_parser = status)]
    fail: Option<StatusCode>,
    /// Share of deliveries to fail, 0 to 1, with --fail's status or 500
    #[arg(long, value_name = "RATE", value_parser = rate)]
    fail_rate: Option<f64>,
    /// Wait so long before each answer, e.g. 250ms
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    delay: Option<Duration>,
    /// Print one JSON line a delivery
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args, env: Env<'_>) -> anyhow::Result<ExitCode> {
    let verifier = verifier(&args.secret, env)?;
    let answers = Answers {
        failure: args.fail.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        fail_rate: args
            .fail_rate
            .unwrap_or(if args.fail.is_some() { 1.0 } else { 0.0 }),
        delay: args.delay.unwrap_or_default(),
    };
    let verifies = verifier.is_some();
    let receiver = Receiver::bind(args.addr, verifier, answers)
        .await
        .map_err(|error| {
            let taken = error.kind() == io::ErrorKind::AddrInUse;
            let context = if taken {
                format!(
                    "{} is taken by another program; use --addr 127.0.0.1:0 for a free port",
                    args.addr
                )
            } else {
                format!("cannot listen on {}", args.addr)
            };
            anyhow::Error::new(error).context(context)
        })?;
    let shutdown = CancellationToken::new();
    shutdown::on_signals(shutdown.clone(), OnHangup::Stops)?;
    anstream::eprintln!(
        "listening on http://{} {DIM}(Ctrl-C ends){DIM:#}",
        receiver.addr()
    );
    if !verifies {
        anstream::eprintln!(
            "{NOTE}no --secret given: signatures are not verified, everything is accepted{NOTE:#}"
        );
    }
    let (sender, deliveries) = Receiver::queue();
    let printing = tokio::task::spawn_blocking({
        let stop = shutdown.clone();
        move || {
            // Whatever ends the printing ends the receiver: nothing may be accepted unseen.
            let _stop = stop.drop_guard();
            show(deliveries, args.json)
        }
    });
    receiver.run(sender, shutdown).await;
    let counts = printing.await.context("printing deliveries")??;
    anstream::eprintln!("{}", counts.summary());
    Ok(ExitCode::SUCCESS)
}

/// Prints deliveries until there are no more; flushes whenever none is waiting.
fn show(mut deliveries: mpsc::Receiver<Delivery>, json: bool) -> anyhow::Result<Counts> {
    let mut out = BufWriter::new(anstream::stdout());
    let mut counts = Counts::default();
    while let Some(delivery) = deliveries.blocking_recv() {
        counts.add(&delivery);
        let line = if json {
            print::json(&delivery)?
        } else {
            print::coloured(&delivery)
        };
        writeln!(out, "{line}")?;
        if deliveries.is_empty() {
            out.flush()?;
        }
    }
    out.flush()?;
    Ok(counts)
}

fn verifier(flags: &[String], env: Env<'_>) -> anyhow::Result<Option<Verifier>> {
    let variable = env.secret("DECNET_LISTEN_SECRET")?;
    let texts = if flags.is_empty() {
        variable.into_iter().collect()
    } else {
        flags.to_vec()
    };
    let mut verifier: Option<Verifier> = None;
    for text in texts {
        let Ok(secret) = Secret::stored(text) else {
            bail!("--secret is empty; give the secret that `decnet subscriptions create` printed");
        };
        verifier = Some(match verifier {
            None => Verifier::new(&secret),
            Some(verifier) => verifier.or_secret(&secret),
        });
    }
    Ok(verifier)
}

fn status(text: &str) -> Result<StatusCode, String> {
    match text.parse() {
        Ok(status) if (200..=599).contains(&text.parse::<u16>().unwrap_or(0)) => Ok(status),
        _ => Err("use an HTTP status, 200 to 599".into()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err("use a share from 0 to 1".into()),
    }
}
