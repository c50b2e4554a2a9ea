use sea_orm::entity::prelude::*;
use webhook_model::DeliveryStatus;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_deliveries")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) id: i64,
    pub(crate) pair_id: String,
    pub(crate) seq: i64,
    pub(crate) incarnation: String,
    pub(crate) subscription: String,
    pub(crate) event_id: String,
    pub(crate) topic: String,
    #[sea_orm(column_name = "type", column_type = "Text")]
    pub(crate) kind: String,
    /// See [`status_code`].
    pub(crate) status: i16,
    pub(crate) attempts: i32,
    /// Redelivery rounds so far.
    pub(crate) round: i32,
    pub(crate) status_code: Option<i32>,
    #[sea_orm(column_type = "Text", nullable)]
    pub(crate) error: Option<String>,
    pub(crate) duration_ms: i64,
    /// Epoch microseconds, like every time of this table.
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    /// Of a retrying row, and only of such.
    pub(crate) next_attempt_at: Option<i64>,
    /// Who is trying it, and until when.
    pub(crate) lease_until: Option<i64>,
    pub(crate) lease_owner: Option<String>,
    #[sea_orm(column_type = "Blob", nullable)]
    pub(crate) body: Option<Vec<u8>>,
    /// Whether the events behind it wait for it.
    pub(crate) in_order: Option<bool>,
    /// Of a dead letter, and only of such.
    pub(crate) acknowledged_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A status as the column `status` holds it: the number only rises.
pub(crate) fn status_code(status: DeliveryStatus) -> i16 {
    match status {
        DeliveryStatus::Retrying => 0,
        DeliveryStatus::Dead => 1,
        DeliveryStatus::Delivered => 2,
    }
}

/// The reverse; none for a number that no version of ours wrote.
pub(crate) fn status_of(code: i16) -> Option<DeliveryStatus> {
    [
        DeliveryStatus::Retrying,
        DeliveryStatus::Dead,
        DeliveryStatus::Delivered,
    ]
    .into_iter()
    .find(|status| status_code(*status) == code)
}
