use sea_orm::entity::prelude::*;

/// A job that delivers again what was delivered, or had become a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_replays")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: String,
    pub(crate) subscription: String,
    /// Of the deliveries, as in `webhook_deliveries`.
    pub(crate) status: i16,
    /// A pattern.
    #[sea_orm(column_type = "Text", nullable)]
    pub(crate) topic: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub(crate) error: Option<String>,
    /// Epoch microseconds, like every time of this table.
    pub(crate) since: Option<i64>,
    /// Exclusive; never after the job's creation, so that it ends.
    pub(crate) until: i64,
    /// 0 running, 1 done, 2 failed.
    pub(crate) state: i16,
    /// Why it failed.
    #[sea_orm(column_type = "Text", nullable)]
    pub(crate) reason: Option<String>,
    pub(crate) matched: i64,
    pub(crate) replayed: i64,
    pub(crate) unavailable: i64,
    /// The last delivery that was dealt with.
    pub(crate) cursor_at: Option<i64>,
    pub(crate) cursor_id: Option<i64>,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) lease_until: Option<i64>,
    pub(crate) lease_owner: Option<String>,
    /// The deleted subscription whose dead letters are taken over.
    #[sea_orm(column_type = "Text", nullable)]
    pub(crate) source: Option<String>,
    /// Those left where they were, because the subscription has the event.
    pub(crate) present: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
