use sea_orm::entity::prelude::*;

/// A token of ours that was used, or revoked.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_tokens")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) jti: String,
    pub(crate) username: String,
    pub(crate) role: String,
    /// Patterns as a JSON list; empty where it is bound to none.
    pub(crate) topics: String,
    /// Epoch microseconds, as are the others.
    pub(crate) issued_at: i64,
    pub(crate) expires_at: i64,
    pub(crate) revoked_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
