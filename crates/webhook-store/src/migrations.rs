//! Brings a database up to date, be it new, ours, or DECNET's.

mod m0001_base;
mod m0002_workers;
mod m0003_verdicts;
mod m0004_tokens;
mod m0005_open_work;
mod m0006_kept;

use std::collections::BTreeSet;

use sea_orm::{ActiveValue::Set, DatabaseTransaction, DynIden, EntityTrait, Iden, Iterable};
use sea_orm_migration::{MigrationTrait, MigratorTrait, SchemaManager};

use crate::{
    StoreError, backend,
    entities::{meta, subscription::WebhookSubscriptions},
};

pub(crate) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_base::Migration),
            Box::new(m0002_workers::Migration),
            Box::new(m0003_verdicts::Migration),
            Box::new(m0004_tokens::Migration),
            Box::new(m0005_open_work::Migration),
            Box::new(m0006_kept::Migration),
        ]
    }

    fn migration_table_name() -> DynIden {
        "webhook_migrations".into()
    }
}

/// Migrates within the caller's transaction, so that processes that start together take turns and
/// a crash leaves nothing half-done; MySQL commits with every statement that changes a table, so
/// each migration must bear to be begun again.
///
/// `database` is what an error calls it. Where it awaits DECNET, nothing is made before DECNET's table.
pub(crate) async fn migrate(
    txn: &DatabaseTransaction,
    database: &str,
    awaits_decnet: bool,
) -> Result<meta::Model, StoreError> {
    if awaits_decnet {
        let shared = WebhookSubscriptions::Table.to_string();
        if !SchemaManager::new(txn).has_table(shared).await? {
            return Err(StoreError::AwaitsDecnet(database.to_owned()));
        }
    }
    backend::lock_migrations(txn).await?;
    let migrated = locked(txn, database).await;
    backend::unlock_migrations(txn).await?;
    migrated
}

async fn locked(txn: &DatabaseTransaction, database: &str) -> Result<meta::Model, StoreError> {
    let applied: BTreeSet<String> = Migrator::get_migration_models(txn)
        .await?
        .into_iter()
        .map(|model| model.version)
        .collect();
    refuse_newer(database, &applied)?;
    check_subscriptions(&SchemaManager::new(txn)).await?;
    if applied != known() {
        Migrator::up(txn, None).await?;
    }
    meta_row(txn).await
}

fn known() -> BTreeSet<String> {
    let all = Migrator::migrations();
    all.iter().map(|one| one.name().to_owned()).collect()
}

/// Fails where a migration was applied that only a newer build knows.
pub(crate) fn refuse_newer(database: &str, applied: &BTreeSet<String>) -> Result<(), StoreError> {
    let known = known();
    let unknown: Vec<String> = applied.difference(&known).cloned().collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(StoreError::NewerSchema {
        database: database.to_owned(),
        unknown,
        known: known.last().cloned().unwrap_or_default(),
    })
}

/// Names the first column that a table of DECNET's lacks. `auto_disabled_at` is younger than the
/// table; the migration adds it.
async fn check_subscriptions(manager: &SchemaManager<'_>) -> Result<(), StoreError> {
    let table = WebhookSubscriptions::Table.to_string();
    if !manager.has_table(&table).await? {
        return Ok(());
    }
    for column in WebhookSubscriptions::iter() {
        let optional = matches!(
            column,
            WebhookSubscriptions::Table | WebhookSubscriptions::AutoDisabledAt
        );
        if !optional && !manager.has_column(&table, column.to_string()).await? {
            return Err(StoreError::ForeignSchema {
                table: "webhook_subscriptions",
                column: column.to_string(),
            });
        }
    }
    Ok(())
}

async fn meta_row(txn: &DatabaseTransaction) -> Result<meta::Model, StoreError> {
    if let Some(found) = meta::Entity::find_by_id(meta::ROW).one(txn).await? {
        return Ok(found);
    }
    let made = meta::Model {
        id: meta::ROW,
        deployment_id: uuid::Uuid::new_v4().to_string(),
        config_version: 1,
    };
    meta::Entity::insert(meta::ActiveModel {
        id: Set(made.id),
        deployment_id: Set(made.deployment_id.clone()),
        config_version: Set(made.config_version),
    })
    .exec_without_returning(txn)
    .await?;
    Ok(made)
}
