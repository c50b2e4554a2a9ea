//! The real binary, built with the feature `failpoints`, and crashed: at every crash point in turn,
//! and by SIGKILL at random moments; and with calls that fail. What was promised before, during and after is reconciled.

mod client;
mod endpoints;
mod failures;
mod installation;
mod kills;
mod points;
mod report;
mod world;

/// Starting and ending servers, as the other tests of the binary do.
#[path = "../it"]
mod it {
    #[expect(dead_code, unused_imports, reason = "the other tests use the rest")]
    pub(crate) mod support;
}

use it::support;
