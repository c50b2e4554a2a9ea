//! The one place that starts a tracing subscriber.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Mutex,
};

use tracing_subscriber::{
    EnvFilter, Layer, fmt, layer::SubscriberExt, registry, util::SubscriberInitExt,
};

use crate::settings::{Env, SettingError};

/// What is logged when nothing says otherwise. The bus tells of its connection itself, once;
/// async-nats would at every attempt.
const DEFAULT_FILTER: &str = "info,async_nats=off,sqlx=warn,sea_orm=warn,sea_orm_migration=warn,actix_server=warn,hyper=warn,h2=warn,rustls=warn";

/// Logs to standard error and, with `DECNET_SYSTEM_LOGS`, to a file as well.
pub(crate) fn start(env: Env<'_>) -> anyhow::Result<()> {
    start_with(env, DEFAULT_FILTER)
}

/// Logs what goes wrong and nothing else, unless a variable asks for more.
pub(crate) fn start_quiet(env: Env<'_>) -> anyhow::Result<()> {
    start_with(env, "warn")
}

fn start_with(env: Env<'_>, default: &str) -> anyhow::Result<()> {
    let filter = filter(env, default)?;
    let file = env
        .path("DECNET_SYSTEM_LOGS")
        .map(|path| open_log("DECNET_SYSTEM_LOGS", &path))
        .transpose()?
        .map(|file| {
            fmt::layer()
                .with_ansi(false)
                .with_writer(Mutex::new(file))
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
    registry().with(filter).with(stderr).with(file).try_init()?;
    Ok(())
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
