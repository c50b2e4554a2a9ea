use tokio_util::sync::CancellationToken;
use webhook_bus::Bus;
use webhook_store::{Pair, Store};

use crate::{crew::Crew, freshness::Freshness, send::Dispatch};

/// What pair tasks are built from.
#[derive(Clone)]
pub(crate) struct PairContext {
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) dispatch: Dispatch,
    pub(crate) freshness: Freshness,
    pub(crate) crew: Crew,
    /// This worker's name on its leases.
    pub(crate) owner: String,
    /// Prefix of this deployment's consumers on a bus that others use, too.
    pub(crate) deployment: String,
    /// The bus the sequence numbers count on.
    pub(crate) incarnation: String,
    /// Cancelled when that bus turns out to be another one now.
    pub(crate) recreated: CancellationToken,
}

impl PairContext {
    /// Compares the bus with the one that everything counts on; a bus that does not answer is as it
    /// was.
    pub(crate) async fn look_at_bus(&self) {
        if let Ok(position) = self.bus.position().await
            && position.incarnation != self.incarnation
        {
            self.recreated.cancel();
        }
    }
}

/// Removes an ended pair from the bus, then from the tables. What fails is done again by the next
/// reload, since the table still has the pair.
pub(crate) async fn forget(context: &PairContext, pair: &Pair) {
    let name = pair.consumer_name(&context.deployment);
    if let Err(error) = context.bus.end(&name).await {
        tracing::warn!(%error, pair = %pair.id, "cannot remove an ended consumer; trying again at the next reload");
        return;
    }
    crate::failpoints::crash_point!(ENDED);
    if let Err(error) = context.store.forget_pair(&pair.id).await {
        tracing::warn!(%error, pair = %pair.id, "cannot forget an ended pair; trying again at the next reload");
    }
}
