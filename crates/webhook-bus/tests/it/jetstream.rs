//! The bus on real NATS servers.

mod basics;
mod outages;
mod setup;
mod support;
