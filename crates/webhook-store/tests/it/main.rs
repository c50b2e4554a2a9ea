//! The store against real databases.

mod accounts;
mod breaker;
mod crud;
mod decnet;
mod files;
mod head;
mod log;
mod mariadb;
mod paging;
mod pairs;
mod plans;
mod processes;
mod record;
mod redelivery;
mod replays;
mod retention;
mod rising;
mod rivals;
mod secrets;
mod settings;
mod severed;
mod support;
mod tokens;
mod workers;
