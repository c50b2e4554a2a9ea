//! Creating, reading, changing and deleting subscriptions (contract §2 and §5).

mod broken;
mod patch;
mod row;

pub use broken::{BrokenSubscription, Met};
pub(crate) use row::{patterns, patterns_text};

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, EntityTrait, QuerySelect, SqlErr,
    sea_query::{Expr, ExprTrait, Query, SelectStatement},
};
use webhook_model::{State, Subscription};

use crate::{
    BadRow, NewSubscription, Patched, Position, Store, StoreError, SubscriptionPatch, backend,
    breaker,
    entities::{state, subscription::WebhookSubscriptions as Column},
    fingerprint, pairs, redelivery, settings,
    store::WriteTxn,
};

impl Store {
    /// Stores a subscription. Events from `position` on are its own.
    pub async fn create(
        &self,
        new: NewSubscription,
        position: &Position,
    ) -> Result<Subscription, StoreError> {
        if new.topic_patterns.is_empty() {
            return Err(StoreError::NoPatterns);
        }
        let txn = self.begin_write().await?;
        let now = txn.now();
        let subscription = Subscription {
            uuid: uuid::Uuid::new_v4().to_string(),
            name: new.name.as_str().to_owned(),
            url: new.url,
            secret: new.secret,
            topic_patterns: new.topic_patterns,
            skipped_patterns: Vec::new(),
            settings: new.settings,
            state: if new.enabled {
                State::Active
            } else {
                State::Paused
            },
            consecutive_failures: 0,
            last_success_at: None,
            last_failure_at: None,
            last_error: None,
            created_at: now,
            updated_at: now,
        };
        txn.room().check(&subscription)?;
        check_name(&txn, &subscription).await?;
        let insert = row::insert(&txn, &subscription);
        txn.conn()
            .execute(&insert)
            .await
            .map_err(|error| taken(error, &subscription))?;
        settings::write(&txn, &subscription.uuid, &subscription.settings).await?;
        pairs::reconcile(&txn, &subscription, position).await?;
        txn.bump_epoch(&subscription.uuid).await?;
        fingerprint::write(&txn, &subscription).await?;
        txn.commit().await?;
        crate::failpoints::crash_point!(CREATED, Err(crate::failpoints::away()));
        Ok(subscription)
    }

    /// One subscription. Any string may be asked for.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when the row is there but cannot be read.
    pub async fn get(&self, uuid: &str) -> Result<Option<Subscription>, StoreError> {
        find(self.db(), uuid).await
    }

    /// One subscription as `patch` meets it: what of the row cannot be read is taken from the patch.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when something cannot be read that the patch does not supply.
    pub async fn meet(
        &self,
        uuid: &str,
        patch: &SubscriptionPatch,
    ) -> Result<Option<Met>, StoreError> {
        let backend = self.db().get_database_backend();
        one(self.db(), &by_uuid(backend, uuid), patch).await
    }

    /// All subscriptions by `created_at`. Rows that cannot be read are skipped with a warning.
    pub async fn list(&self) -> Result<Vec<Subscription>, StoreError> {
        let (subscriptions, broken) = all(self.db()).await?;
        self.warn_of(&bad_rows(&broken));
        Ok(subscriptions)
    }

    /// Changes a subscription; `None` when there is none. What the patch leaves as it was is not
    /// written, and a patch that changes nothing leaves `updated_at` alone. A row that cannot be read is
    /// mended by a patch that supplies what is wrong with it.
    ///
    /// The pairs are brought in line in the same transaction: filters that stay keep their pair, a
    /// filter that goes ends its pair before `position` and one that comes begins there.
    pub async fn patch(
        &self,
        uuid: &str,
        patch: SubscriptionPatch,
        position: &Position,
    ) -> Result<Option<Patched>, StoreError> {
        if patch.topic_patterns.as_ref().is_some_and(Vec::is_empty) {
            return Err(StoreError::NoPatterns);
        }
        let txn = self.begin_write().await?;
        let Some(met) = lock(&txn, uuid, &patch).await? else {
            return txn.unused(None).await;
        };
        let old = &met.subscription;
        if let Some(change) = &patch.settings
            && change.from != old.settings
        {
            return txn.unused(()).await.and(Err(StoreError::SettingsChanged));
        }
        let mut new = patch::apply(old, patch);
        let changes = row::changes(&txn, &met, &new);
        if changes.is_empty() && new.settings == old.settings {
            let unchanged = Patched {
                subscription: met.subscription,
                changed: false,
                ended: Vec::new(),
            };
            return txn.unused(Some(unchanged)).await;
        }
        txn.room().check(&new)?;
        if new.name != old.name || met.mends("name") {
            check_name(&txn, &new).await?;
        }
        new.updated_at = txn.now();
        let update = Query::update()
            .table(Column::Table)
            .values(changes)
            .value(Column::UpdatedAt, txn.datetime(Some(new.updated_at)))
            .and_where(Expr::col(Column::Uuid).eq(uuid))
            .to_owned();
        txn.conn()
            .execute(&update)
            .await
            .map_err(|error| taken(error, &new))?;
        if new.settings != old.settings {
            settings::write(&txn, uuid, &new.settings).await?;
        }
        if !met.mended.is_empty()
            || (&new.url, &new.secret, &new.settings) != (&old.url, &old.secret, &old.settings)
        {
            redelivery::due_now(&txn, uuid, new.settings.ordered()).await?;
        }
        let ended = pairs::reconcile(&txn, &new, position).await?.ended;
        txn.bump_epoch(uuid).await?;
        fingerprint::write(&txn, &new).await?;
        if new.state != old.state || met.mends("enabled") {
            state::Entity::update(breaker::reset(uuid))
                .exec(txn.conn())
                .await?;
        }
        txn.commit().await?;
        Ok(Some(Patched {
            subscription: new,
            changed: true,
            ended,
        }))
    }

    /// Deletes a subscription, also one that cannot be read; false when there is none. Its pairs
    /// end without draining, its delivery log stays; what was still to be tried again becomes a
    /// dead letter with the error `subscription deleted`.
    pub async fn delete(&self, uuid: &str, position: &Position) -> Result<bool, StoreError> {
        let txn = self.begin_write().await?;
        // Its epoch goes first: see `find_locked`. Without it, late outcomes find nothing to update.
        state::Entity::delete_by_id(uuid).exec(txn.conn()).await?;
        let delete = Query::delete()
            .from_table(Column::Table)
            .and_where(backend::is_exactly(txn.backend(), Column::Uuid, uuid))
            .to_owned();
        if txn.conn().execute(&delete).await?.rows_affected() == 0 {
            return txn.unused(false).await;
        }
        settings::delete(&txn, uuid).await?;
        pairs::abandon(&txn, uuid, position).await?;
        redelivery::bury(&txn, uuid).await?;
        txn.bump_config_version().await?;
        txn.commit().await?;
        Ok(true)
    }
}

/// Reads every row there is, in the order of the API.
pub(crate) async fn all(
    conn: &impl ConnectionTrait,
) -> Result<(Vec<Subscription>, Vec<BrokenSubscription>), StoreError> {
    let select = row::select(conn.get_database_backend());
    let mut settings = settings::all(conn).await?;
    let (mut good, mut broken) = (Vec::new(), Vec::new());
    let as_it_is = SubscriptionPatch::default();
    for found in conn.query_all(&select).await? {
        match row::decode(&found, &as_it_is, |uuid| settings.remove(uuid)) {
            Ok(met) => good.push(met.subscription),
            Err(row) => broken.push(*row),
        }
    }
    good.sort_by(|a, b| (a.created_at, &a.uuid).cmp(&(b.created_at, &b.uuid)));
    Ok((good, broken))
}

pub(crate) fn bad_rows(broken: &[BrokenSubscription]) -> Vec<BadRow> {
    broken.iter().map(BrokenSubscription::bad_row).collect()
}

pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    uuid: &str,
) -> Result<Option<Subscription>, StoreError> {
    let select = by_uuid(conn.get_database_backend(), uuid);
    let met = one(conn, &select, &SubscriptionPatch::default()).await?;
    Ok(met.map(|met| met.subscription))
}

/// Reads a row and keeps others from writing it until the transaction ends. The row of
/// `webhook_state` is locked first, here and by the recorder, so that they never wait for each
/// other.
pub(crate) async fn find_locked(
    txn: &WriteTxn,
    uuid: &str,
) -> Result<Option<Subscription>, StoreError> {
    let met = lock(txn, uuid, &SubscriptionPatch::default()).await?;
    Ok(met.map(|met| met.subscription))
}

async fn lock(
    txn: &WriteTxn,
    uuid: &str,
    patch: &SubscriptionPatch,
) -> Result<Option<Met>, StoreError> {
    state::Entity::find_by_id(uuid)
        .lock_exclusive()
        .one(txn.conn())
        .await?;
    let select = by_uuid(txn.backend(), uuid).lock_exclusive().to_owned();
    one(txn.conn(), &select, patch).await
}

fn by_uuid(backend: DbBackend, uuid: &str) -> SelectStatement {
    row::select(backend)
        .and_where(backend::is_exactly(backend, Column::Uuid, uuid))
        .to_owned()
}

async fn one(
    conn: &impl ConnectionTrait,
    select: &SelectStatement,
    patch: &SubscriptionPatch,
) -> Result<Option<Met>, StoreError> {
    let Some(found) = conn.query_one(select).await? else {
        return Ok(None);
    };
    let uuid: String = found.try_get("", "uuid")?;
    let settings = settings::of(conn, &uuid).await?;
    row::decode(&found, patch, |_| Some(settings))
        .map(Some)
        .map_err(StoreError::Broken)
}

/// Tells a taken name before the database does, which also works where DECNET's table compares
/// names in another way.
async fn check_name(txn: &WriteTxn, subscription: &Subscription) -> Result<(), StoreError> {
    let select = Query::select()
        .column(Column::Name)
        .from(Column::Table)
        .and_where(Expr::col(Column::Name).eq(&subscription.name))
        .and_where(Expr::col(Column::Uuid).ne(&subscription.uuid))
        .to_owned();
    for found in txn.conn().query_all(&select).await? {
        if found.try_get::<String>("", "name")? == subscription.name {
            return Err(StoreError::NameTaken(subscription.name.clone()));
        }
    }
    Ok(())
}

/// A name that somebody else took in the same moment, or that the table holds for equal.
fn taken(error: DbErr, subscription: &Subscription) -> StoreError {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => {
            StoreError::NameTaken(subscription.name.clone())
        }
        _ => error.into(),
    }
}
