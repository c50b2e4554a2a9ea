use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_pairs")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) pair_id: String,
    /// The subscription.
    pub(crate) uuid: String,
    /// The cover that the bus filters by.
    pub(crate) filter: String,
    /// JSON list of the patterns within it that were asked for; `[]` = all of it.
    #[sea_orm(column_type = "Text")]
    pub(crate) patterns: String,
    pub(crate) incarnation: String,
    pub(crate) start_seq: i64,
    pub(crate) end_seq: Option<i64>,
    pub(crate) drain: bool,
    /// Epoch microseconds.
    pub(crate) created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
