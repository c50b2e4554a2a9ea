//! The command line, and the gate that keeps agents from running what belongs to the master.

use std::{env, ffi::OsString, process::ExitCode};

use clap::{
    Arg, CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    commands::{
        api, backup, completions, dead_letters, deliveries, init, listen, publish, replay, serve,
        status, subscriptions, token, webhook,
    },
    output::{self, BAD},
    settings::{Env, decnet::Installation},
};

/// Status of a wrong usage.
const USAGE: u8 = 2;
/// Commands that are known as DECNET's, for machines on which none is installed.
const DECNETS: [&str; 6] = ["agent", "bus", "deinit", "deploy", "updater", "web"];
/// Commands that only the master runs.
const MASTER_ONLY: [&str; 3] = ["api", "webhook", "serve"];

const AFTER_HELP: &str = "\
Examples:
  decnet serve --demo                          watch signed deliveries, nothing to set up
  decnet serve                                 API and worker in one process
  decnet publish attacker.observed '{\"ip\":\"192.0.2.7\"}'
  decnet status                                what is there, and what waits
  decnet dead-letters replay --all             what was given up goes out again

Exit status: 0 done; 1 refused or failed; 2 wrong usage; 3 no answer from the server.";

/// Takes events off a bus and gets them, signed, to the HTTP endpoints that asked for them.
#[derive(Parser, Debug)]
#[command(name = "decnet", version, after_help = AFTER_HELP, subcommand_required = true)]
#[command(arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run API and worker in one process
    Serve(serve::Args),
    /// Run the HTTP API
    Api(api::Args),
    /// Run the worker, which delivers
    Webhook(webhook::Args),
    /// Make, list and revoke tokens for the API
    Token(token::Args),
    /// List, show, create, change, delete and test subscriptions
    #[command(visible_alias = "subs")]
    Subscriptions(subscriptions::Args),
    /// List and show deliveries, and try them again
    Deliveries(deliveries::Args),
    /// List what was given up, and send it again
    DeadLetters(dead_letters::Args),
    /// Send dead letters, or what had arrived, again by filter
    Replay(replay::Args),
    /// Tell whether everything is there, and what waits
    Status(status::Args),
    /// Publish events
    Publish(publish::Args),
    /// Receive deliveries, verify them and print them
    Listen(listen::Args),
    /// Copy journal, database and key while everything runs
    Backup(backup::Args),
    /// Put a backup back
    Restore(backup::restore::Args),
    /// Print a shell's completion script
    Completions(completions::Args),
    /// Install the systemd units, or take them back
    Init(init::Args),
}

/// Why there is no command to run.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Help, version, or wrong usage: clap knows what to print.
    Usage(clap::Error),
    /// A master's command on an agent.
    Gated(String),
}

impl Refused {
    /// Prints why, and the status to exit with.
    pub(crate) fn exit(self, env: Env<'_>) -> ExitCode {
        match self {
            Self::Usage(error) => {
                if let Some(text) = decnets_command(env, &error) {
                    output::say!("{BAD}error{BAD:#}: {text}");
                    return ExitCode::from(USAGE);
                }
                // The terminal is all there is to tell; nobody is left to hear that it is gone.
                let _ = error.print();
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE))
            }
            Self::Gated(name) => {
                eprintln!(
                    "error: `decnet {name}` runs on the master only, and this machine is an agent \
                     (DECNET_MODE=agent); set DECNET_DISALLOW_MASTER=false to run it here"
                );
                ExitCode::FAILURE
            }
        }
    }
}

/// What to say of a command that is not ours where it is, or may be, DECNET's, whose program has the
/// same name.
fn decnets_command(env: Env<'_>, error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let decnet = env.0.decnet();
    if decnet.is_none() && !DECNETS.contains(&name.as_str()) {
        return None;
    }
    let program = decnet.and_then(Installation::program);
    let where_it_is = match (program, decnet) {
        (Some(path), _) => format!("DECNET's is {}", path.display()),
        (None, Some(_)) => "DECNET's is usually /usr/local/bin/decnet".to_owned(),
        (None, None) => "no DECNET was found on this machine".to_owned(),
    };
    let own =
        env::current_exe().map_or_else(|_| "decnet".into(), |path| path.display().to_string());
    Some(format!(
        "this is the webhook egress {own} (decnet {}), which has no command `{name}`; {where_it_is}. \
         `{own} --help` lists what is here",
        env!("CARGO_PKG_VERSION")
    ))
}

/// Understands the arguments.
pub(crate) fn parse(
    args: impl IntoIterator<Item = OsString>,
    gated: bool,
) -> Result<Command, Refused> {
    let matches = command(gated)
        .try_get_matches_from(args)
        .map_err(Refused::Usage)?;
    if gated
        && let Some(name) = matches
            .subcommand_name()
            .filter(|name| is_master_only(name))
    {
        return Err(Refused::Gated(name.to_owned()));
    }
    Cli::from_arg_matches(&matches)
        .map(|cli| cli.command)
        .map_err(Refused::Usage)
}

/// The whole command line; on an agent the master's commands are stubs that no help shows.
pub(crate) fn command(gated: bool) -> clap::Command {
    let mut command = Cli::command();
    if gated {
        for name in MASTER_ONLY {
            command = command.mut_subcommand(name, |_| stub(name));
        }
        // Its help for a stub would show one.
        command = command.disable_help_subcommand(true).after_help("");
    }
    command
}

/// Takes whatever follows, so that the refusal and no usage error is what one reads.
fn stub(name: &'static str) -> clap::Command {
    clap::Command::new(name)
        .hide(true)
        .disable_help_flag(true)
        .arg(
            Arg::new("rest")
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true),
        )
}

fn is_master_only(name: &str) -> bool {
    MASTER_ONLY.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str, gated: bool) -> Result<Command, Refused> {
        parse(line.split_whitespace().map(OsString::from), gated)
    }

    #[test]
    fn the_definition_is_sound() {
        command(false).debug_assert();
        command(true).debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn check(path: &str, command: &clap::Command) {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.starts_with("Example") && help.contains("\n  decnet"),
                "`{path} --help` has no example"
            );
            for sub in command
                .get_subcommands()
                .filter(|sub| sub.get_name() != "help")
            {
                check(&format!("{path} {}", sub.get_name()), sub);
            }
        }
        check("decnet", &command(false));
    }

    #[test]
    fn the_gate_hides_and_refuses() {
        let help = command(true).render_long_help().to_string();
        for name in MASTER_ONLY {
            assert!(!help.contains(&format!("  {name} ")), "{help}");
            for line in ["", "--help", "--port 1 --unknown", "-d"] {
                let refused = parsed(&format!("decnet {name} {line}"), true);
                assert!(
                    matches!(refused, Err(Refused::Gated(found)) if found == name),
                    "{line}"
                );
            }
        }
        assert!(matches!(
            parsed("decnet init --dry-run", true),
            Ok(Command::Init(_))
        ));
        assert!(matches!(parsed("decnet api", false), Ok(Command::Api(_))));
    }
}
