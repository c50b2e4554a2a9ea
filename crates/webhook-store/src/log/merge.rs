use std::collections::VecDeque;

use sea_orm::{ConnectionTrait, EntityTrait, sea_query::Order};

use super::{Cursor, DeliveryFilter, DeliveryRow, bounded, filter::Lead, row};
use crate::{StoreError, entities::delivery};

/// The rows of a filter's scans as one log. What a scan has read is kept until its turn comes, so
/// that scans of rare rows are not done again for each chunk of frequent ones.
pub(super) struct Merge<'a, C> {
    /// All of one moment: a row that changes its status between two scans would be in both or in
    /// none.
    moment: &'a C,
    filter: &'a DeliveryFilter,
    order: Order,
    /// Rows that one query reads.
    chunk: u64,
    scans: Vec<Scan<'a>>,
}

struct Scan<'a> {
    lead: Lead<'a>,
    after: Option<Cursor>,
    rows: VecDeque<DeliveryRow>,
    is_over: bool,
}

impl<'a, C: ConnectionTrait> Merge<'a, C> {
    pub(super) fn new(
        moment: &'a C,
        filter: &'a DeliveryFilter,
        after: Option<Cursor>,
        order: Order,
        chunk: u64,
    ) -> Self {
        let scan = |lead| Scan {
            lead,
            after,
            rows: VecDeque::new(),
            is_over: false,
        };
        Self {
            moment,
            filter,
            order,
            chunk,
            scans: filter.leads().into_iter().map(scan).collect(),
        }
    }

    /// The next row; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<DeliveryRow>, StoreError> {
        for scan in &mut self.scans {
            if scan.rows.is_empty() && !scan.is_over {
                let select = scan.lead.apply(delivery::Entity::find());
                let select = bounded(select, self.filter, scan.after, &self.order);
                let rows = row::load(self.moment, select, self.order.clone(), self.chunk).await?;
                scan.is_over = (rows.len() as u64) < self.chunk;
                scan.after = rows.last().map(DeliveryRow::cursor).or(scan.after);
                scan.rows = rows.into();
            }
        }
        let heads = self.scans.iter_mut().filter(|scan| !scan.rows.is_empty());
        let head = |scan: &&mut Scan<'_>| scan.rows.front().map(DeliveryRow::cursor);
        let first = match self.order {
            Order::Asc => heads.min_by_key(head),
            _ => heads.max_by_key(head),
        };
        Ok(first.and_then(|scan| scan.rows.pop_front()))
    }
}
