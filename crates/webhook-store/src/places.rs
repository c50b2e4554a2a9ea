//! Look-ups of many places of the bus at once: what of them is on record already.

use std::collections::{BTreeMap, HashMap, HashSet};

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, Iden, QueryFilter,
    QuerySelect, Statement, Value,
};

use crate::{
    DeliveryRecord, Store, StoreError,
    entities::delivery::{self, Column},
    record::{self, MAX_ROWS},
};

/// Where an outcome belongs: its pair, and the event's place on the bus.
pub(crate) type Place<'a> = (&'a str, u64);

/// A row that was found, and how far it has come.
#[derive(FromQueryResult)]
pub(crate) struct Found {
    pub(crate) id: i64,
    pub(crate) seq: i64,
    pub(crate) status: i16,
    pub(crate) attempts: i32,
}

impl Store {
    /// The last event, by its place on the bus, that the subscription has a row for: what is behind
    /// it need not be looked up.
    pub async fn last_recorded(&self, subscription: &str) -> Result<Option<u64>, StoreError> {
        let last: Option<Option<i64>> = delivery::Entity::find()
            .select_only()
            .column_as(Column::Seq.max(), "seq")
            .filter(Column::Subscription.eq(subscription))
            .into_tuple()
            .one(self.db())
            .await?;
        Ok(last.flatten().and_then(|seq| u64::try_from(seq).ok()))
    }

    /// Which of these events the subscription has a row for, through whichever of its pairs and
    /// with whatever status.
    pub async fn seen(
        &self,
        subscription: &str,
        incarnation: &str,
        seqs: &[u64],
    ) -> Result<HashSet<u64>, StoreError> {
        // What does not fit the column was never stored.
        let seqs: Vec<i64> = seqs
            .iter()
            .filter_map(|&seq| i64::try_from(seq).ok())
            .collect();
        let of = [
            (Column::Subscription, subscription),
            (Column::Incarnation, incarnation),
        ];
        let found = find(self.db(), &of, &seqs).await?;
        let seqs = found.into_iter().map(|it| it.seq);
        Ok(seqs.filter_map(|seq| u64::try_from(seq).ok()).collect())
    }
}

/// The rows that these outcomes have already.
pub(crate) async fn of_records<'a>(
    conn: &impl ConnectionTrait,
    records: impl Iterator<Item = &'a DeliveryRecord>,
) -> Result<HashMap<Place<'a>, Found>, StoreError> {
    let mut by_pair: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for record in records {
        let seqs = by_pair.entry(&record.pair_id).or_default();
        seqs.push(record::seq(record)?);
    }
    let mut known = HashMap::new();
    for (pair, seqs) in by_pair {
        let found = find(conn, &[(Column::PairId, pair)], &seqs).await?;
        known.extend(
            (found.into_iter()).filter_map(|row| Some(((pair, u64::try_from(row.seq).ok()?), row))),
        );
    }
    Ok(known)
}

/// The rows at these places that have these values, which an index on the first of them and the
/// place finds.
pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    of: &[(Column, &str)],
    seqs: &[i64],
) -> Result<Vec<Found>, StoreError> {
    let mut found = Vec::new();
    for chunk in seqs.chunks(MAX_ROWS) {
        let seqs = padded(chunk);
        found.extend(match conn.get_database_backend() {
            DbBackend::Postgres => one_by_one(conn, of, &seqs).await?,
            _ => at_once(conn, of, seqs).await?,
        });
    }
    Ok(found)
}

async fn at_once(
    conn: &impl ConnectionTrait,
    of: &[(Column, &str)],
    seqs: Vec<i64>,
) -> Result<Vec<Found>, StoreError> {
    let mut select = delivery::Entity::find()
        .select_only()
        .columns([Column::Id, Column::Seq, Column::Status, Column::Attempts])
        .filter(Column::Seq.is_in(seqs));
    for (column, value) in of {
        select = select.filter(column.eq(*value));
    }
    Ok(select.into_model().all(conn).await?)
}

/// PostgreSQL, until it has statistics, answers a list of places from an index that does not have
/// them and reads all its rows. A limit keeps it from merging the look-ups into one.
async fn one_by_one(
    conn: &impl ConnectionTrait,
    of: &[(Column, &str)],
    seqs: &[i64],
) -> Result<Vec<Found>, StoreError> {
    let places: Vec<String> = (1..=seqs.len())
        .map(|n| format!("(${n}::bigint)"))
        .collect();
    let conditions: Vec<String> = (seqs.len() + 1..)
        .zip(of)
        .map(|(n, (column, _))| format!("AND {} = ${n}", column.unquoted()))
        .collect();
    let sql = format!(
        "SELECT known.id, known.seq, known.status, known.attempts FROM (VALUES {}) AS place(seq) \
         CROSS JOIN LATERAL (SELECT id, seq, status, attempts FROM webhook_deliveries \
         WHERE webhook_deliveries.seq = place.seq {} LIMIT 1) AS known",
        places.join(", "),
        conditions.join(" ")
    );
    let values = (seqs.iter().map(|&seq| Value::from(seq)))
        .chain(of.iter().map(|&(_, value)| Value::from(value)));
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    Ok(Found::find_by_statement(statement).all(conn).await?)
}

/// Repeats the last value up to a power of two, which makes few kinds of statements of many.
pub(crate) fn padded<T: Copy>(values: &[T]) -> Vec<T> {
    let mut padded = values.to_vec();
    if let Some(&last) = values.last() {
        padded.resize(values.len().next_power_of_two(), last);
    }
    padded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_padded() {
        assert_eq!(padded::<u8>(&[]), [0; 0]);
        assert_eq!(padded(&[1]), [1]);
        assert_eq!(padded(&[1, 2, 3]), [1, 2, 3, 3]);
    }
}
