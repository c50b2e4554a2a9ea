//! Arguments and environment become each crate's configuration, once, before anything starts.
//!
//! Only this program reads variables. Whatever is wrong is named with its value and a remedy.

mod bus;
mod cors;
mod data_dir;
pub(crate) mod decnet;
mod descriptors;
mod embedded;
mod env;
mod jwt;
mod kept;
mod nats;
mod roots;
mod server;

pub(crate) use self::{
    bus::BusChoice,
    data_dir::DataDir,
    descriptors::Descriptors,
    embedded::{EmbeddedOptions, EmbeddedSettings},
    env::{Env, Nothing, SettingError, parse_setting},
    jwt::JwtKey,
    nats::NatsOptions,
    server::{
        HttpOptions, ServerSettings, ServerStorageOptions, StorageOptions, StorageSettings,
        WorkerOptions, listen_address, metrics_addr,
    },
};
#[cfg(test)]
mod tests;

/// Whether this machine is an agent that may not run what belongs to the master.
pub(crate) fn is_gated(env: Env<'_>) -> bool {
    let is = |name: &str, value: &str| {
        env.0
            .var(name)
            .is_some_and(|found| found.eq_ignore_ascii_case(value))
    };
    is("DECNET_MODE", "agent") && !is("DECNET_DISALLOW_MASTER", "false")
}
