use std::collections::{BTreeMap, HashMap};

use webhook_model::{DeliveryStatus, UtcTime};

use super::row::{MAX_ERROR_CHARS, text};
use crate::DeliveryRecord;

/// What a batch means for one subscription.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Fold {
    /// When a delivery last succeeded.
    pub(super) last_success: Option<UtcTime>,
    /// Failures since that success, or in all if there was none.
    pub(super) failures: u32,
    pub(super) last_failure: Option<UtcTime>,
    /// The text of the last failure, unless a success followed.
    pub(super) last_error: Option<String>,
}

impl Fold {
    /// Folds outcomes in their order. Sorted, so that two recorders lock rows in the same order.
    pub(super) fn by_subscription<'a>(
        records: impl Iterator<Item = &'a DeliveryRecord>,
        epochs: &HashMap<String, i64>,
    ) -> BTreeMap<&'a str, Self> {
        let mut folds: BTreeMap<&str, Self> = BTreeMap::new();
        for record in records.filter(|record| record.counts || record.round > 0) {
            let epoch = epochs.get(&record.subscription).copied().unwrap_or(0);
            if record.epoch < epoch {
                tracing::debug!(
                    subscription = record.subscription,
                    event_id = record.event_id,
                    "the outcome of an older version of the subscription is not counted"
                );
                continue;
            }
            folds.entry(&record.subscription).or_default().add(record);
        }
        folds
    }

    fn add(&mut self, record: &DeliveryRecord) {
        match record.status {
            DeliveryStatus::Delivered => {
                self.last_success = Some(record.at);
                self.failures = 0;
                self.last_error = None;
            }
            DeliveryStatus::Retrying | DeliveryStatus::Dead => {
                self.last_failure = Some(record.at);
                self.failures += u32::from(record.counts);
                self.last_error = record.error.as_deref().map(|e| text(e, MAX_ERROR_CHARS));
            }
        }
    }
}
