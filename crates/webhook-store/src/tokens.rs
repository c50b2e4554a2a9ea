//! The API's tokens, as far as the database knows them: those that were used, and those that were
//! revoked. A token is valid without a row; one whose row says that it is revoked is not.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::OnConflict,
};
use webhook_model::UtcTime;

use crate::{
    Store, StoreError,
    entities::token::{self, Column},
};

/// Longest id of a token that is kept; a uuid has 36 characters.
pub(crate) const MAX_JTI_CHARS: u32 = 128;

/// A token of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Its own id.
    pub jti: String,
    /// Whom it names.
    pub username: String,
    /// What its bearer may do.
    pub role: String,
    /// The patterns that it is bound to; none where it is bound to nothing.
    pub topics: Vec<String>,
    /// When it was made.
    pub issued_at: UtcTime,
    /// When it ends by itself.
    pub expires_at: UtcTime,
    /// When it was ended before.
    pub revoked_at: Option<UtcTime>,
}

impl TokenRow {
    /// Whether a row for this id can be kept.
    pub fn can_be_kept(jti: &str) -> bool {
        !jti.is_empty() && !jti.contains('\0') && jti.chars().count() <= MAX_JTI_CHARS as usize
    }
}

impl Store {
    /// What is known of a token.
    pub async fn token(&self, jti: &str) -> Result<Option<TokenRow>, StoreError> {
        if !TokenRow::can_be_kept(jti) {
            return Ok(None);
        }
        let found = token::Entity::find_by_id(jti).one(self.db()).await?;
        Ok(found.map(decode))
    }

    /// Keeps a token that is used for the first time. What it is known to be already stays.
    pub async fn note_token(&self, row: &TokenRow) -> Result<(), StoreError> {
        self.upsert(
            row,
            OnConflict::column(Column::Jti).do_nothing_on([Column::Jti]),
        )
        .await
    }

    /// Revokes a token, known or not: `row` is what is kept of one that is not.
    pub async fn revoke_token(&self, row: &TokenRow) -> Result<(), StoreError> {
        self.upsert(
            row,
            OnConflict::column(Column::Jti).update_column(Column::RevokedAt),
        )
        .await
    }

    /// Those that have not ended by themselves, latest first.
    pub async fn tokens(&self, now: UtcTime, limit: u64) -> Result<Vec<TokenRow>, StoreError> {
        let found = token::Entity::find()
            .filter(Column::ExpiresAt.gt(now.micros()))
            .order_by_desc(Column::IssuedAt)
            .order_by_desc(Column::Jti)
            .limit(limit)
            .all(self.db())
            .await?;
        Ok(found.into_iter().map(decode).collect())
    }

    /// Writes a row, and forgets those whose tokens have ended by themselves.
    async fn upsert(&self, row: &TokenRow, conflict: &OnConflict) -> Result<(), StoreError> {
        let topics = serde_json::to_string(&row.topics).expect("strings are JSON");
        let new = token::ActiveModel {
            jti: Set(row.jti.clone()),
            username: Set(row.username.clone()),
            role: Set(row.role.clone()),
            topics: Set(topics),
            issued_at: Set(row.issued_at.micros()),
            expires_at: Set(row.expires_at.micros()),
            revoked_at: Set(row.revoked_at.map(UtcTime::micros)),
        };
        let txn = self.begin_write().await?;
        token::Entity::delete_many()
            .filter(Column::ExpiresAt.lt(UtcTime::now().micros()))
            .exec(txn.conn())
            .await?;
        token::Entity::insert(new)
            .on_conflict(conflict.clone())
            .exec_without_returning(txn.conn())
            .await?;
        txn.commit().await?;
        Ok(())
    }
}

fn decode(row: token::Model) -> TokenRow {
    TokenRow {
        jti: row.jti,
        username: row.username,
        role: row.role,
        topics: serde_json::from_str(&row.topics).unwrap_or_default(),
        issued_at: UtcTime::from_micros(row.issued_at),
        expires_at: UtcTime::from_micros(row.expires_at),
        revoked_at: row.revoked_at.map(UtcTime::from_micros),
    }
}
