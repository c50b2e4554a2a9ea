//! A real server on a free port, with a real database and a real journal, and a client that
//! writes its requests byte by byte.

mod auth;
mod bodies;
mod client;
mod deliveries;
mod events;
mod health;
mod logs;
mod metrics;
mod openapi;
mod ping;
mod replays;
mod routing;
mod secrets;
mod server;
mod settings;
mod shutdown;
mod status;
mod subscriptions;
mod validation;
