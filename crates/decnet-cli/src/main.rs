//! `decnet`: signed, durable webhook egress in one binary.
//!
//! This crate turns arguments and environment into each library's configuration, runs them, and
//! says how it ended. What an event, a delivery or a subscription is, the libraries know.

mod cli;
mod client;
mod commands;
mod daemon;
#[cfg(feature = "failpoints")]
mod failpoints;
mod held;
mod metrics;
mod notify;
mod outlook;
mod output;
mod private_file;
mod publish;
mod receiver;
mod server;
mod settings;
mod shutdown;
mod systemd;
mod telemetry;
mod when;

use std::process::ExitCode;

use crate::settings::{Env, decnet::Layers};

fn main() -> ExitCode {
    let layers = Layers::here();
    let env = Env(&layers);
    #[cfg(feature = "failpoints")]
    let _armed = failpoints::arm();
    let command = match cli::parse(std::env::args_os(), settings::is_gated(env)) {
        Ok(command) => command,
        Err(parsed) => return parsed.exit(env),
    };
    match commands::run(command, env) {
        Ok(code) => code,
        Err(error) => output::failure(&error),
    }
}
