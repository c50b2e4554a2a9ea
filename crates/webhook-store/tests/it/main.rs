//! The store against real database files.

mod accounts;
mod crud;
mod decnet;
mod files;
mod pairs;
mod processes;
mod record;
mod rising;
mod secrets;
mod support;
