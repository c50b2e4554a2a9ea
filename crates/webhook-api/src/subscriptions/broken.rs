//! What an operator can do about a row that cannot be read.

use webhook_model::FieldError;
use webhook_store::BrokenSubscription;

/// The fields that a PATCH can supply.
const PATCHABLE: [&str; 5] = ["name", "url", "secret", "topic_patterns", "enabled"];

/// Every field that cannot be read, what is wrong with it and what helps.
pub(crate) fn faults(row: &BrokenSubscription) -> Vec<FieldError> {
    (row.faults.iter())
        .map(|fault| {
            let remedy = if PATCHABLE.contains(&fault.field.as_str()) {
                "supply it with PATCH, or delete the webhook"
            } else {
                "correct it in the database, or delete the webhook"
            };
            let detail = format!("what is stored cannot be read: {}; {remedy}", fault.detail);
            FieldError::new(&fault.field, detail)
        })
        .collect()
}
