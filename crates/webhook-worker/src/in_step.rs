//! Reading the tables. Rows that DECNET wrote itself get their pairs before anybody acts on them.

use webhook_bus::Bus;
use webhook_store::{Position, Snapshot, Store, StoreError};

/// Rounds of bringing DECNET's own writes into step before going on with what fits.
const SYNC_ROUNDS: usize = 3;

/// What the tables say, with pairs for every row that can be read.
pub(crate) async fn snapshot(store: &Store, bus: &Bus) -> Result<Snapshot, StoreError> {
    let mut snapshot = store.snapshot().await?;
    if !snapshot.unmarked.is_empty() {
        store.mark(&snapshot.unmarked).await?;
    }
    for _ in 0..SYNC_ROUNDS {
        if snapshot.out_of_step.is_empty() {
            break;
        }
        let position = match bus.position().await {
            Ok(position) => Position {
                incarnation: position.incarnation,
                next_seq: position.next_seq,
            },
            Err(error) => {
                tracing::warn!(%error, "cannot read the bus position; changed rows wait for the next reload");
                break;
            }
        };
        for uuid in &snapshot.out_of_step {
            store.sync_pairs(uuid, &position).await?;
        }
        snapshot = store.snapshot().await?;
    }
    Ok(snapshot)
}
