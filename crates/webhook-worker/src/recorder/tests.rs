use std::sync::Mutex;

use proptest::prelude::*;
use webhook_model::UtcTime;

use super::*;

/// A database that refuses some rows for good and is away for its first tries.
struct Picky {
    refused: Vec<u64>,
    away: Mutex<u32>,
    stored: Mutex<Vec<u64>>,
}

impl Ledger for Picky {
    async fn commit(&self, records: &[DeliveryRecord]) -> Result<Vec<FailureCount>, StoreError> {
        {
            let mut away = self.away.lock().unwrap();
            if *away > 0 {
                *away -= 1;
                return Err(StoreError::CreateFile {
                    path: "decnet.db".into(),
                    source: std::io::ErrorKind::StorageFull.into(),
                });
            }
        }
        match records
            .iter()
            .find(|record| self.refused.contains(&record.seq))
        {
            Some(record) => Err(StoreError::Unstorable {
                pair_id: record.pair_id.clone(),
                seq: record.seq,
                reason: "refused".into(),
            }),
            None => {
                self.stored
                    .lock()
                    .unwrap()
                    .extend(records.iter().map(|record| record.seq));
                Ok(Vec::new())
            }
        }
    }
}

fn records(count: u64) -> Vec<DeliveryRecord> {
    let record = |seq| DeliveryRecord {
        pair_id: "p".into(),
        seq,
        incarnation: "j".into(),
        subscription: "s".into(),
        event_id: "e".into(),
        topic: "a.b".into(),
        kind: String::new(),
        status: DeliveryStatus::Delivered,
        attempts: 1,
        status_code: Some(200),
        error: None,
        duration: Duration::ZERO,
        body: None,
        at: UtcTime::EPOCH,
        next_attempt_at: None,
        round: 0,
        in_order: false,
        epoch: 0,
        counts: true,
        failed_attempts: Vec::new(),
    };
    (1..=count).map(record).collect()
}

fn paused_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

proptest! {
    #[test]
    fn refused_rows_stop_no_other(
        count in 0..40_u64,
        refused in proptest::collection::vec(1..40_u64, 0..5),
        away in 0..6_u32,
    ) {
        let ledger = Picky { refused, away: Mutex::new(away), stored: Mutex::default() };
        let records = records(count);
        let stored = paused_runtime()
            .block_on(commit(&ledger, &records, &CancellationToken::new()))
            .stored;
        for (record, stored) in records.iter().zip(&stored) {
            prop_assert_eq!(*stored, !ledger.refused.contains(&record.seq));
        }
        let kept = ledger.stored.into_inner().unwrap();
        prop_assert!(kept.is_sorted_by(|a, b| a < b), "each once and in order: {:?}", kept);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_ends_the_wait_for_an_absent_database() {
    let ledger = Picky {
        refused: Vec::new(),
        away: Mutex::new(u32::MAX),
        stored: Mutex::default(),
    };
    let cut = CancellationToken::new();
    let (records, cutting) = (records(3), cut.clone());
    let (committed, ()) = tokio::join!(commit(&ledger, &records, &cut), async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        cutting.cancel();
    });
    assert_eq!(committed.stored, [false; 3]);
}
