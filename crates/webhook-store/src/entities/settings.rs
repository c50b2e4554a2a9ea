use sea_orm::DeriveIden;

/// Table `webhook_settings` and its columns. A missing row means the defaults.
#[derive(DeriveIden, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WebhookSettings {
    Table,
    Uuid,
    MaxInFlight,
    RatePerSecond,
    Burst,
    Ordered,
    TimeoutSeconds,
    /// JSON list of seconds.
    RedeliverySchedule,
    /// JSON object; its values are secrets.
    Headers,
}
