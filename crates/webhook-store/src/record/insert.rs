//! Multi-row INSERTs. What they say depends on their number of rows alone, so each shape is written
//! once and only values are gathered for a batch.

use std::{collections::HashSet, sync::OnceLock};

use bytes::Bytes;
use sea_orm::{
    ConnectionTrait, DbBackend, Statement, StatementBuilder,
    sea_query::{OnConflict, Query, Value, Values},
};

use super::row;
use crate::{
    DeliveryRecord, StoreError,
    entities::delivery::{self, Column},
    places,
    session::Txn,
};

/// Most rows of one INSERT and most values of one IN list. Of 20 values each they stay far below
/// SQLite's 32,766 bound values.
pub(crate) const MAX_ROWS: usize = 256;
/// Up to so many rows every number has a statement of its own; beyond, the powers of two have. So a
/// batch takes few statements, and they are few kinds: the cache of prepared ones holds 100.
const EXACT: usize = 16;
/// How many kinds of statements there are: 1 to 16 rows, then 32, 64, 128 and 256.
const SHAPES: usize = EXACT + 4;
/// Most bytes of bodies in one INSERT, which keeps copies small and fits MySQL's packets.
const MAX_BODY_BYTES: usize = 4 << 20;

/// The statements of one store, i.e. of one backend.
#[derive(Debug, Default)]
pub(crate) struct Inserts {
    sql: [OnceLock<String>; SHAPES],
}

impl Inserts {
    /// Inserts what is not there yet; answers how many that was.
    pub(crate) async fn run(
        &self,
        conn: &Txn,
        records: impl Iterator<Item = &DeliveryRecord>,
    ) -> Result<usize, StoreError> {
        let backend = conn.get_database_backend();
        let records: Vec<&DeliveryRecord> = records.collect();
        // MySQL's answer counts a row that was there as one that was found.
        let there = match backend {
            DbBackend::MySql => {
                let known = places::of_records(conn, records.iter().copied());
                Some(known.await?.len())
            }
            _ => None,
        };
        let mut inserted = 0;
        for chunk in chunks(&records) {
            let mut values = Vec::with_capacity(chunk.len() * row::COLUMNS.len());
            for record in chunk {
                values.extend(row::values(record)?);
            }
            let statement = Statement {
                sql: self.sql(backend, chunk.len()).to_owned(),
                values: Some(Values(values)),
                db_backend: backend,
            };
            let rows = conn.execute_raw(statement).await?.rows_affected();
            inserted += usize::try_from(rows).unwrap_or(usize::MAX);
        }
        Ok(match there {
            Some(there) => distinct(&records).saturating_sub(there),
            None => inserted,
        })
    }

    fn sql(&self, backend: DbBackend, rows: usize) -> &str {
        let doublings = (rows / EXACT).max(1).ilog2() as usize;
        let shape = rows.min(EXACT) - 1 + doublings;
        self.sql[shape].get_or_init(|| {
            let mut insert = Query::insert();
            insert.into_table(delivery::Entity).columns(row::COLUMNS);
            for _ in 0..rows {
                insert.values_panic(row::COLUMNS.map(|_| Value::BigInt(Some(0)).into()));
            }
            let mut conflict = OnConflict::columns([Column::PairId, Column::Seq]);
            insert.on_conflict(conflict.do_nothing_on([Column::Id]).to_owned());
            StatementBuilder::build(&insert, &backend).sql
        })
    }
}

/// How many rows a batch is about.
fn distinct(records: &[&DeliveryRecord]) -> usize {
    let places: HashSet<_> = records.iter().map(|r| (&r.pair_id, r.seq)).collect();
    places.len()
}

/// Cuts a batch into pieces for whose lengths there is a statement.
pub(super) fn chunks<'a, 'r>(
    records: &'a [&'r DeliveryRecord],
) -> impl Iterator<Item = &'a [&'r DeliveryRecord]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut bytes = 0;
        let fitting = rest
            .iter()
            .take(MAX_ROWS)
            .take_while(|record| {
                bytes += record.body.as_ref().map_or(0, Bytes::len);
                bytes <= MAX_BODY_BYTES
            })
            .count();
        let fitting = fitting.max(1);
        let length = if fitting <= EXACT {
            fitting
        } else {
            1 << fitting.ilog2()
        };
        let (chunk, later) = rest.split_at(length);
        rest = later;
        Some(chunk)
    })
}
