//! Detaching without `unsafe`: this program starts itself again, in a process group of its own,
//! and waits until that process says that it is ready.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};

use crate::{notify::READY_LINE, output, settings::Env, telemetry::open_log};

/// Tells the started process that it is one.
pub(crate) const CHILD_FLAG: &str = "daemon-child";

/// Tells it which file its standard error leads to, so that it can open it again.
pub(crate) const LOG_FLAG: &str = "daemon-log";

/// Longest wait for it: opening and migrating a large database takes its time.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How much of a failed daemon's output is shown.
const SHOWN_LOG_BYTES: u64 = 8 * 1024;

/// Starts this program again with the same arguments, and returns once it is ready.
pub(crate) fn start(env: Env<'_>, default_log: &Path) -> anyhow::Result<ExitCode> {
    let (log_path, mut log) = log_file(env, default_log)?;
    let before = log.seek(SeekFrom::End(0))?;
    let mut child = command(&log_path, &log)?
        .spawn()
        .context("starting the daemon")?;
    let stdout = child
        .stdout
        .take()
        .context("the daemon's output is not piped")?;
    match wait_until_ready(&mut child, stdout)? {
        Outcome::Ready => {
            output::line(child.id())?;
            output::say!(
                "decnet webhook runs in the background; its log is {}",
                log_path.display()
            );
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Ended => {
            let status = child.wait()?;
            bail!(
                "the daemon did not start ({status}):\n{}",
                said(&log_path, before)
            );
        }
        Outcome::TooLate => {
            child.kill()?;
            child.wait()?;
            bail!(
                "the daemon was not ready within {READY_WITHIN:?} and was ended; it said:\n{}",
                said(&log_path, before)
            );
        }
    }
}

enum Outcome {
    Ready,
    Ended,
    TooLate,
}

fn log_file(env: Env<'_>, default: &Path) -> anyhow::Result<(PathBuf, File)> {
    let (name, path) = match env.path("DECNET_SYSTEM_LOGS") {
        Some(path) => ("DECNET_SYSTEM_LOGS", path),
        None => ("log file", default.to_owned()),
    };
    let file = open_log(name, &path)?;
    Ok((path, file))
}

fn command(log_path: &Path, log: &File) -> anyhow::Result<Command> {
    let program = env::current_exe().context("finding this program")?;
    let mut command = Command::new(program);
    command
        .args(env::args_os().skip(1).filter(|arg| !is_daemon_flag(arg)))
        .arg(format!("--{CHILD_FLAG}"))
        .arg(format!("--{LOG_FLAG}"))
        .arg(log_path)
        // Its standard error is that file already.
        .env_remove("DECNET_SYSTEM_LOGS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.try_clone().context("sharing the log file")?)
        .process_group(0);
    Ok(command)
}

/// The only short flag of `decnet webhook` is `-d`, so it comes alone.
fn is_daemon_flag(arg: &OsStr) -> bool {
    arg == "-d" || arg == "--daemon"
}

/// Reads the pipe until the word comes, or the end: then the process has ended.
fn wait_until_ready(child: &mut Child, stdout: ChildStdout) -> anyhow::Result<Outcome> {
    let (sender, heard) = channel();
    thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        // Nobody hears it once it is too late.
        let _ = sender.send(read.is_ok() && line.trim_end() == READY_LINE);
    });
    match heard.recv_timeout(READY_WITHIN) {
        Ok(true) => Ok(Outcome::Ready),
        Ok(false) => Ok(Outcome::Ended),
        Err(RecvTimeoutError::Timeout) => Ok(Outcome::TooLate),
        Err(RecvTimeoutError::Disconnected) => {
            child.kill()?;
            Ok(Outcome::Ended)
        }
    }
}

/// What was written to the log since.
fn said(path: &Path, since: u64) -> String {
    let read = || {
        let mut file = File::open(path)?;
        let length = fs::metadata(path)?.len();
        file.seek(SeekFrom::Start(
            since.max(length.saturating_sub(SHOWN_LOG_BYTES)),
        ))?;
        let mut bytes = Vec::new();
        file.take(SHOWN_LOG_BYTES).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    read().unwrap_or_else(|error| format!("(its log {} cannot be read: {error})", path.display()))
}
