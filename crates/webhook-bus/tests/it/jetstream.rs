//! The bus on real NATS servers.

mod basics;
mod outages;
mod setup;
pub(crate) mod support;
