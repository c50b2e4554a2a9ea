use std::collections::{BTreeSet, HashMap};

use sea_orm::EntityTrait;
use webhook_model::{Subscription, UtcTime};

use crate::{
    BadRow, BreakerState, Pair, Snapshot, Store, StoreError, SubscriptionView,
    entities::{pair, state},
    fingerprint,
    pairs::{self, plan::Wish},
    standing, store, subscriptions,
};

impl Store {
    /// Everything a worker runs by, read at one moment. Rows that cannot be read are skipped with
    /// a warning.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        crate::failpoints::crash_point!(READING, Err(crate::failpoints::away()));
        let txn = self.begin_read().await?;
        let version = store::config_version(&txn).await?;
        let (subscriptions, broken) = subscriptions::all(&txn).await?;
        let states = state::Entity::find().all(&txn).await?;
        let pairs = pair::Entity::find().all(&txn).await?;
        txn.rollback().await?;
        let skipped = subscriptions::bad_rows(&broken);
        let snapshot = assemble(version, subscriptions, skipped, states, pairs);
        self.warn_of(&snapshot.skipped);
        Ok(snapshot)
    }
}

fn assemble(
    version: i64,
    subscriptions: Vec<Subscription>,
    mut skipped: Vec<BadRow>,
    states: Vec<state::Model>,
    pairs: Vec<pair::Model>,
) -> Snapshot {
    let states: HashMap<String, state::Model> =
        states.into_iter().map(|s| (s.uuid.clone(), s)).collect();
    let now = UtcTime::now();
    let mut by_subscription: HashMap<String, Vec<Pair>> = HashMap::new();
    for row in pairs {
        let uuid = row.uuid.clone();
        match pairs::decode(row) {
            Ok(pair) => by_subscription.entry(uuid).or_default().push(pair),
            Err(error) => skipped.push(BadRow {
                uuid,
                reason: error.to_string(),
            }),
        }
    }
    for bad in &skipped {
        by_subscription.remove(&bad.uuid);
    }
    let unreadable: BTreeSet<&str> = skipped.iter().map(|bad| bad.uuid.as_str()).collect();

    let mut views = Vec::with_capacity(subscriptions.len());
    let mut ended = Vec::new();
    let (mut out_of_step, mut unmarked) = (Vec::new(), Vec::new());
    for subscription in subscriptions {
        if unreadable.contains(subscription.uuid.as_str()) {
            continue;
        }
        let mut pairs = by_subscription
            .remove(&subscription.uuid)
            .unwrap_or_default();
        pairs.sort_by(|a, b| a.filter.cmp(&b.filter));
        let state = states.get(&subscription.uuid);
        let fingerprint = fingerprint::of(&subscription);
        let known = state.and_then(|state| state.fingerprint.as_ref());
        let foreign = known.is_some_and(|known| *known != fingerprint);
        if foreign || !Wish::of(&subscription).fits(&pairs) {
            out_of_step.push(subscription.uuid.clone());
        } else if state.is_some() && known.is_none() {
            unmarked.push((subscription.uuid.clone(), fingerprint));
        }
        let (live, over) = pairs.into_iter().partition(|pair| pair.end_seq.is_none());
        ended.extend::<Vec<Pair>>(over);
        views.push(SubscriptionView {
            epoch: state.map_or(0, |state| state.epoch),
            breaker: BreakerState::of(subscription.state, state, now),
            pause_until: standing::pause_until(state),
            ahead_seq: state
                .and_then(|state| state.ahead_seq)
                .and_then(|seq| u64::try_from(seq).ok()),
            subscription,
            pairs: live,
        });
    }
    // What is left belongs to rows that are gone.
    for (uuid, pairs) in by_subscription {
        if !Wish::default().fits(&pairs) {
            out_of_step.push(uuid);
        }
        ended.extend(pairs.into_iter().filter(|pair| pair.end_seq.is_some()));
    }
    out_of_step.sort();
    ended.sort_by(|a, b| a.id.cmp(&b.id));
    Snapshot {
        version,
        subscriptions: views,
        ended,
        skipped,
        out_of_step,
        unmarked,
    }
}
