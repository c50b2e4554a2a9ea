//! Which dead letters somebody has acknowledged, and replays that take over those of a subscription
//! that was deleted.

use sea_orm::{
    DbBackend, DbErr, Iden,
    sea_query::{ColumnDef, ConditionalStatement, Expr, ExprTrait, Index, Table},
};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::{
    backend,
    entities::{
        delivery::{self, Column as Delivery},
        replay::{self, Column as Replay},
    },
};

const DELIVERIES: &str = "webhook_deliveries";
const REPLAYS: &str = "webhook_replays";

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0006_kept"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::failpoints::crash_point!(MIGRATING);
        let acknowledged_at = Delivery::AcknowledgedAt.to_string();
        if !manager.has_column(DELIVERIES, acknowledged_at).await? {
            let mut column = ColumnDef::new(Delivery::AcknowledgedAt);
            let alter = Table::alter()
                .table(delivery::Entity)
                .add_column(column.big_integer().null())
                .to_owned();
            manager.alter_table(alter).await?;
        }
        let mut index = Index::create();
        index
            .name("ix_webhook_deliveries_acknowledged")
            .table(delivery::Entity)
            .col(Delivery::AcknowledgedAt);
        // Counted at each scrape. Elsewhere it costs a delivery nothing; MySQL knows no such index.
        if manager.get_database_backend() != DbBackend::MySql {
            index.and_where(Expr::col(Delivery::AcknowledgedAt).is_not_null());
        }
        backend::create_index(manager, DELIVERIES, index).await?;

        let mut source = ColumnDef::new(Replay::Source);
        let mut present = ColumnDef::new(Replay::Present);
        let of_replay = [
            (Replay::Source, source.text().null()),
            (Replay::Present, present.big_integer().null()),
        ];
        for (name, column) in of_replay {
            if !manager.has_column(REPLAYS, name.to_string()).await? {
                let alter = Table::alter()
                    .table(replay::Entity)
                    .add_column(column)
                    .to_owned();
                manager.alter_table(alter).await?;
            }
        }
        Ok(())
    }
}
