use serde::Serialize;

/// One wrong field of a request: which, and one plain sentence about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct FieldError {
    /// The field as the caller named it, e.g. `topic_patterns[2]`.
    pub field: String,
    /// What is wrong with its value and what would be right.
    pub detail: String,
}

impl FieldError {
    /// Joins a field's name and what is wrong with it.
    pub fn new(field: impl Into<String>, detail: impl ToString) -> Self {
        Self {
            field: field.into(),
            detail: detail.to_string(),
        }
    }
}
