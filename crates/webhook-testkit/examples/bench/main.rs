//! The programs around `decnet` in `cargo xtask bench`, which starts each as a process of its own:
//! the receiver, the bare loop to compare with, a publisher, and the servers of an installation on
//! NATS and PostgreSQL.
//!
//! Each prints one JSON object a line and takes one word a line from standard input.

mod bare;
mod events;
mod flags;
mod publisher;
mod receiver;
mod servers;
mod tally;

use std::error::Error;

use flags::Flags;

const USAGE: &str = "bench receive|bare|publish|servers --flag value …; see xtask/src/bench.rs";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let role = args.next().ok_or(USAGE)?;
    let flags = Flags::parse(args)?;
    match role.as_str() {
        "receive" => receiver::run(&flags).await,
        "bare" => bare::run(&flags).await,
        "publish" => publisher::run(&flags).await,
        "servers" => servers::run().await,
        _ => Err(USAGE.into()),
    }
}
