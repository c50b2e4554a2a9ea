use sea_orm::entity::prelude::*;

/// What this project knows of a subscription beyond DECNET's columns. A missing row means epoch 0.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_state")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) uuid: String,
    /// Counts the subscription's changes.
    pub(crate) epoch: i64,
    /// When the breaker probes next; with the rest it is about the trip at `failing_since`, and
    /// about nothing unless the row's `auto_disabled_at` is that moment.
    pub(crate) probe_at: Option<i64>,
    pub(crate) trips: i32,
    pub(crate) failing_since: Option<i64>,
    /// Who may probe, and until when.
    pub(crate) lease_until: Option<i64>,
    pub(crate) lease_owner: Option<String>,
    /// The receiver asked for no attempt before.
    pub(crate) pause_until: Option<i64>,
    /// Whether the endpoint of a tripped subscription answers, and since when it does not.
    pub(crate) answers: Option<bool>,
    pub(crate) silent_since: Option<i64>,
    /// The highest sequence number that was sent before its turn came on the bus.
    pub(crate) ahead_seq: Option<i64>,
    /// What the row looked like when it was last seen, so that a change by DECNET shows.
    pub(crate) fingerprint: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
