//! A real server on a free port, with a real database and a real journal, and a client that
//! writes its requests byte by byte.

mod acknowledging;
mod auth;
mod bodies;
mod broken_rows;
mod client;
mod connections;
mod cors;
mod deliveries;
mod events;
mod health;
mod logs;
mod matrix;
mod metrics;
mod openapi;
mod ping;
mod publishing;
mod replays;
mod routing;
mod secrets;
mod server;
mod settings;
mod shutdown;
mod status;
mod subscriptions;
mod tokens;
mod validation;
