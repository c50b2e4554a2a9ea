//! Reading the delivery log, page by page, and having a delivery tried again.
//!
//! A page never counts, sorts or skips: it walks an index backwards from a cursor. The filters that
//! the index does not know are applied to what it yields, and a page gives up after a bounded
//! number of rows, so a rare match costs the reader more pages, never the database a long query.

mod cursor;
mod filter;
mod merge;
mod row;

use sea_orm::{
    ColumnTrait, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    Select,
    sea_query::{Expr, Order},
};
use webhook_model::{DeliveryStatus, UtcTime};

use crate::{
    AttemptRecord, Store, StoreError,
    entities::{
        attempt,
        delivery::{self, Column, status_code},
    },
    redelivery, subscriptions,
};

use merge::Merge;

pub use cursor::{Cursor, CursorError};
pub use filter::DeliveryFilter;
pub use row::{DeliveryDetail, DeliveryRow, Page, RetryOutcome};

/// Most rows that one page looks at: some 100 ms.
const MAX_SCANNED: usize = 10_000;
/// Rows of one query, where not all of them may match.
const CHUNK: u64 = 500;
/// Rows that one step of counting looks at.
const COUNT_CHUNK: u64 = 5_000;
/// Most rows of one page.
const MAX_LIMIT: u64 = 500;

impl Store {
    /// One page of the log, latest first. A page may be short, even empty, and still have a
    /// `next`: then what was looked at did not match, and more is left.
    pub async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        cursor: Option<&Cursor>,
        limit: u64,
    ) -> Result<Page<DeliveryRow>, StoreError> {
        let limit = limit.clamp(1, MAX_LIMIT);
        let chunk = if filter.is_indexed() {
            limit + 1
        } else {
            CHUNK
        };
        let txn = self.begin_read().await?;
        let mut rows = Merge::new(&txn, filter, cursor.copied(), Order::Desc, chunk);
        let mut at = cursor.copied();
        let (mut items, mut scanned) = (Vec::new(), 0);
        let next = loop {
            if scanned == MAX_SCANNED {
                break at;
            }
            let Some(row) = rows.next().await? else {
                break None;
            };
            if items.len() as u64 == limit {
                break at;
            }
            at = Some(row.cursor());
            scanned += 1;
            if filter.matches(&row) {
                items.push(row);
            }
        };
        txn.rollback().await?;
        Ok(Page { items, next })
    }

    /// One delivery with everything that is kept of it.
    pub async fn delivery(&self, id: i64) -> Result<Option<DeliveryDetail>, StoreError> {
        let txn = self.begin_read().await?;
        let Some(found) = delivery::Entity::find_by_id(id).one(&txn).await? else {
            return Ok(None);
        };
        let attempts = attempt::Entity::find()
            .filter(attempt::Column::DeliveryId.eq(id))
            .order_by_asc(attempt::Column::Id)
            .all(&txn)
            .await?;
        let body = found.body.clone().map(Into::into);
        Ok(Some(DeliveryDetail {
            row: DeliveryRow::decode(found)?,
            attempts: attempts.into_iter().map(AttemptRecord::from).collect(),
            body,
        }))
    }

    /// Makes a dead letter, or a delivery that waits, due now. Its rounds begin anew.
    pub async fn retry(&self, id: i64) -> Result<RetryOutcome, StoreError> {
        let txn = self.begin_write().await?;
        let Some(found) = delivery::Entity::find_by_id(id)
            .lock_exclusive()
            .one(txn.conn())
            .await?
        else {
            return txn.unused(RetryOutcome::NotFound).await;
        };
        if found.status == status_code(DeliveryStatus::Delivered) {
            return txn.unused(RetryOutcome::AlreadyDelivered).await;
        }
        if !redelivery::is_sendable(found.body.is_some(), found.error.as_deref()) {
            return txn.unused(RetryOutcome::Unavailable).await;
        }
        match subscriptions::find(txn.conn(), &found.subscription).await {
            Ok(None) => return txn.unused(RetryOutcome::SubscriptionGone).await,
            Ok(Some(_)) | Err(StoreError::Broken(_)) => {}
            Err(error) => return Err(error),
        }
        redelivery::requeue(&txn, &[id]).await?;
        txn.commit().await?;
        Ok(RetryOutcome::Queued)
    }

    /// How many rows match: by the index alone where it knows the whole filter, else by looking at
    /// every row that it yields.
    pub(crate) async fn count_matches(&self, filter: &DeliveryFilter) -> Result<u64, StoreError> {
        let mut count = 0;
        if filter.is_indexed() {
            for lead in filter.leads() {
                let led = lead.apply(delivery::Entity::find());
                count += bounded(led, filter, None, &Order::Asc)
                    .count(self.db())
                    .await?;
            }
            return Ok(count);
        }
        let mut at = None;
        loop {
            let rows = self.scan(filter, at, Order::Asc, COUNT_CHUNK).await?;
            count += rows.iter().filter(|row| filter.matches(row)).count() as u64;
            at = rows.last().map(DeliveryRow::cursor);
            if (rows.len() as u64) < COUNT_CHUNK {
                return Ok(count);
            }
        }
    }

    /// The rows beyond a cursor along the indexes that fit the filter best; of the filter, only
    /// what those indexes know is applied.
    pub(crate) async fn scan(
        &self,
        filter: &DeliveryFilter,
        after: Option<Cursor>,
        order: Order,
        size: u64,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let txn = self.begin_read().await?;
        let mut merged = Merge::new(&txn, filter, after, order, size);
        let mut rows = Vec::new();
        while (rows.len() as u64) < size
            && let Some(row) = merged.next().await?
        {
            rows.push(row);
        }
        txn.rollback().await?;
        Ok(rows)
    }
}

/// Adds the time range and the cursor: a range on the index's `created_at`, then the ties.
fn bounded(
    mut select: Select<delivery::Entity>,
    filter: &DeliveryFilter,
    after: Option<Cursor>,
    order: &Order,
) -> Select<delivery::Entity> {
    if let Some(since) = filter.since {
        select = select.filter(Column::CreatedAt.gte(since.micros()));
    }
    if let Some(until) = filter.until {
        select = select.filter(Column::CreatedAt.lt(until.micros()));
    }
    let Some(Cursor { at, id }) = after else {
        return select;
    };
    let at = at.micros();
    let (edge, beyond): (Expr, Expr) = if *order == Order::Desc {
        (
            Column::CreatedAt.lte(at),
            Column::CreatedAt.lt(at).or(Column::Id.lt(id)),
        )
    } else {
        (
            Column::CreatedAt.gte(at),
            Column::CreatedAt.gt(at).or(Column::Id.gt(id)),
        )
    };
    select.filter(edge).filter(beyond)
}

impl From<attempt::Model> for AttemptRecord {
    fn from(row: attempt::Model) -> Self {
        Self {
            at: UtcTime::from_micros(row.at),
            status_code: row.status_code.and_then(|code| u16::try_from(code).ok()),
            duration: row::millis(row.duration_ms),
            error: row.error,
            answer: row.answer.into(),
        }
    }
}
