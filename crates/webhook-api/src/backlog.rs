//! How many events wait on the bus: the one rule, for `GET /status` and for whoever exports metrics.

use serde::Serialize;
use utoipa::ToSchema;
use webhook_bus::{Bus, BusError};
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

/// What waits on the bus for one subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Events that it asked for and that are not let go of; what is in hand is among them.
    pub events: u64,
    /// False when a part could not be counted, because no worker has opened it yet.
    pub complete: bool,
}

/// Counts what waits for one subscription of this deployment.
pub async fn waiting(
    bus: &Bus,
    deployment_id: &str,
    view: &SubscriptionView,
) -> Result<Waiting, BusError> {
    let mut waiting = Waiting {
        events: 0,
        complete: true,
    };
    for pair in &view.pairs {
        match of_pair(bus, deployment_id, pair).await {
            Ok(events) => waiting.events += events,
            Err(BusError::NoConsumer(_)) => waiting.complete = false,
            Err(error) => return Err(error),
        }
    }
    Ok(waiting)
}

/// Counts what waits for each of these.
pub(crate) async fn of_all(api: &Api, views: &[SubscriptionView]) -> Result<Backlog, BusError> {
    let mut backlog = Backlog {
        events: 0,
        complete: true,
        subscriptions: Vec::new(),
    };
    for view in views {
        let Waiting { events, complete } =
            waiting(&api.deps.bus, api.deps.store.deployment_id(), view).await?;
        backlog.events += events;
        backlog.complete &= complete;
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

/// Counts what waits for one pair.
pub(crate) async fn of_pair(bus: &Bus, deployment_id: &str, pair: &Pair) -> Result<u64, BusError> {
    bus.pending(&pair.consumer_name(deployment_id), &pair.filter)
        .await
}
