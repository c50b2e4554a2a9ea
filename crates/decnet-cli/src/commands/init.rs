//! `decnet init`: installs the systemd units beside whatever is there, and never over it. On a DECNET
//! master DECNET's own worker unit gets a drop-in, which its `init` and `deinit` leave alone.

mod apply;
mod bus;
mod master;
mod plan;
mod units;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::bail;

use self::{
    master::Master,
    plan::{Action, Place, Removed, Step},
    units::Values,
};
use crate::{
    output::{self, DIM, GOOD, NOTE},
    settings::{Env, decnet},
};

const AFTER_HELP: &str = "\
Examples:
  decnet init --dry-run
  sudo decnet init && sudo systemctl daemon-reload && sudo systemctl start decnet.target
  decnet init --root /mnt/image --user siem --group siem --prefix /opt/decnet
  sudo decnet init --uninstall";

/// Where this program is looked for when nothing better is known.
const USUAL_PROGRAM: &str = "/usr/local/bin/decnet";
const USUAL_ACCOUNT: &str = "decnet";

#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Install below this directory, in its etc/systemd/system; a directory that is called
    /// systemd/system, or holds units of decnet, is taken as it is [default: /]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// User the services run as [default: as DECNET's units have it, else decnet]
    #[arg(long, value_parser = account)]
    user: Option<String>,
    /// Group the services run as [default: as DECNET's units have it, else decnet]
    #[arg(long, value_parser = account)]
    group: Option<String>,
    /// Where bin/decnet is installed [default: where this program runs from, else /usr/local]
    #[arg(long, value_name = "DIR", value_parser = prefix)]
    prefix: Option<String>,
    /// Show what would change, as a diff, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Take back everything that this command wrote; settings and data stay
    #[arg(long)]
    uninstall: bool,
}

pub(crate) fn run(args: Args, env: Env<'_>) -> anyhow::Result<ExitCode> {
    let root = args.root.or_else(|| env.path(decnet::ROOT));
    let place = Place::below(&root.unwrap_or_else(|| "/".into()));
    let master = Master::find(&place)?;
    let account = |given: Option<String>, decnets: fn(&Master) -> &String| {
        given
            .or_else(|| master.as_ref().map(|it| decnets(it).clone()))
            .unwrap_or_else(|| USUAL_ACCOUNT.into())
    };
    let values = Values {
        user: account(args.user, |master| &master.user),
        group: account(args.group, |master| &master.group),
        program: program(args.prefix.as_deref(), master.as_ref(), args.uninstall)?,
        broker: bus::socket(&place)?,
        master,
    };
    let steps = if args.uninstall {
        plan::uninstall(&place, &values)?
    } else {
        plan::install(&place, &values)?
    };
    for step in &steps {
        if !args.dry_run {
            step.apply()?;
        }
        say(step, args.dry_run)?;
    }
    if args.uninstall {
        return Ok(uninstalled(&steps, args.dry_run));
    }
    if steps
        .iter()
        .all(|step| matches!(step.action, Action::Keep(_)))
    {
        bail!(
            "nothing was installed: every unit is there already and is not from `decnet init`, and none \
             of them runs DECNET's worker; rename what is above, or write units of your own"
        );
    }
    if let Some(kept) = steps.iter().find(|step| step.is_kept_drop_in()) {
        bail!(
            "DECNET's decnet-webhook.service goes on running DECNET's worker: {} is not from `decnet \
             init` and was left alone; move it away and run this again",
            kept.path.display()
        );
    }
    say_next(&values, &steps, args.dry_run);
    Ok(ExitCode::SUCCESS)
}

fn say_next(values: &Values, steps: &[Step], dry_run: bool) {
    if let Some(socket) = &values.broker {
        output::say!("DECNET's broker is installed here: the units use its socket, {socket}.");
    }
    if dry_run || !steps.iter().any(Step::changes) {
        return;
    }
    if values.master.is_some() {
        output::say!(
            "DECNET's decnet-webhook.service runs {} from its next start on.",
            values.program
        );
        output::say!("next: systemctl daemon-reload && systemctl restart decnet-webhook");
    } else {
        output::say!("next: systemctl daemon-reload && systemctl start decnet.target");
    }
    output::say!(
        "The services run as {}:{}; settings go into /etc/decnet/decnet.env.",
        values.user,
        values.group
    );
}

fn uninstalled(steps: &[Step], dry_run: bool) -> ExitCode {
    if steps.is_empty() {
        output::say!("nothing here is from `decnet init`");
    } else if !dry_run {
        output::say!("next: systemctl daemon-reload; settings and data were left where they are");
    }
    ExitCode::SUCCESS
}

fn say(step: &Step, dry_run: bool) -> std::io::Result<()> {
    let (would, done) = match step.action {
        Action::Write(_) => ("would write", "wrote"),
        Action::Update { .. } => ("would update", "updated"),
        Action::Link(_) => ("would link", "linked"),
        Action::Remove(_) => ("would remove", "removed"),
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
        Action::Remove(Removed::Folder) => {
            output::line(format_args!("{GOOD}{verb}{GOOD:#} {path}/"))
        }
        _ => output::line(format_args!("{GOOD}{verb}{GOOD:#} {path}")),
    }?;
    match step.diff().filter(|_| dry_run) {
        Some(diff) => output::line(diff.trim_end()),
        None => Ok(()),
    }
}

/// This program, as services find it. Beside DECNET it may not be DECNET's own: units would then run
/// whatever that one's updater puts there.
fn program(
    prefix: Option<&str>,
    master: Option<&Master>,
    uninstall: bool,
) -> anyhow::Result<String> {
    let own = match prefix {
        Some(prefix) => Some(format!("{prefix}/bin/decnet")),
        // What was installed beside DECNET may be called anything.
        None if master.is_some() || uninstall => running(),
        None => running().filter(|path| path.ends_with("/bin/decnet")),
    };
    let Some(master) = master.filter(|_| !uninstall) else {
        return Ok(own.unwrap_or_else(|| USUAL_PROGRAM.into()));
    };
    match own {
        Some(path) if path != USUAL_PROGRAM && path != master.program => Ok(path),
        Some(path) => bail!(
            "{path} is DECNET's own program here; install this one elsewhere, e.g. as \
             /opt/decnet-webhook/bin/decnet, and run `decnet init` of that, or name it with \
             --prefix /opt/decnet-webhook"
        ),
        None => bail!(
            "services cannot run this program from where it is; install it, e.g. as \
             /opt/decnet-webhook/bin/decnet, and run `decnet init` of that, or name it with \
             --prefix /opt/decnet-webhook"
        ),
    }
}

/// Where this program runs from, if services can run it there.
fn running() -> Option<String> {
    let path = env::current_exe().ok()?;
    // The services cannot look into homes.
    let is_home = ["/home", "/root"].iter().any(|home| path.starts_with(home));
    let path = Path::to_str(&path).filter(|_| !is_home)?;
    prefix(path).ok()
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
