//! What a reload changes: the running pairs against the stored ones, as a pure function. A pair
//! that did not change is not touched.

use std::collections::{BTreeMap, HashSet};

use webhook_store::{Pair, Snapshot};

/// What the supervisor is to do, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Running pairs that end: they deliver up to the sequence number, then go.
    pub(crate) finish: Vec<(String, u64)>,
    /// Running pairs to stop at once; their bus consumers stay.
    pub(crate) stop: Vec<String>,
    /// Pairs that end without draining: stopped if they run, then removed from the bus.
    pub(crate) remove: Vec<Pair>,
    /// Pairs to start, ended ones that still have to drain among them.
    pub(crate) start: Vec<Pair>,
}

/// Compares. `running` holds each running pair's id and the end it already knows of; `incarnation`
/// names the bus as it is now. Rows that cannot be read keep their bus consumers but get nothing.
pub(crate) fn plan(
    running: &BTreeMap<String, Option<u64>>,
    snapshot: &Snapshot,
    incarnation: &str,
) -> Plan {
    let mut plan = Plan::default();
    let mut stored: HashSet<&str> = HashSet::new();
    let readable: HashSet<&str> = snapshot
        .subscriptions
        .iter()
        .map(|view| view.subscription.uuid.as_str())
        .collect();

    for pair in &snapshot.ended {
        stored.insert(&pair.id);
        // A pair that drains needs its subscription's row to know where to send, and the bus that
        // its end counts on.
        let drains =
            pair.drain && pair.incarnation == incarnation && readable.contains(&*pair.subscription);
        let end = pair.end_seq.filter(|_| drains);
        match (end, running.get(&pair.id)) {
            (None, _) => plan.remove.push(pair.clone()),
            (Some(_), None) => plan.start.push(pair.clone()),
            (Some(end), Some(None)) => plan.finish.push((pair.id.clone(), end)),
            (Some(_), Some(Some(_))) => {}
        }
    }
    for pair in snapshot.subscriptions.iter().flat_map(|view| &view.pairs) {
        stored.insert(&pair.id);
        if !running.contains_key(&pair.id) {
            plan.start.push(pair.clone());
        }
    }
    plan.stop = running
        .keys()
        .filter(|id| !stored.contains(id.as_str()))
        .cloned()
        .collect();
    plan
}

#[cfg(test)]
mod tests;
