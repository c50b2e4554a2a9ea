//! How many events a pause drops, so that the operator learns it from the answer.

use webhook_bus::BusError;
use webhook_store::Pair;

use crate::api::Api;

/// The undelivered events of the pairs that ended without draining; none when the bus cannot say.
pub(super) async fn count(api: &Api, ended: &[Pair]) -> Option<u64> {
    let mut total = 0;
    for pair in ended.iter().filter(|pair| !pair.drain) {
        match pending(api, pair).await {
            Ok(pending) => total += pending,
            Err(error) => {
                tracing::warn!(pair = pair.id, %error, "dropped events not counted");
                return None;
            }
        }
    }
    Some(total)
}

/// The bus counts by one pattern. Patterns that share a consumer may overlap, and their cover may
/// match more than they do, so the lesser of both counts is the closer one.
async fn pending(api: &Api, pair: &Pair) -> Result<u64, BusError> {
    let bus = &api.deps.bus;
    let name = format!("{}-{}", api.deps.store.deployment_id(), pair.id);
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
