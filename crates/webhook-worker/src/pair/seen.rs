//! What of the messages taken was sent before.

use std::collections::HashSet;

use webhook_bus::{Consumer, Message};
use webhook_store::StoreError;

use super::{LONGEST_PAUSE, PairTask};
use crate::pause::Pauses;

impl PairTask {
    /// Those of the messages whose outcome is recorded already; none when it is to stop.
    pub(super) async fn seen(
        &self,
        consumer: &Consumer,
        messages: &[Message],
    ) -> Option<HashSet<u64>> {
        let mut pauses = Pauses::new(LONGEST_PAUSE);
        loop {
            match self.look_up(consumer, messages).await {
                Ok(seen) => return Some(seen),
                Err(error) => {
                    if pauses.is_first() {
                        tracing::warn!(%error, subscription = %self.runtime.uuid, "cannot look up what was sent before; trying again");
                    }
                    if !self.pause(&mut pauses).await {
                        return None;
                    }
                }
            }
        }
    }

    /// Only what was published before the consumer was opened and is not behind the last that was
    /// on record then, what went ahead as a probe, or what the bus redelivers, can be on record:
    /// whoever had the pair before had recorded what it sent, or the bus says that it comes again.
    async fn look_up(
        &self,
        consumer: &Consumer,
        messages: &[Message],
    ) -> Result<HashSet<u64>, StoreError> {
        let (store, uuid) = (&self.context.store, &self.runtime.uuid);
        let opened_at = consumer.resumed_at();
        let recorded = if messages.iter().any(|message| message.seq <= opened_at) {
            let ask = || store.last_recorded(uuid);
            self.recorded.get_or_try_init(ask).await?.unwrap_or(0)
        } else {
            0
        };
        let known = recorded
            .min(opened_at)
            .max(self.runtime.current().ahead_seq);
        let doubtful: Vec<u64> = messages
            .iter()
            .filter(|message| message.redelivered || message.seq <= known)
            .map(|message| message.seq)
            .collect();
        if doubtful.is_empty() {
            return Ok(HashSet::new());
        }
        store.seen(uuid, &self.context.incarnation, &doubtful).await
    }
}
