//! `decnet serve`: API and worker in one process, sharing one store, one bus, one client.

mod demo;
mod made_up;

use std::process::ExitCode;

use tokio_util::sync::CancellationToken;

use crate::{
    server::{self, Parts, Server},
    settings::{Env, HttpOptions, JwtKey, ServerSettings, ServerStorageOptions, WorkerOptions},
    shutdown::{self, OnHangup},
    telemetry,
};

const AFTER_HELP: &str = "\
Examples:
  decnet serve --demo
  decnet serve
  DECNET_WEBHOOK_ALLOW_CIDRS=10.20.0.0/16 decnet serve --data-dir /srv/decnet --port 8080";

#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Show how it works: everything temporary and on this machine only, with a receiver and
    /// made-up events; no installation is touched
    #[arg(long, conflicts_with_all = ["data_dir", "database_url", "bus", "host", "port", "takeover", "create"])]
    demo: bool,
    #[command(flatten)]
    http: HttpOptions,
    #[command(flatten)]
    worker: WorkerOptions,
    #[command(flatten)]
    storage: ServerStorageOptions,
}

pub(crate) async fn run(args: Args, env: Env<'_>) -> anyhow::Result<ExitCode> {
    if args.demo {
        return demo::run().await;
    }
    let log = telemetry::start(env)?;
    let shutdown = CancellationToken::new();
    shutdown::on_signals(shutdown.clone(), OnHangup::Reopens(log))?;
    let settings = ServerSettings::read(env, &args.storage, &args.http, &args.worker)?;
    let key = JwtKey::for_server(env, &settings.data_dir)?;
    server::banner("serve", &settings);
    let first_token = server::first_token(&key, &settings.data_dir)?;
    let parts = Parts {
        api: Some((key.secret, first_token)),
        worker: true,
        probe: None,
        ready_pipe: false,
    };
    let server = Server::start(settings, parts, shutdown).await?;
    server::run(server, false).await
}
