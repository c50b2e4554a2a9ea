//! What is kept of dead letters: their bodies within a number of bytes, and none that an operator is
//! done with; and which of them somebody has seen.

use std::collections::BTreeSet;

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, Order, Query},
};
use webhook_model::{DeliveryStatus, UtcTime};

use crate::{
    AcknowledgeOutcome, DeliveryFilter, DeliveryRow, Store, StoreError,
    entities::{
        attempt,
        delivery::{self, Column, status_code},
        subscription::WebhookSubscriptions as Subscription,
    },
    log::Cursor,
};

/// Rows of one transaction, which keeps other writers waiting for milliseconds only.
const BATCH: u64 = 500;

/// How many bytes the bodies of dead letters may come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadBytes {
    /// Those of one subscription.
    pub each: u64,
    /// Those of all.
    pub all: u64,
}

/// What the bodies of the dead letters come to at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadBodies {
    /// The subscription, which may be gone.
    pub subscription: String,
    /// Bytes.
    pub bytes: u64,
}

/// Bodies that were let go of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// How many.
    pub bodies: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// What the bodies of dead letters come to, by subscription.
    pub async fn dead_bodies(&self) -> Result<Vec<DeadBodies>, StoreError> {
        let sum = integer(self.db().get_database_backend(), "SUM(LENGTH(body))");
        let found: Vec<(String, i64)> = bodies()
            .select_only()
            .column(Column::Subscription)
            .column_as(sum, "bytes")
            .group_by(Column::Subscription)
            .into_tuple()
            .all(self.db())
            .await?;
        let bodies = |(subscription, bytes): (String, i64)| DeadBodies {
            subscription,
            bytes: bytes.cast_unsigned(),
        };
        Ok(found.into_iter().map(bodies).collect())
    }

    /// Lets go of so many bytes of a subscription's oldest dead letters, a batch at most; the rows
    /// stay, without what could be sent again.
    pub async fn drop_dead_bodies(
        &self,
        subscription: &str,
        excess: u64,
    ) -> Result<Dropped, StoreError> {
        let txn = self.begin_write().await?;
        let length = integer(txn.backend(), "LENGTH(body)");
        let oldest: Vec<(i64, i64)> = bodies()
            .select_only()
            .column(Column::Id)
            .column_as(length, "bytes")
            .filter(Column::Subscription.eq(subscription))
            .order_by_asc(Column::CreatedAt)
            .limit(BATCH)
            .into_tuple()
            .all(txn.conn())
            .await?;
        let mut dropped = Dropped::default();
        let mut ids = Vec::new();
        for (id, bytes) in oldest {
            if dropped.bytes >= excess {
                break;
            }
            dropped.bodies += 1;
            dropped.bytes += bytes.cast_unsigned();
            ids.push(id);
        }
        if ids.is_empty() {
            return txn.unused(dropped).await;
        }
        delivery::Entity::update_many()
            .col_expr(Column::Body, Expr::val(Option::<Vec<u8>>::None))
            .filter(Column::Id.is_in(ids))
            .filter(Column::Status.eq(status_code(DeliveryStatus::Dead)))
            .exec(txn.conn())
            .await?;
        txn.commit().await?;
        Ok(dropped)
    }

    /// Removes the dead letters that match, with their attempts, and says how many there were.
    /// `orphans` leaves alone those whose subscription is still there.
    pub async fn purge_dead(
        &self,
        filter: &DeliveryFilter,
        orphans: bool,
    ) -> Result<u64, StoreError> {
        let filter = DeliveryFilter {
            status: Some(DeliveryStatus::Dead),
            ..filter.clone()
        };
        let known = if orphans {
            self.known_uuids().await?
        } else {
            BTreeSet::new()
        };
        let (mut purged, mut after): (u64, Option<Cursor>) = (0, None);
        loop {
            let (ids, next) = self.dead_ids(&filter, &known, after).await?;
            purged += self.remove_dead(&ids).await?;
            after = next;
            if after.is_none() {
                return Ok(purged);
            }
        }
    }

    /// Notes that an operator has seen the dead letters that match, and says how many there were that
    /// nobody had acknowledged before. Nothing else about them changes. `orphans` leaves alone those
    /// whose subscription is still there.
    pub async fn acknowledge_dead(
        &self,
        filter: &DeliveryFilter,
        orphans: bool,
    ) -> Result<u64, StoreError> {
        // What dies meanwhile was seen by nobody.
        let now = UtcTime::now();
        let filter = DeliveryFilter {
            status: Some(DeliveryStatus::Dead),
            acknowledged: Some(false),
            until: Some(filter.until.map_or(now, |until| until.min(now))),
            ..filter.clone()
        };
        let known = if orphans {
            self.known_uuids().await?
        } else {
            BTreeSet::new()
        };
        let (mut acknowledged, mut after): (u64, Option<Cursor>) = (0, None);
        loop {
            let (ids, next) = self.dead_ids(&filter, &known, after).await?;
            acknowledged += self.mark_acknowledged(&ids, now).await?;
            after = next;
            if after.is_none() {
                return Ok(acknowledged);
            }
        }
    }

    /// The same for one; what was acknowledged before stays so since then.
    pub async fn acknowledge(&self, id: i64) -> Result<AcknowledgeOutcome, StoreError> {
        if self.mark_acknowledged(&[id], UtcTime::now()).await? > 0 {
            return Ok(AcknowledgeOutcome::Acknowledged);
        }
        let status: Option<i16> = delivery::Entity::find_by_id(id)
            .select_only()
            .column(Column::Status)
            .into_tuple()
            .one(self.db())
            .await?;
        Ok(match status {
            None => AcknowledgeOutcome::NotFound,
            Some(code) if code == status_code(DeliveryStatus::Dead) => {
                AcknowledgeOutcome::Acknowledged
            }
            Some(_) => AcknowledgeOutcome::NotDead,
        })
    }

    /// Those of the next batch that match and are of no subscription of `known`, and where the batch
    /// after it begins; none at the end.
    async fn dead_ids(
        &self,
        filter: &DeliveryFilter,
        known: &BTreeSet<String>,
        after: Option<Cursor>,
    ) -> Result<(Vec<i64>, Option<Cursor>), StoreError> {
        let rows = self.scan(filter, after, Order::Asc, BATCH).await?;
        let matching =
            |row: &&DeliveryRow| filter.matches(row) && !known.contains(&row.subscription);
        let ids = rows.iter().filter(matching).map(|row| row.id).collect();
        let is_last = (rows.len() as u64) < BATCH;
        let next = rows.last().filter(|_| !is_last).map(DeliveryRow::cursor);
        Ok((ids, next))
    }

    async fn mark_acknowledged(&self, ids: &[i64], now: UtcTime) -> Result<u64, StoreError> {
        if ids.is_empty() {
            return Ok(0);
        }
        let txn = self.begin_write().await?;
        let marked = delivery::Entity::update_many()
            .col_expr(Column::AcknowledgedAt, Expr::val(now.micros()))
            .filter(Column::Id.is_in(ids.iter().copied()))
            .filter(Column::Status.eq(status_code(DeliveryStatus::Dead)))
            .filter(Column::AcknowledgedAt.is_null())
            .exec(txn.conn())
            .await?;
        txn.commit().await?;
        Ok(marked.rows_affected)
    }

    async fn remove_dead(&self, ids: &[i64]) -> Result<u64, StoreError> {
        if ids.is_empty() {
            return Ok(0);
        }
        let txn = self.begin_write().await?;
        // One that is tried again by now stays, and its attempts with it.
        let dead: Vec<i64> = delivery::Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::Id.is_in(ids.iter().copied()))
            .filter(Column::Status.eq(status_code(DeliveryStatus::Dead)))
            .into_tuple()
            .all(txn.conn())
            .await?;
        attempt::Entity::delete_many()
            .filter(attempt::Column::DeliveryId.is_in(dead.iter().copied()))
            .exec(txn.conn())
            .await?;
        let removed = delivery::Entity::delete_many()
            .filter(Column::Id.is_in(dead))
            .filter(Column::Status.eq(status_code(DeliveryStatus::Dead)))
            .exec(txn.conn())
            .await?;
        txn.commit().await?;
        Ok(removed.rows_affected)
    }

    async fn known_uuids(&self) -> Result<BTreeSet<String>, StoreError> {
        let select = Query::select()
            .column(Subscription::Uuid)
            .from(Subscription::Table)
            .to_owned();
        let rows = self.db().query_all(&select).await?;
        let uuids = rows.iter().map(|row| row.try_get("", "uuid"));
        Ok(uuids.collect::<Result<_, _>>()?)
    }
}

/// A number as each engine has it of the same size.
fn integer(backend: DbBackend, number: &str) -> Expr {
    let kind = match backend {
        DbBackend::MySql => "SIGNED",
        _ => "BIGINT",
    };
    Expr::cust(format!("CAST({number} AS {kind})"))
}

fn bodies() -> sea_orm::Select<delivery::Entity> {
    delivery::Entity::find()
        .filter(Column::Status.eq(status_code(DeliveryStatus::Dead)))
        .filter(Column::Body.is_not_null())
}

impl DeadBytes {
    /// How many bytes each subscription has to let go of. Beyond the bound of one each pays for itself;
    /// beyond the bound of all those that have the most are brought down to a common level, so that
    /// a few letters of one are not lost to the many of another.
    pub fn excess(self, found: &[DeadBodies]) -> Vec<DeadBodies> {
        let kept = |bodies: &DeadBodies| bodies.bytes.min(self.each);
        let mut sizes: Vec<u64> = found.iter().map(kept).collect();
        sizes.sort_unstable();
        let mut left = self.all;
        let mut level = u64::MAX;
        for (index, size) in sizes.iter().enumerate() {
            let share = left / (sizes.len() - index) as u64;
            if *size > share {
                level = share;
                break;
            }
            left -= size;
        }
        let excess = |bodies: &DeadBodies| DeadBodies {
            subscription: bodies.subscription.clone(),
            bytes: bodies.bytes - kept(bodies).min(level),
        };
        let mut all: Vec<DeadBodies> = found.iter().map(excess).collect();
        all.retain(|it| it.bytes > 0);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sizes: &[u64], each: u64, all: u64, expected: &[u64]) {
        let bodies = |(index, bytes): (usize, &u64)| DeadBodies {
            subscription: index.to_string(),
            bytes: *bytes,
        };
        let found: Vec<DeadBodies> = sizes.iter().enumerate().map(bodies).collect();
        let excess = DeadBytes { each, all }.excess(&found);
        let of = |index: usize| {
            let found = excess
                .iter()
                .find(|it| it.subscription == index.to_string());
            found.map_or(0, |it| it.bytes)
        };
        let of: Vec<u64> = (0..sizes.len()).map(of).collect();
        assert_eq!(of, expected);
    }

    #[test]
    fn who_has_the_most_lets_go_first() {
        check(&[], 10, 10, &[]);
        check(&[5, 10], 10, 100, &[0, 0]);
        check(&[5, 11], 10, 100, &[0, 1]);
        check(&[5, 50], 100, 40, &[0, 15]);
        check(&[30, 50], 100, 40, &[10, 30]);
        check(&[1, 30, 50], 100, 41, &[0, 10, 30]);
        check(&[7, 7], 100, 0, &[7, 7]);
        check(&[u64::MAX, 3], 5, 100, &[u64::MAX - 5, 0]);
    }
}
