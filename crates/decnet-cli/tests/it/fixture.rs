//! Databases and journals of other makers and versions, as SQL.

use std::path::Path;

use rusqlite::Connection;

/// DECNET's own, and the secret of the subscription in it.
pub(crate) const DECNET: &str = include_str!("../fixtures/decnet.sql");
pub(crate) const DECNET_SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Makes the file, with deliveries going to `receiver`.
pub(crate) fn make(path: &Path, sql: &str, receiver: &str) -> Connection {
    let connection = Connection::open(path).expect("a database can be made");
    connection
        .execute_batch(&sql.replace("@RECEIVER@", receiver))
        .expect("the fixture is SQL");
    connection
}
