//! DECNET's own tables `users` and `revoked_tokens`, which may or may not be there. Read only.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sea_orm::{
    ConnectionTrait, DeriveIden,
    sea_query::{Expr, ExprTrait, Query},
};
use tokio::time::Instant;
use webhook_model::UtcTime;

use crate::{Store, StoreError, UserRow, backend, session::Reader};

/// How long something that was not there is believed to be still missing: DECNET may be installed
/// beside us at any time.
const RECHECK: Duration = Duration::from_secs(60);

#[derive(DeriveIden)]
enum Users {
    Table,
    Uuid,
    Username,
    Role,
    TokensValidFrom,
    MustChangePassword,
}

#[derive(DeriveIden)]
enum RevokedTokens {
    Table,
    Jti,
}

/// What is known of the tables. What was found stays found.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    users: Presence,
    tokens_valid_from: Presence,
    must_change_password: Presence,
    revoked_tokens: Presence,
}

#[derive(Debug, Default)]
struct Presence(Mutex<Known>);

#[derive(Debug, Default, Clone, Copy)]
enum Known {
    #[default]
    Nothing,
    Present,
    MissingAt(Instant),
}

impl Presence {
    async fn check(
        &self,
        db: &Reader,
        table: &'static str,
        column: &'static str,
    ) -> Result<bool, StoreError> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            Known::Present => return Ok(true),
            Known::MissingAt(at) if at.elapsed() < RECHECK => return Ok(false),
            Known::MissingAt(_) | Known::Nothing => {}
        }
        let present = db.has_column(table, column).await?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = if present {
            Known::Present
        } else {
            Known::MissingAt(Instant::now())
        };
        Ok(present)
    }
}

impl Store {
    /// The user of this uuid, if DECNET's table `users` is there and has one.
    ///
    /// # Errors
    /// [`StoreError::BadRow`] when `tokens_valid_from` cannot be read: nobody may then say which
    /// tokens are valid.
    pub async fn user(&self, uuid: &str) -> Result<Option<UserRow>, StoreError> {
        let (db, accounts) = (self.db(), self.accounts());
        if !accounts.users.check(db, "users", "role").await? {
            return Ok(None);
        }
        let has_cutoff = accounts
            .tokens_valid_from
            .check(db, "users", "tokens_valid_from")
            .await?;
        let may_have_to_change = accounts
            .must_change_password
            .check(db, "users", "must_change_password")
            .await?;
        let mut select = Query::select();
        select
            .columns([Users::Username, Users::Role])
            .from(Users::Table)
            .and_where(Expr::col(Users::Uuid).eq(uuid));
        if has_cutoff {
            let cutoff = backend::datetime_text(db.get_database_backend(), Users::TokensValidFrom);
            select.expr_as(cutoff, Users::TokensValidFrom);
        }
        if may_have_to_change {
            select.column(Users::MustChangePassword);
        }
        let Some(row) = db.query_one(&select).await? else {
            return Ok(None);
        };
        let cutoff: Option<String> = if has_cutoff {
            row.try_get("", "tokens_valid_from")?
        } else {
            None
        };
        let tokens_valid_from = cutoff
            .map(|text| UtcTime::parse_sql(&text))
            .transpose()
            .map_err(|error| StoreError::BadRow {
                table: "users",
                uuid: uuid.to_owned(),
                reason: format!("tokens_valid_from: {error}"),
            })?;
        let must_change_password = may_have_to_change
            && row
                .try_get::<Option<bool>>("", "must_change_password")?
                .unwrap_or(false);
        Ok(Some(UserRow {
            username: row.try_get("", "username")?,
            role: row.try_get("", "role")?,
            tokens_valid_from,
            must_change_password,
        }))
    }

    /// Whether DECNET revoked the token with this `jti`.
    pub async fn is_revoked(&self, jti: &str) -> Result<bool, StoreError> {
        let db = self.db();
        if !self
            .accounts()
            .revoked_tokens
            .check(db, "revoked_tokens", "jti")
            .await?
        {
            return Ok(false);
        }
        let select = Query::select()
            .column(RevokedTokens::Jti)
            .from(RevokedTokens::Table)
            .and_where(Expr::col(RevokedTokens::Jti).eq(jti))
            .limit(1)
            .to_owned();
        Ok(db.query_one(&select).await?.is_some())
    }
}
