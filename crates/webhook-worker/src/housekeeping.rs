//! Keeps the tables within bounds: the log forgets by age, and what the bus's retention took
//! before a pair had delivered it is written down and said.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::{
    sync::{Mutex, mpsc},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use webhook_bus::Gap;
use webhook_model::{UtcTime, topics};
use webhook_store::{DeadBytes, Dropped, Pair, Store, StoreError};

use crate::{Counters, announcer::Announcements, crew::Crew};

/// Time between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Rows of one batch: the writers in between wait for milliseconds only.
const SWEEP_BATCH: u64 = 500;

/// From this part of the bytes of dead letters on, in percent, it is told that bodies will go.
const NEARLY_FULL: u64 = 80;

/// How long the log remembers, by status, and how much of dead letters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ages {
    pub(crate) delivered: Duration,
    pub(crate) dead: Duration,
    pub(crate) dead_bytes: DeadBytes,
}

/// Sweeps at every interval until `stop`, where no other worker does.
pub(crate) async fn sweep(
    store: Store,
    crew: Crew,
    ages: Ages,
    counters: Arc<Counters>,
    stop: CancellationToken,
) {
    let mut warned = false;
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if !crew.share().is_first() {
            continue;
        }
        if let Err(error) = sweep_all(&store, ages, &stop).await {
            tracing::warn!(%error, "cannot sweep the delivery log; trying again in a minute");
        }
        match trim(&store, ages.dead_bytes, &counters, &stop).await {
            Ok(nearly_full) => {
                if nearly_full && !warned {
                    tracing::warn!(
                        each = ages.dead_bytes.each,
                        all = ages.dead_bytes.all,
                        "the bodies of dead letters nearly fill what is kept of them, and the oldest go next; replay or purge them with `decnet dead-letters`"
                    );
                }
                warned = nearly_full;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot measure the dead letters; trying again in a minute");
            }
        }
    }
}

/// Lets go of the bodies beyond the bounds. Whether the bounds are nearly reached.
async fn trim(
    store: &Store,
    bound: DeadBytes,
    counters: &Counters,
    stop: &CancellationToken,
) -> Result<bool, StoreError> {
    let found = store.dead_bodies().await?;
    for excess in bound.excess(&found) {
        let mut left = excess.bytes;
        let mut dropped = Dropped::default();
        while left > 0 && !stop.is_cancelled() {
            let batch = store.drop_dead_bodies(&excess.subscription, left).await?;
            if batch.bodies == 0 {
                break;
            }
            dropped.bodies += batch.bodies;
            dropped.bytes += batch.bytes;
            left = left.saturating_sub(batch.bytes);
        }
        counters.bodies_dropped(dropped.bodies);
        tracing::warn!(
            subscription = excess.subscription,
            bodies = dropped.bodies,
            bytes = dropped.bytes,
            "the bodies of the oldest dead letters are let go of: they took more than is kept"
        );
    }
    let nearly = |bytes: u64, bound: u64| bytes > bound / 100 * NEARLY_FULL;
    let all = found.iter().map(|it| it.bytes).sum();
    Ok(nearly(all, bound.all) || found.iter().any(|it| nearly(it.bytes, bound.each)))
}

async fn sweep_all(store: &Store, ages: Ages, stop: &CancellationToken) -> Result<(), StoreError> {
    let now = UtcTime::now();
    while !stop.is_cancelled() {
        let swept = store
            .sweep(now, ages.delivered, ages.dead, SWEEP_BATCH)
            .await?;
        if swept < SWEEP_BATCH {
            break;
        }
    }
    Ok(())
}

/// Writes gaps down and announces them until `stop`.
pub(crate) async fn gaps(
    store: Store,
    announcements: Announcements,
    incarnation: String,
    reports: Arc<Mutex<mpsc::Receiver<Gap>>>,
    counters: Arc<Counters>,
    stop: CancellationToken,
) {
    let mut reports = reports.lock().await;
    loop {
        let gap = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            gap = reports.recv() => match gap {
                Some(gap) => gap,
                // The bus was closed, and reports no more.
                None => return stop.cancelled().await,
            },
        };
        if let Err(error) = gap_found(&store, &announcements, &incarnation, &counters, &gap).await {
            tracing::error!(%error, consumer = %gap.consumer, from = gap.from, to = gap.to, count = gap.count, "cannot write down what retention took");
        }
    }
}

async fn gap_found(
    store: &Store,
    announcements: &Announcements,
    incarnation: &str,
    counters: &Counters,
    gap: &Gap,
) -> Result<(), StoreError> {
    let snapshot = store.snapshot().await?;
    let mut pairs = snapshot
        .subscriptions
        .iter()
        .flat_map(|view| &view.pairs)
        .chain(&snapshot.ended);
    let named = |pair: &&Pair| pair.consumer_name(store.deployment_id()) == gap.consumer;
    let Some(pair) = pairs.find(named) else {
        return Ok(());
    };
    let row = webhook_store::Gap {
        pair_id: pair.id.clone(),
        subscription: pair.subscription.clone(),
        incarnation: incarnation.to_owned(),
        from_seq: gap.from,
        to_seq: gap.to,
        count: gap.count,
        at: UtcTime::now(),
    };
    if !store.record_gap(&row).await? {
        return Ok(());
    }
    counters.expired(gap.count);
    let name = snapshot
        .subscriptions
        .iter()
        .find(|view| view.subscription.uuid == pair.subscription)
        .map(|view| view.subscription.name.as_str());
    let payload = json!({
        "subscription": pair.subscription,
        "name": name,
        "reason": "expired",
        "count": gap.count,
    });
    announcements.say(topics::DEAD, "dead", &payload);
    Ok(())
}
