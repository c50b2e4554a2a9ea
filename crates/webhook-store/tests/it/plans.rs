//! How many rows the questions of every event read, of a server that has no statistics yet: what
//! an installation is like in its first minutes, and again whenever it has grown a lot.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use webhook_model::{DeliveryStatus::Delivered, UtcTime};
use webhook_store::Store;

use crate::support::*;

const ROWS: u64 = 100_000;
/// Most events that are asked for in one go.
const TAKE: u64 = 64;
const LEASE: Duration = Duration::from_secs(60);
/// Rows read for one question: a few for each key asked for.
const MOST_READ: i64 = 1_000;

/// What the server counts of the log: the uses of its indexes and scans of the table, and the rows
/// that they read.
const SCANS: &str = "SELECT CAST(
    (SELECT sum(idx_scan) FROM pg_stat_user_indexes WHERE relname = 'webhook_deliveries')
    + (SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'webhook_deliveries')
    AS bigint) AS n";
const READ: &str = "SELECT CAST(
    (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'webhook_deliveries')
    + (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'webhook_deliveries')
    AS bigint) AS n";
const SESSIONS: &str = "SELECT CAST(count(*) AS bigint) AS n FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

#[tokio::test]
async fn no_question_of_an_event_reads_the_log_before_there_are_statistics() {
    let database = Database::of(Engine::Postgres).await;
    let decnet = database.decnet().await;
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    store
        .record(&[record(&made, "p", 1, Delivered)])
        .await
        .unwrap();
    decnet
        .run("ALTER TABLE webhook_deliveries SET (autovacuum_enabled = false)")
        .await;
    let columns: Vec<String> = decnet
        .column(
            "SELECT CAST(column_name AS text) AS name FROM information_schema.columns
             WHERE table_name = 'webhook_deliveries' AND column_name <> 'id'",
            "name",
        )
        .await;
    let values: Vec<&str> = columns
        .iter()
        .map(|column| match column.as_str() {
            "seq" => "g",
            "event_id" => "'event-' || g",
            other => other,
        })
        .collect();
    let fill = format!(
        "INSERT INTO webhook_deliveries ({}) SELECT {} FROM webhook_deliveries,
         generate_series(2, {ROWS}) AS g",
        columns.join(", "),
        values.join(", ")
    );
    assert_eq!(decnet.run(&fill).await, ROWS - 1);
    store.close().await.unwrap();
    settled(&decnet).await;

    let (siem, uuid) = (&made, made.uuid.as_str());
    let asked: Vec<u64> = (ROWS - TAKE / 2..ROWS + TAKE / 2).collect();
    let batch = |from: u64| -> Vec<_> {
        let seqs = from..from + TAKE;
        seqs.map(|seq| record(siem, "p", seq, Delivered)).collect()
    };
    let mut bill = Bill {
        database,
        decnet,
        most: Vec::new(),
    };
    bill.read("seen", async |store| {
        let seen = store.seen(uuid, "bus-a", &asked).await.unwrap();
        assert_eq!(seen.len() as u64, TAKE / 2 + 1);
    })
    .await;
    bill.read("last recorded", async |store| {
        assert_eq!(store.last_recorded(uuid).await.unwrap(), Some(ROWS));
    })
    .await;
    bill.read("new outcomes", async |store| {
        store.record(&batch(ROWS + 1)).await.unwrap();
    })
    .await;
    bill.read("outcomes of which some are known", async |store| {
        store.record(&batch(ROWS + TAKE / 2)).await.unwrap();
    })
    .await;
    bill.read("due", async |store| {
        assert!(store.due(UtcTime::now()).await.unwrap().is_empty());
    })
    .await;
    bill.read("next due", async |store| {
        assert_eq!(store.next_due_at().await.unwrap(), None);
    })
    .await;
    bill.read("head", async |store| {
        assert!(store.head(uuid).await.unwrap().is_none());
    })
    .await;
    bill.read("claim", async |store| {
        let claimed = store.claim(uuid, TAKE, "one", LEASE).await.unwrap();
        assert!(claimed.is_empty());
    })
    .await;
    let dear: Vec<_> = bill
        .most
        .iter()
        .filter(|(_, rows)| *rows > MOST_READ)
        .collect();
    assert!(dear.is_empty(), "{dear:?} of {:?}", bill.most);
}

/// What each question read.
struct Bill {
    database: Database,
    decnet: Decnet,
    most: Vec<(&'static str, i64)>,
}

impl Bill {
    async fn read(&mut self, question: &'static str, ask: impl AsyncFnOnce(&Store)) {
        let (scans, read) = self.counters().await;
        let store = self.database.open().await;
        ask(&store).await;
        store.close().await.unwrap();
        settled(&self.decnet).await;
        let (scans_then, read_then) = self.counters().await;
        assert!(scans_then > scans, "{question}: the server counts");
        self.most.push((question, read_then - read));
    }

    async fn counters(&self) -> (i64, i64) {
        (
            self.decnet.number(SCANS).await,
            self.decnet.number(READ).await,
        )
    }
}

/// A session hands its counts in at its end.
async fn settled(decnet: &Decnet) {
    let begun = Instant::now();
    while decnet.number(SESSIONS).await > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "sessions stay");
        sleep(Duration::from_millis(20)).await;
    }
}
