//! One file a command: its arguments, and what it does with them.

pub(crate) mod api;
pub(crate) mod backup;
pub(crate) mod completions;
pub(crate) mod dead_letters;
pub(crate) mod deliveries;
pub(crate) mod init;
pub(crate) mod listen;
pub(crate) mod publish;
pub(crate) mod replay;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod subscriptions;
pub(crate) mod token;
pub(crate) mod webhook;

use std::{future::Future, process::ExitCode, time::Duration};

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};

use crate::{
    cli::{self, Command},
    settings::{self, Env},
};

/// What may still be at work on a blocking thread once a command is done (a read of standard
/// input that nothing can cut short) is left behind after this.
const LEFT_BEHIND_AFTER: Duration = Duration::from_millis(100);

/// Runs a command to its end.
pub(crate) fn run(command: Command, env: Env<'_>) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => blocking(serve::run(args, env)),
        Command::Api(args) => blocking(api::run(args, env)),
        Command::Webhook(args) if args.daemon => webhook::start_daemon(&args, env),
        Command::Webhook(args) => blocking(webhook::run(args, env)),
        Command::Token(args) => blocking(token::run(args, env)),
        Command::Subscriptions(args) => blocking(subscriptions::run(args, env)),
        Command::Deliveries(args) => blocking(deliveries::run(args, env)),
        Command::DeadLetters(args) => blocking(dead_letters::run(args, env)),
        Command::Replay(args) => blocking(replay::run(args, env)),
        Command::Status(args) => blocking(status::run(args, env)),
        Command::Publish(args) => blocking(publish::run(args, env)),
        Command::Listen(args) => blocking(listen::run(args, env)),
        Command::Backup(args) => blocking(backup::run(args, env)),
        Command::Restore(args) => blocking(backup::restore::run(args, env)),
        Command::Completions(args) => {
            completions::run(&args, cli::command(settings::is_gated(env)))
        }
        Command::Init(args) => init::run(args, env),
    }
}

fn blocking(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime: Runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let outcome = runtime.block_on(command);
    runtime.shutdown_timeout(LEFT_BEHIND_AFTER);
    outcome
}
