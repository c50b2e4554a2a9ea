//! The tokens that were used, so that they can be listed, and those that were revoked.

use sea_orm::{
    DbErr,
    sea_query::{ColumnDef, Table},
};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::{
    backend,
    entities::token::{self, Column},
    tokens::MAX_JTI_CHARS,
};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0004_tokens"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::failpoints::crash_point!(MIGRATING);
        let backend = manager.get_database_backend();
        let mut jti = ColumnDef::new(Column::Jti);
        backend::exact_text_type(backend, &mut jti, MAX_JTI_CHARS).not_null();
        let tokens = Table::create()
            .table(token::Entity)
            .if_not_exists()
            .col(jti.primary_key())
            .col(ColumnDef::new(Column::Username).text().not_null())
            .col(ColumnDef::new(Column::Role).text().not_null())
            .col(ColumnDef::new(Column::Topics).text().not_null())
            .col(ColumnDef::new(Column::IssuedAt).big_integer().not_null())
            .col(ColumnDef::new(Column::ExpiresAt).big_integer().not_null())
            .col(ColumnDef::new(Column::RevokedAt).big_integer().null())
            .to_owned();
        manager.create_table(backend::ours(backend, tokens)).await
    }
}
