use sea_orm::entity::prelude::*;

/// One failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_attempts")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) id: i64,
    /// The row of `webhook_deliveries`.
    pub(crate) delivery_id: i64,
    /// Epoch microseconds.
    pub(crate) at: i64,
    pub(crate) status_code: Option<i32>,
    pub(crate) duration_ms: i64,
    #[sea_orm(column_type = "Text", nullable)]
    pub(crate) error: Option<String>,
    /// The beginning of the answer, whatever bytes it was.
    #[sea_orm(column_type = "Blob")]
    pub(crate) answer: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
