//! How many events a pause drops, so that the operator learns it from the answer.

use std::time::Duration;

use tokio::time::timeout;
use webhook_bus::BusError;
use webhook_store::Pair;

use crate::{api::Api, backlog};

/// How long an answer waits for the count: the pause is in force already, and a backlog of
/// millions takes a while to read.
const COUNT_TIMEOUT: Duration = Duration::from_secs(5);

/// The undelivered events of the pairs that ended without draining; none when the bus cannot say.
pub(super) async fn count(api: &Api, ended: &[Pair]) -> Option<u64> {
    let failure = match timeout(COUNT_TIMEOUT, sum(api, ended)).await {
        Ok(Ok(total)) => return Some(total),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {COUNT_TIMEOUT:?}"),
    };
    tracing::warn!(failure, "dropped events not counted");
    None
}

async fn sum(api: &Api, ended: &[Pair]) -> Result<u64, BusError> {
    let (bus, deployment_id) = (&api.deps.bus, api.deps.store.deployment_id());
    let mut total = 0;
    for pair in ended.iter().filter(|pair| !pair.drain) {
        total += backlog::of_pair(bus, deployment_id, pair).await?;
    }
    Ok(total)
}
