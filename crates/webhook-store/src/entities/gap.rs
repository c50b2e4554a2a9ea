use sea_orm::entity::prelude::*;

/// Events that the bus's retention took before a pair had delivered them.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_gaps")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) id: i64,
    pub(crate) pair_id: String,
    pub(crate) subscription: String,
    pub(crate) incarnation: String,
    pub(crate) from_seq: i64,
    pub(crate) to_seq: i64,
    pub(crate) count: i64,
    /// Epoch microseconds.
    pub(crate) at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
