//! `decnet api`: the HTTP API alone; `decnet webhook` delivers.

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
  decnet api
  DECNET_API_PORT=8080 decnet api --host 0.0.0.0";

#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    http: HttpOptions,
    #[command(flatten)]
    storage: ServerStorageOptions,
}

pub(crate) async fn run(args: Args, env: Env<'_>) -> anyhow::Result<ExitCode> {
    let log = telemetry::start(env)?;
    let shutdown = CancellationToken::new();
    shutdown::on_signals(shutdown.clone(), OnHangup::Reopens(log))?;
    let settings = ServerSettings::read(env, &args.storage, &args.http, &WorkerOptions::default())?;
    let key = JwtKey::for_server(env, &settings.data_dir)?;
    server::banner("api", &settings);
    let first_token = server::first_token(&key, &settings.data_dir)?;
    let parts = Parts {
        api: Some((key.secret, first_token)),
        worker: false,
        probe: None,
        ready_pipe: false,
    };
    let server = Server::start(settings, parts, shutdown).await?;
    server::run(server, false).await
}
