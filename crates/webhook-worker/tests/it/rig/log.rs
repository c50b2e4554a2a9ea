//! The delivery log, read with a connection of its own, as an operator with the SQLite shell would.

use std::{path::Path, time::Duration};

use webhook_model::DeliveryStatus;
use webhook_store::DeliveryFilter;

use super::{PATIENCE, Rig};

/// A row of the delivery log.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) event_id: String,
    pub(crate) status: String,
    pub(crate) attempts: i64,
    pub(crate) status_code: Option<i64>,
    pub(crate) error: Option<String>,
    pub(crate) body: Option<Vec<u8>>,
}

fn rows(database: &Path, uuid: &str) -> Vec<Row> {
    let connection = rusqlite::Connection::open(database).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    let mut statement = connection
        .prepare(
            "SELECT event_id, status, attempts, status_code, error, body
             FROM webhook_deliveries WHERE subscription = ?1 ORDER BY id",
        )
        .unwrap();
    let rows = statement.query_map([uuid], |row| {
        Ok(Row {
            event_id: row.get(0)?,
            status: match row.get::<_, i64>(1)? {
                0 => "retrying",
                1 => "dead",
                2 => "delivered",
                _ => "unknown",
            }
            .to_owned(),
            attempts: row.get(2)?,
            status_code: row.get(3)?,
            error: row.get(4)?,
            body: row.get(5)?,
        })
    });
    rows.unwrap().map(Result::unwrap).collect()
}

impl Rig {
    pub(crate) fn rows(&self, uuid: &str) -> Vec<Row> {
        rows(&self.dir.path().join("decnet.db"), uuid)
    }

    /// Waits until the log has this many deliveries of one subscription in one status.
    pub(crate) async fn recorded(&self, uuid: &str, status: &str, count: usize) {
        let has = |row: &&Row| row.status == status;
        let reached = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            while self.rows(uuid).iter().filter(has).count() < count {
                ticks.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, reached)
            .await
            .unwrap_or_else(|_| panic!("{count} deliveries of {uuid} become {status}"));
    }
}

/// Most rows that [`Rig::statuses`] reads: more than any test that asks makes.
const MOST: u64 = 500;

impl Rig {
    /// The statuses of one subscription's deliveries, on whatever database.
    pub(crate) async fn statuses(&self, uuid: &str) -> Vec<DeliveryStatus> {
        let filter = DeliveryFilter {
            subscription: Some(uuid.to_owned()),
            ..DeliveryFilter::default()
        };
        let page = self.store.deliveries(&filter, None, MOST).await.unwrap();
        assert!(page.next.is_none(), "more than {MOST} rows");
        page.items.into_iter().map(|row| row.status).collect()
    }

    /// [`recorded`](Self::recorded) on whatever database.
    pub(crate) async fn reached(&self, uuid: &str, status: DeliveryStatus, count: usize) {
        let reached = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(50));
            loop {
                let statuses = self.statuses(uuid).await;
                if statuses.iter().filter(|it| **it == status).count() >= count {
                    return;
                }
                ticks.tick().await;
            }
        };
        tokio::time::timeout(2 * PATIENCE, reached)
            .await
            .unwrap_or_else(|_| panic!("{count} deliveries of {uuid} become {status:?}"));
    }
}
