//! Subscriptions (DECNET's table, made here where DECNET has not been), pairs, state, settings; and
//! what [`log`] holds.

mod log;

use sea_orm::{
    DbBackend, DbErr,
    sea_query::{
        ColumnDef, Iden, Index, IndexCreateStatement, IntoIden, Table, TableCreateStatement,
    },
};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::{
    backend::{self, create_index, ours},
    entities::{
        meta::{self, Column as Meta},
        pair::{self, Column as Pair},
        settings::WebhookSettings as Settings,
        state::{self, Column as State},
        subscription::WebhookSubscriptions as Subscription,
    },
};

/// A uuid in its hyphenated form.
const UUID_CHARS: u32 = 36;
/// Subscriptions are made by DECNET, too, whose column has no length; this is MySQL's default.
const FOREIGN_UUID_CHARS: u32 = 255;
const INCARNATION_CHARS: u32 = 64;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0001_base"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        subscriptions(manager, backend).await?;
        manager.create_table(ours(backend, meta_table())).await?;
        manager
            .create_table(ours(backend, state_table(backend)))
            .await?;
        manager
            .create_table(ours(backend, pairs_table(backend)))
            .await?;
        manager
            .create_table(ours(backend, settings_table(backend)))
            .await?;
        let of_subscription = Index::create()
            .name("ix_webhook_pairs_uuid")
            .table(pair::Entity)
            .col(Pair::Uuid)
            .to_owned();
        create_index(manager, "webhook_pairs", of_subscription).await?;
        log::create(manager, backend).await
    }
}

async fn subscriptions(manager: &SchemaManager<'_>, backend: DbBackend) -> Result<(), DbErr> {
    let table = Subscription::Table.to_string();
    if manager.has_table(&table).await? {
        let column = Subscription::AutoDisabledAt;
        if !manager.has_column(&table, column.to_string()).await? {
            let mut added = ColumnDef::new(column);
            backend::datetime_type(backend, &mut added).null();
            let alter = Table::alter()
                .table(Subscription::Table)
                .add_column(added)
                .to_owned();
            manager.alter_table(alter).await?;
        }
        return Ok(());
    }
    let mut table = subscriptions_table(backend);
    if backend == DbBackend::MySql {
        // With its indexes in one statement: a table that is there is taken for a whole one.
        for mut index in subscriptions_indexes() {
            table.index(&mut index);
        }
        return manager.create_table(table).await;
    }
    manager.create_table(table).await?;
    for index in subscriptions_indexes() {
        manager.create_index(index).await?;
    }
    Ok(())
}

/// DECNET's names, so that its own `create_all` finds everything in place.
fn subscriptions_indexes() -> [IndexCreateStatement; 2] {
    let index = |name: &str, column: Subscription| {
        let mut index = Index::create();
        index.name(name).table(Subscription::Table).col(column);
        index
    };
    [
        index("ix_webhook_subscriptions_name", Subscription::Name)
            .unique()
            .to_owned(),
        index("ix_webhook_subscriptions_enabled", Subscription::Enabled),
    ]
}

fn subscriptions_table(backend: DbBackend) -> TableCreateStatement {
    let datetime = |column: Subscription, required: bool| {
        let mut column = ColumnDef::new(column);
        backend::datetime_type(backend, &mut column);
        if required {
            column.not_null()
        } else {
            column.null()
        }
        .to_owned()
    };
    Table::create()
        .table(Subscription::Table)
        .col(exact(backend, Subscription::Uuid, FOREIGN_UUID_CHARS).primary_key())
        .col(exact(backend, Subscription::Name, FOREIGN_UUID_CHARS))
        .col(ColumnDef::new(Subscription::Url).text().not_null())
        .col(ColumnDef::new(Subscription::Secret).text().not_null())
        .col(
            ColumnDef::new(Subscription::TopicPatterns)
                .text()
                .not_null(),
        )
        .col(ColumnDef::new(Subscription::Enabled).boolean().not_null())
        .col(
            ColumnDef::new(Subscription::ConsecutiveFailures)
                .integer()
                .not_null(),
        )
        .col(datetime(Subscription::LastSuccessAt, false))
        .col(datetime(Subscription::LastFailureAt, false))
        .col(ColumnDef::new(Subscription::LastError).text().null())
        .col(datetime(Subscription::AutoDisabledAt, false))
        .col(datetime(Subscription::CreatedAt, true))
        .col(datetime(Subscription::UpdatedAt, true))
        .to_owned()
}

fn meta_table() -> TableCreateStatement {
    Table::create()
        .table(meta::Entity)
        .if_not_exists()
        .col(
            ColumnDef::new(Meta::Id)
                .small_integer()
                .not_null()
                .primary_key(),
        )
        .col(
            ColumnDef::new(Meta::DeploymentId)
                .string_len(UUID_CHARS)
                .not_null(),
        )
        .col(ColumnDef::new(Meta::ConfigVersion).big_integer().not_null())
        .to_owned()
}

fn state_table(backend: DbBackend) -> TableCreateStatement {
    Table::create()
        .table(state::Entity)
        .if_not_exists()
        .col(exact(backend, State::Uuid, FOREIGN_UUID_CHARS).primary_key())
        .col(ColumnDef::new(State::Epoch).big_integer().not_null())
        .col(ColumnDef::new(State::ProbeAt).big_integer().null())
        .col(ColumnDef::new(State::Trips).integer().not_null())
        .col(ColumnDef::new(State::FailingSince).big_integer().null())
        .col(ColumnDef::new(State::LeaseUntil).big_integer().null())
        .col(ColumnDef::new(State::LeaseOwner).text().null())
        .to_owned()
}

fn pairs_table(backend: DbBackend) -> TableCreateStatement {
    Table::create()
        .table(pair::Entity)
        .if_not_exists()
        .col(exact(backend, Pair::PairId, UUID_CHARS).primary_key())
        .col(exact(backend, Pair::Uuid, FOREIGN_UUID_CHARS))
        .col(ColumnDef::new(Pair::Filter).text().not_null())
        .col(ColumnDef::new(Pair::Patterns).text().not_null())
        .col(exact(backend, Pair::Incarnation, INCARNATION_CHARS))
        .col(ColumnDef::new(Pair::StartSeq).big_integer().not_null())
        .col(ColumnDef::new(Pair::EndSeq).big_integer().null())
        .col(ColumnDef::new(Pair::Drain).boolean().not_null())
        .col(ColumnDef::new(Pair::CreatedAt).big_integer().not_null())
        .to_owned()
}

fn settings_table(backend: DbBackend) -> TableCreateStatement {
    Table::create()
        .table(Settings::Table)
        .if_not_exists()
        .col(exact(backend, Settings::Uuid, FOREIGN_UUID_CHARS).primary_key())
        .col(ColumnDef::new(Settings::MaxInFlight).integer().not_null())
        .col(ColumnDef::new(Settings::RatePerSecond).integer().not_null())
        .col(ColumnDef::new(Settings::Burst).integer().null())
        .col(ColumnDef::new(Settings::Ordered).boolean().not_null())
        .col(
            ColumnDef::new(Settings::TimeoutSeconds)
                .integer()
                .not_null(),
        )
        .col(
            ColumnDef::new(Settings::RedeliverySchedule)
                .text()
                .not_null(),
        )
        .col(ColumnDef::new(Settings::Headers).text().not_null())
        .to_owned()
}

fn exact(backend: DbBackend, name: impl IntoIden, chars: u32) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    backend::exact_text_type(backend, &mut column, chars).not_null();
    column
}
