//! Databases and journals of other makers and versions, as SQL.

use std::path::Path;

use rusqlite::Connection;

/// DECNET's own, and the secret of the subscription in it.
pub(crate) const DECNET: &str = include_str!("../fixtures/decnet.sql");
pub(crate) const DECNET_SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Of the first version: `upgrade.rs` has what is in it.
const FIRST_VERSION: &str = include_str!("../fixtures/first-version.sql");
const FIRST_VERSION_JOURNAL: &str = include_str!("../fixtures/first-version-journal.sql");

/// A data directory of the first version, whose subscriptions deliver to paths below `receiver`. Its
/// key of tokens is not among the files: no test has a token of that time, and a new one is made.
pub(crate) fn first_version(dir: &Path, receiver: &str) {
    drop(make(&dir.join("decnet.db"), FIRST_VERSION, receiver));
    drop(make(
        &dir.join("journal.db"),
        FIRST_VERSION_JOURNAL,
        receiver,
    ));
}

/// Makes the file, with deliveries going to `receiver`.
pub(crate) fn make(path: &Path, sql: &str, receiver: &str) -> Connection {
    let connection = Connection::open(path).expect("a database can be made");
    connection
        .execute_batch(&sql.replace("@RECEIVER@", receiver))
        .expect("the fixture is SQL");
    connection
}
