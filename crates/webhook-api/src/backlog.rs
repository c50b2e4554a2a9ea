//! How many events wait on the bus.

use serde::Serialize;
use utoipa::ToSchema;
use webhook_bus::BusError;
use webhook_store::{Pair, SubscriptionView};

use crate::api::Api;

/// Subscriptions that are named with their backlog, the longest first; the others are counted.
const NAMED: usize = 20;

/// Events that wait on the bus, tripped subscriptions' among them.
#[derive(Serialize, ToSchema)]
pub(crate) struct Backlog {
    /// In all.
    #[schema(example = 1042)]
    events: u64,
    /// False when some subscription could not be counted: no worker has opened it yet.
    #[schema(example = true)]
    complete: bool,
    /// The longest, at most 20.
    subscriptions: Vec<SubscriptionBacklog>,
}

/// What one subscription has waiting.
#[derive(Serialize, ToSchema)]
pub(crate) struct SubscriptionBacklog {
    /// Its uuid.
    subscription: String,
    #[schema(example = "siem")]
    name: String,
    #[schema(example = 1042)]
    events: u64,
}

/// Counts what waits for each of these.
pub(crate) async fn of_all(api: &Api, views: &[SubscriptionView]) -> Result<Backlog, BusError> {
    let mut backlog = Backlog {
        events: 0,
        complete: true,
        subscriptions: Vec::new(),
    };
    for view in views {
        let mut events = 0;
        for pair in &view.pairs {
            match of_pair(api, pair).await {
                Ok(waiting) => events += waiting,
                Err(BusError::NoConsumer(_)) => backlog.complete = false,
                Err(error) => return Err(error),
            }
        }
        backlog.events += events;
        if events > 0 {
            backlog.subscriptions.push(SubscriptionBacklog {
                subscription: view.subscription.uuid.clone(),
                name: view.subscription.name.clone(),
                events,
            });
        }
    }
    let longest_first = |one: &SubscriptionBacklog| std::cmp::Reverse(one.events);
    backlog.subscriptions.sort_by_key(longest_first);
    backlog.subscriptions.truncate(NAMED);
    Ok(backlog)
}

/// The bus counts by one pattern. Patterns that share a consumer may overlap, and their cover may
/// match more than they do, so the lesser of both counts is the closer one.
pub(crate) async fn of_pair(api: &Api, pair: &Pair) -> Result<u64, BusError> {
    let bus = &api.deps.bus;
    let name = pair.consumer_name(api.deps.store.deployment_id());
    let covered = bus.pending(&name, &pair.filter.cover).await?;
    if covered == 0 || pair.filter.patterns.is_empty() {
        return Ok(covered);
    }
    let mut asked_for = 0;
    for pattern in &pair.filter.patterns {
        asked_for += bus.pending(&name, pattern).await?;
    }
    Ok(covered.min(asked_for))
}
