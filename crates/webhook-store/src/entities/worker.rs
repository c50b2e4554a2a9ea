use sea_orm::entity::prelude::*;

/// A worker that delivers, by its own word.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_workers")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) instance: String,
    /// Host and process, for people.
    pub(crate) name: String,
    pub(crate) version: String,
    /// Epoch microseconds of the database's clock, as `beat_at`.
    pub(crate) started_at: i64,
    pub(crate) beat_at: i64,
    /// The config version it works by.
    pub(crate) settled: i64,
    /// JSON list of the subscriptions of which it holds events beyond the end of their pairs.
    pub(crate) holding: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
