use sea_orm::entity::prelude::*;

/// The one row of `webhook_meta`.
pub(crate) const ROW: i16 = 1;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_meta")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: i16,
    /// Names this installation on a bus that others use, too.
    pub(crate) deployment_id: String,
    /// Counts the changes of subscriptions and pairs.
    pub(crate) config_version: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
