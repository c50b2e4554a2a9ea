//! `decnet webhook`: the worker, in the foreground or as a daemon.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use tokio_util::sync::CancellationToken;

use crate::{
    daemon,
    server::{self, Parts, Server},
    settings::{
        Env, HttpOptions, ServerSettings, ServerStorageOptions, WorkerOptions, metrics_addr,
    },
    shutdown::{self, OnHangup},
    telemetry,
};

const AFTER_HELP: &str = "\
Examples:
  decnet webhook
  decnet webhook -d && curl -s http://127.0.0.1:9464/readyz";

#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Detach: print the daemon's process id and exit once it is ready; its output goes to
    /// DECNET_SYSTEM_LOGS or webhook.log in the data directory
    #[arg(long, short)]
    pub(crate) daemon: bool,
    /// Where to serve health and metrics [env: DECNET_METRICS_ADDR; default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    metrics_addr: Option<SocketAddr>,
    #[command(flatten)]
    worker: WorkerOptions,
    #[command(flatten)]
    storage: ServerStorageOptions,
    /// Standard output leads to the process that waits for this one to be ready
    #[arg(long = daemon::CHILD_FLAG, hide = true, conflicts_with = "daemon")]
    is_daemon_child: bool,
    /// Standard error leads to this file
    #[arg(long = daemon::LOG_FLAG, value_name = "FILE", hide = true)]
    daemon_log: Option<PathBuf>,
}

impl Args {
    fn settings(&self, env: Env<'_>) -> anyhow::Result<(ServerSettings, SocketAddr)> {
        let http = HttpOptions::default();
        let settings = ServerSettings::read(env, &self.storage, &http, &self.worker)?;
        Ok((settings, metrics_addr(env, self.metrics_addr)?))
    }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "use an address with a port, e.g. 127.0.0.1:9464; port 0 takes any free one")
}

/// Starts a daemon. What can be known to be wrong is said here, where it is read.
pub(crate) fn start_daemon(args: &Args, env: Env<'_>) -> anyhow::Result<ExitCode> {
    let (settings, _) = args.settings(env)?;
    daemon::start(env, &settings.data_dir.worker_log())
}

pub(crate) async fn run(args: Args, env: Env<'_>) -> anyhow::Result<ExitCode> {
    let logs = telemetry::start(env)?.with_stderr(args.daemon_log.clone());
    let shutdown = CancellationToken::new();
    shutdown::on_signals(shutdown.clone(), OnHangup::Reopens(logs))?;
    let (settings, probe) = args.settings(env)?;
    server::banner("webhook", &settings);
    let parts = Parts {
        api: None,
        worker: true,
        probe: Some(probe),
        ready_pipe: args.is_daemon_child,
    };
    let server = Server::start(settings, parts, shutdown).await?;
    server::run(server, args.is_daemon_child).await
}
