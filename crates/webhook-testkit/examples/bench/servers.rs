//! A nats-server and a PostgreSQL that commits to the disk, until standard input ends.

use std::{error::Error, io::Read};

use serde_json::json;
use webhook_testkit::{NatsServer, Postgres};

pub(crate) async fn run() -> Result<(), Box<dyn Error>> {
    let nats = NatsServer::start().await;
    let postgres = Postgres::with(&["-c", "fsync=on"]).await;
    let database = postgres.database().await;
    println!("{}", json!({"bus": nats.url(), "database": database}));
    // Nothing else goes on in this process.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
