//! Several workers on one database: who lives, and what each of them has to tell the others.

use sea_orm::{
    DbErr,
    sea_query::{ColumnDef, Iden, Table},
};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::{
    backend,
    entities::{
        state::{self, Column as State},
        worker::{self, Column as Worker},
    },
};

/// A uuid in its hyphenated form.
const UUID_CHARS: u32 = 36;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0002_workers"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::failpoints::crash_point!(MIGRATING);
        let backend = manager.get_database_backend();
        let mut instance = ColumnDef::new(Worker::Instance);
        backend::exact_text_type(backend, &mut instance, UUID_CHARS).not_null();
        let workers = Table::create()
            .table(worker::Entity)
            .if_not_exists()
            .col(instance.primary_key())
            .col(ColumnDef::new(Worker::Name).text().not_null())
            .col(ColumnDef::new(Worker::Version).text().not_null())
            .col(ColumnDef::new(Worker::StartedAt).big_integer().not_null())
            .col(ColumnDef::new(Worker::BeatAt).big_integer().not_null())
            .col(ColumnDef::new(Worker::Settled).big_integer().not_null())
            .col(ColumnDef::new(Worker::Holding).text().not_null())
            .to_owned();
        manager
            .create_table(backend::ours(backend, workers))
            .await?;
        let column = State::PauseUntil.to_string();
        if manager.has_column("webhook_state", column).await? {
            return Ok(());
        }
        let pause = Table::alter()
            .table(state::Entity)
            .add_column(ColumnDef::new(State::PauseUntil).big_integer().null())
            .to_owned();
        manager.alter_table(pause).await
    }
}
