use sea_orm::{DeriveIden, EnumIter};

/// Table `webhook_subscriptions` and its columns.
#[derive(DeriveIden, EnumIter, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WebhookSubscriptions {
    Table,
    Uuid,
    Name,
    Url,
    Secret,
    TopicPatterns,
    Enabled,
    ConsecutiveFailures,
    LastSuccessAt,
    LastFailureAt,
    LastError,
    AutoDisabledAt,
    CreatedAt,
    UpdatedAt,
}
