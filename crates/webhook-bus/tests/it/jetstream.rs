//! The bus on real NATS servers.

mod basics;
mod outages;
mod support;
