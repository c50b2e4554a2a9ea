//! `decnet init`: installs the systemd units beside whatever is there, and never over it.

mod bus;
mod plan;
mod units;

use std::{path::PathBuf, process::ExitCode};

use anyhow::bail;

use self::plan::{Action, Step};
use crate::output::{self, DIM, GOOD, NOTE};

const AFTER_HELP: &str = "\
Examples:
  decnet init --dry-run
  sudo decnet init && sudo systemctl daemon-reload && sudo systemctl start decnet.target
  decnet init --root /mnt/image --user siem --group siem --prefix /opt/decnet";

#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Install below this directory, in its etc/systemd/system; a directory that is called
    /// systemd/system, or holds units of decnet, is taken as it is
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// User the services run as
    #[arg(long, default_value = "decnet", value_parser = account)]
    user: String,
    /// Group the services run as
    #[arg(long, default_value = "decnet", value_parser = account)]
    group: String,
    /// Where bin/decnet is installed [default: where this program runs from, else /usr/local]
    #[arg(long, value_name = "DIR", value_parser = prefix)]
    prefix: Option<String>,
    /// Say what would be done and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let place = plan::Place::below(&args.root);
    let values = units::Values {
        user: args.user,
        group: args.group,
        prefix: args.prefix.unwrap_or_else(units::own_prefix),
        broker: bus::socket(&place)?,
    };
    let steps = plan::plan(&place, &units::rendered(&values)?)?;
    for step in &steps {
        if !args.dry_run {
            step.apply()?;
        }
        say(step, args.dry_run)?;
    }
    if let Some(socket) = &values.broker {
        eprintln!("DECNET's broker is installed here: the units use its socket, {socket}.");
    }
    let changed = steps.iter().any(Step::changes);
    if changed && !args.dry_run {
        eprintln!("next: systemctl daemon-reload && systemctl start decnet.target");
        eprintln!(
            "The services run as {}:{}; settings go into /etc/decnet/decnet.env.",
            values.user, values.group
        );
    }
    if steps.is_empty() {
        bail!("this build carries no units");
    }
    Ok(ExitCode::SUCCESS)
}

fn say(step: &Step, dry_run: bool) -> std::io::Result<()> {
    let (would, done) = match step.action {
        Action::Write(_) => ("would write", "wrote"),
        Action::Update(_) => ("would update", "updated"),
        Action::Link(_) => ("would link", "linked"),
        Action::Current => ("unchanged", "unchanged"),
        Action::Keep(_) => ("left alone", "left alone"),
    };
    let verb = if dry_run { would } else { done };
    let path = step.path.display();
    match &step.action {
        Action::Keep(why) => output::line(format_args!("{NOTE}{verb}{NOTE:#} {path}: {why}")),
        Action::Current => output::line(format_args!("{DIM}{verb}{DIM:#} {path}")),
        Action::Link(to) => output::line(format_args!(
            "{GOOD}{verb}{GOOD:#} {path} -> {}",
            to.display()
        )),
        Action::Write(_) | Action::Update(_) => {
            output::line(format_args!("{GOOD}{verb}{GOOD:#} {path}"))
        }
    }
}

/// A name that cannot end a unit's line or begin another (useradd(8) takes fewer still).
fn account(text: &str) -> Result<String, String> {
    let fits = !text.is_empty()
        && !text.starts_with('-')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if fits {
        Ok(text.into())
    } else {
        Err("use letters, digits, `_`, `-` and `.`".into())
    }
}

/// A path that systemd reads as one word without expanding anything in it.
fn prefix(text: &str) -> Result<String, String> {
    let trimmed = text.trim_end_matches('/');
    let strange = |c: char| c.is_whitespace() || c.is_control() || "%$\"'\\;".contains(c);
    if !text.starts_with('/') || trimmed.contains(strange) {
        return Err("use an absolute path without blanks, quotes, `%` and `$`".into());
    }
    Ok(trimmed.into())
}
