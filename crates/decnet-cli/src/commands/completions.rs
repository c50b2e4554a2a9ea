//! `decnet completions`: what a shell needs in order to complete.

use std::{io::Write, process::ExitCode};

use clap_complete::Shell;

const AFTER_HELP: &str = "\
Examples:
  decnet completions bash > ~/.local/share/bash-completion/completions/decnet
  decnet completions fish > ~/.config/fish/completions/decnet.fish
  decnet completions zsh > \"${fpath[1]}/_decnet\"";

/// `decnet completions`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &Args, mut command: clap::Command) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "decnet", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
