use sea_orm::ActiveValue::Set;
use webhook_model::{Filter, TopicPattern, UtcTime};

use crate::{
    Pair, StoreError,
    entities::pair::{ActiveModel, Model},
    subscriptions::{patterns, patterns_text},
};

/// A stored pair.
pub(crate) fn decode(row: Model) -> Result<Pair, StoreError> {
    let bad = |reason: String| StoreError::BadRow {
        table: "webhook_pairs",
        uuid: row.pair_id.clone(),
        reason,
    };
    let filter = Filter {
        cover: TopicPattern::parse(&row.filter).map_err(|error| bad(error.to_string()))?,
        patterns: patterns("patterns", &row.patterns).map_err(bad)?,
    };
    let place = |seq: i64| u64::try_from(seq).map_err(|error| bad(format!("place {seq}: {error}")));
    Ok(Pair {
        filter,
        start_seq: place(row.start_seq)?,
        end_seq: row.end_seq.map(place).transpose()?,
        id: row.pair_id,
        subscription: row.uuid,
        incarnation: row.incarnation,
        drain: row.drain,
    })
}

pub(super) fn started(pair: &Pair) -> Result<ActiveModel, StoreError> {
    Ok(ActiveModel {
        pair_id: Set(pair.id.clone()),
        uuid: Set(pair.subscription.clone()),
        filter: Set(pair.filter.cover.as_str().to_owned()),
        patterns: Set(patterns_text(&pair.filter.patterns)),
        incarnation: Set(pair.incarnation.clone()),
        start_seq: Set(signed(pair, pair.start_seq)?),
        end_seq: Set(pair.end_seq.map(|seq| signed(pair, seq)).transpose()?),
        drain: Set(pair.drain),
        created_at: Set(UtcTime::now().micros()),
    })
}

pub(super) fn ended(pair: &Pair) -> Result<ActiveModel, StoreError> {
    Ok(ActiveModel {
        end_seq: Set(pair.end_seq.map(|seq| signed(pair, seq)).transpose()?),
        drain: Set(pair.drain),
        ..ActiveModel::default()
    })
}

fn signed(pair: &Pair, seq: u64) -> Result<i64, StoreError> {
    i64::try_from(seq).map_err(|error| StoreError::Unstorable {
        pair_id: pair.id.clone(),
        seq,
        reason: error.to_string(),
    })
}
