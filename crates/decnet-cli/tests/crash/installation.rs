//! What an installation runs on.

use tempfile::TempDir;
use webhook_testkit::{MariaDb, NatsServer, Postgres};

use crate::support::{Starter, data_dir};

/// The engines under the binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engines {
    /// The journal and SQLite.
    Embedded,
    /// JetStream and PostgreSQL.
    JetStream,
    /// The journal and MariaDB.
    MariaDb,
}

impl Engines {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "journal + SQLite",
            Self::JetStream => "JetStream + PostgreSQL",
            Self::MariaDb => "journal + MariaDB",
        }
    }
}

/// A data directory, and the servers it relies on.
pub(crate) struct Installation {
    dir: TempDir,
    /// Settings that say where the servers are.
    vars: Vec<(&'static str, String)>,
    _nats: Option<NatsServer>,
}

impl Installation {
    pub(crate) async fn new(engines: Engines) -> Self {
        match engines {
            Engines::Embedded => Self {
                dir: data_dir(),
                vars: Vec::new(),
                _nats: None,
            },
            Engines::JetStream => {
                let database = Postgres::shared().await.database().await;
                let nats = NatsServer::start().await;
                Self {
                    dir: data_dir(),
                    vars: vec![
                        ("DECNET_BUS_URL", nats.url()),
                        ("DECNET_DATABASE_URL", database),
                    ],
                    _nats: Some(nats),
                }
            }
            Engines::MariaDb => Self {
                dir: data_dir(),
                vars: vec![(
                    "DECNET_DATABASE_URL",
                    MariaDb::shared().await.database().await,
                )],
                _nats: None,
            },
        }
    }

    /// `decnet <command>` on it, at this port.
    pub(crate) fn starter(&self, command: &str, port: u16) -> Starter {
        let starter = Starter::new(command, self.dir.path()).port(port);
        self.vars
            .iter()
            .fold(starter, |starter, (name, value)| starter.var(name, value))
    }
}
