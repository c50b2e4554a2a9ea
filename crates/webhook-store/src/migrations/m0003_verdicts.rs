//! What a breaker knows of its endpoint, and which deliveries keep their subscription's order.

use sea_orm::{
    DbErr,
    sea_query::{ColumnDef, Iden, Table},
};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::entities::{
    delivery::{self, Column as Delivery},
    state::{self, Column as State},
};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0003_verdicts"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let of_state = [
            ColumnDef::new(State::Answers).boolean().null().to_owned(),
            ColumnDef::new(State::SilentSince)
                .big_integer()
                .null()
                .to_owned(),
            ColumnDef::new(State::AheadSeq)
                .big_integer()
                .null()
                .to_owned(),
            ColumnDef::new(State::Fingerprint).text().null().to_owned(),
        ];
        for column in of_state {
            if !manager
                .has_column("webhook_state", column.get_column_name())
                .await?
            {
                let alter = Table::alter()
                    .table(state::Entity)
                    .add_column(column)
                    .to_owned();
                manager.alter_table(alter).await?;
            }
        }
        let in_order = Delivery::InOrder.to_string();
        if manager.has_column("webhook_deliveries", in_order).await? {
            return Ok(());
        }
        let alter = Table::alter()
            .table(delivery::Entity)
            .add_column(ColumnDef::new(Delivery::InOrder).boolean().null())
            .to_owned();
        manager.alter_table(alter).await
    }
}
