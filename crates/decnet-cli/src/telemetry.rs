//! The one place that starts a tracing subscriber.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tracing_subscriber::{
    EnvFilter, Layer, fmt, fmt::MakeWriter, layer::SubscriberExt, registry, util::SubscriberInitExt,
};

use crate::settings::{Env, SettingError};

/// What is logged when nothing says otherwise. The bus tells of its connection itself, once;
/// async-nats would at every attempt. Of requests that cannot be read the API tells, with the address;
/// actix-http would, without, at the level of errors.
const DEFAULT_FILTER: &str = "info,async_nats=off,actix_http=off,sqlx=warn,sea_orm=warn,sea_orm_migration=warn,actix_server=warn,hyper=warn,h2=warn,rustls=warn";

/// The files that are logged to.
#[derive(Default)]
pub(crate) struct Logs {
    file: Option<LogFile>,
    /// Where standard error leads, if this process was given that file by its name.
    stderr: Option<PathBuf>,
}

#[derive(Clone)]
struct LogFile {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl Logs {
    /// Standard error leads to this file, which is reopened with the others.
    pub(crate) fn with_stderr(mut self, path: Option<PathBuf>) -> Self {
        self.stderr = path;
        self
    }

    /// Opens the files by their names again, which may have been given to new ones. One that cannot be
    /// opened is written on as before.
    pub(crate) fn reopen(&self) {
        let outcomes = [
            self.stderr.as_deref().map(|path| {
                let file = open_log("log file", path)?;
                nix::unistd::dup2_stderr(file)?;
                Ok(())
            }),
            self.file.as_ref().map(LogFile::reopen),
        ];
        let mut reopened = true;
        for failure in outcomes.into_iter().flatten().filter_map(Result::err) {
            reopened = false;
            let failure: anyhow::Error = failure;
            tracing::warn!(
                error = crate::output::chain(&failure),
                "SIGHUP: a log cannot be opened again; it is written on where it was"
            );
        }
        if reopened {
            tracing::info!("SIGHUP: logs opened again");
        }
    }
}

impl LogFile {
    fn reopen(&self) -> anyhow::Result<()> {
        let new = open_log("DECNET_SYSTEM_LOGS", &self.path)?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.flush()
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Logs to standard error and, with `DECNET_SYSTEM_LOGS`, to a file as well.
pub(crate) fn start(env: Env<'_>) -> anyhow::Result<Logs> {
    start_with(env, DEFAULT_FILTER)
}

/// Logs what goes wrong and nothing else, unless a variable asks for more.
pub(crate) fn start_quiet(env: Env<'_>) -> anyhow::Result<Logs> {
    start_with(env, "warn,actix_http=off")
}

fn start_with(env: Env<'_>, default: &str) -> anyhow::Result<Logs> {
    let filter = filter(env, default)?;
    let file = env
        .path("DECNET_SYSTEM_LOGS")
        .map(|path| {
            let file = open_log("DECNET_SYSTEM_LOGS", &path)?;
            let file = Arc::new(Mutex::new(file));
            Ok::<_, SettingError>(LogFile { path, file })
        })
        .transpose()?;
    let layer = file.clone().map(|file| {
        fmt::layer()
            .with_ansi(false)
            .with_writer(file)
            .log_internal_errors(false)
            .boxed()
    });
    let colours = io::stderr().is_terminal() && env.path("NO_COLOR").is_none();
    let stderr = fmt::layer()
        .with_ansi(colours)
        .with_writer(io::stderr)
        // It would say so on standard error, and panic where that is what cannot be written.
        .log_internal_errors(false)
        .boxed();
    registry()
        .with(filter)
        .with(stderr)
        .with(layer)
        .try_init()?;
    Ok(Logs { file, stderr: None })
}

/// Opens a log for appending; logs name addresses, so others may not read it.
pub(crate) fn open_log(name: &str, path: &Path) -> Result<File, SettingError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
        .map_err(|source| SettingError::File {
            name: name.into(),
            path: path.into(),
            source,
        })
}

fn filter(env: Env<'_>, default: &str) -> Result<EnvFilter, SettingError> {
    for name in ["DECNET_LOG", "RUST_LOG"] {
        let filter = env.parsed(
            name,
            "a log filter",
            "use a level such as `info`, or `webhook_worker=debug,info`",
            |text| EnvFilter::try_new(text).ok(),
        )?;
        if let Some(filter) = filter {
            return Ok(filter);
        }
    }
    Ok(EnvFilter::new(default))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_filter_names_its_variable() {
        let vars = [("DECNET_LOG", "a=b=c")];
        let error = filter(Env(&vars), DEFAULT_FILTER).unwrap_err().to_string();
        assert!(error.contains("DECNET_LOG=\"a=b=c\""), "{error}");
        let vars = [("DECNET_LOG", "debug"), ("RUST_LOG", "warn")];
        assert_eq!(
            filter(Env(&vars), DEFAULT_FILTER).unwrap().to_string(),
            "debug"
        );
    }
}
