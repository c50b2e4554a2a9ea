//! Whatever the order outcomes come in, a row ends at the highest of them.

use std::collections::HashMap;

use proptest::{prelude::*, test_runner::TestCaseResult};
use webhook_model::DeliveryStatus::{self, Dead, Delivered, Retrying};

use crate::support::*;

fn outcomes() -> impl Strategy<Value = Vec<Vec<(u64, DeliveryStatus)>>> {
    let outcome = (
        0u64..12,
        prop_oneof![Just(Retrying), Just(Dead), Just(Delivered)],
    );
    prop::collection::vec(prop::collection::vec(outcome, 1..10), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn status_only_rises(batches in outcomes()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(check(batches))?;
    }
}

async fn check(batches: Vec<Vec<(u64, DeliveryStatus)>>) -> TestCaseResult {
    let database = Database::new();
    let store = database.open().await;
    let made = store.create(new("siem", &["a"]), &at(1)).await.unwrap();
    let (mut expected, mut failures) = (HashMap::new(), 0);
    for batch in batches {
        let records: Vec<_> = batch
            .iter()
            .map(|(seq, status)| record(&made, "p", *seq, *status))
            .collect();
        store.record(&records).await.unwrap();
        for (seq, status) in batch {
            if expected.get(&seq).is_none_or(|old| *old < status) {
                expected.insert(seq, status);
                failures = if status == Delivered { 0 } else { failures + 1 };
            }
        }
    }
    let decnet = database.decnet().await;
    for (seq, status) in &expected {
        let sql = format!("SELECT status FROM webhook_deliveries WHERE seq = {seq}");
        prop_assert_eq!(decnet.number(&sql).await, *status as i64);
    }
    let rows = decnet
        .number("SELECT count(*) FROM webhook_deliveries")
        .await;
    prop_assert_eq!(usize::try_from(rows).unwrap(), expected.len());
    let read = store.get(&made.uuid).await.unwrap().unwrap();
    prop_assert_eq!(read.consecutive_failures, failures);
    prop_assert_eq!(read.last_error.is_some(), failures > 0);
    Ok(())
}
