//! Decides which pairs end and begin. Pure.

use webhook_model::{Filter, State, Subscription, disjoint, joint};

use crate::{Pair, Position};

/// The first sequence number of every stream and journal.
const FIRST_SEQ: u64 = 1;

/// What a subscription wants of its pairs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    /// The filters of its live pairs.
    pub(crate) filters: Vec<Filter>,
    /// Whether pairs that end still deliver what came before. A subscription that is paused or
    /// gone (the default) wants none of it.
    pub(crate) drain: bool,
}

impl Wish {
    pub(crate) fn of(subscription: &Subscription) -> Self {
        match subscription.state {
            // A tripped one keeps its pairs: its backlog waits on the bus.
            State::Active | State::Tripped { .. } => Self {
                // The order of two consumers is nobody's, so an ordered one has one consumer.
                filters: if subscription.settings.ordered() {
                    joint(&subscription.topic_patterns).into_iter().collect()
                } else {
                    disjoint(&subscription.topic_patterns)
                },
                drain: true,
            },
            State::Paused => Self::default(),
        }
    }

    /// Whether these pairs of one subscription are what it wants.
    pub(crate) fn fits(&self, existing: &[Pair]) -> bool {
        let diff = Diff::new(existing.to_vec(), self);
        diff.end.is_empty() && diff.undrain.is_empty() && diff.start.is_empty()
    }
}

/// What to write.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Pairs to be updated, as they will be.
    pub(crate) ended: Vec<Pair>,
    /// Pairs to be inserted.
    pub(crate) started: Vec<Pair>,
}

impl Plan {
    pub(crate) fn is_empty(&self) -> bool {
        self.ended.is_empty() && self.started.is_empty()
    }
}

struct Diff {
    keep: Vec<Pair>,
    end: Vec<Pair>,
    undrain: Vec<Pair>,
    start: Vec<Filter>,
}

impl Diff {
    fn new(existing: Vec<Pair>, wish: &Wish) -> Self {
        let mut diff = Self {
            keep: Vec::new(),
            end: Vec::new(),
            undrain: Vec::new(),
            start: wish.filters.clone(),
        };
        for pair in existing {
            if pair.end_seq.is_some() {
                if pair.drain && !wish.drain {
                    diff.undrain.push(pair);
                }
            } else if let Some(index) = diff.start.iter().position(|f| *f == pair.filter) {
                diff.start.remove(index);
                diff.keep.push(pair);
            } else {
                diff.end.push(pair);
            }
        }
        diff
    }
}

/// How the pairs of one subscription come to be what it wants, at this place on the bus.
///
/// A live pair of another incarnation is replaced by one that begins where this one does.
pub(crate) fn plan(
    existing: Vec<Pair>,
    subscription: &str,
    wish: &Wish,
    position: &Position,
) -> Plan {
    let diff = Diff::new(existing, wish);
    let last = position.next_seq.saturating_sub(1);
    let mut plan = Plan::default();
    for pair in diff.keep {
        if pair.incarnation != position.incarnation {
            replace(&mut plan, pair, &position.incarnation);
        }
    }
    for pair in diff.end {
        if pair.incarnation == position.incarnation {
            plan.ended.push(Pair {
                end_seq: Some(last),
                drain: wish.drain,
                ..pair
            });
        } else if wish.drain && last >= FIRST_SEQ {
            let new = replace(&mut plan, pair, &position.incarnation);
            (new.end_seq, new.drain) = (Some(last), true);
        } else {
            plan.ended.push(retired(pair));
        }
    }
    plan.ended.extend(diff.undrain.into_iter().map(|pair| Pair {
        drain: false,
        ..pair
    }));
    plan.started.extend(diff.start.into_iter().map(|filter| {
        live(
            subscription,
            filter,
            &position.incarnation,
            position.next_seq,
        )
    }));
    plan
}

/// Replaces live pairs of other incarnations.
pub(crate) fn rebase(stale: Vec<Pair>, incarnation: &str) -> Plan {
    let mut plan = Plan::default();
    for pair in stale {
        replace(&mut plan, pair, incarnation);
    }
    plan
}

fn replace<'a>(plan: &'a mut Plan, pair: Pair, incarnation: &str) -> &'a mut Pair {
    let new = live(
        &pair.subscription,
        pair.filter.clone(),
        incarnation,
        FIRST_SEQ,
    );
    plan.ended.push(retired(pair));
    plan.started.push(new);
    plan.started.last_mut().expect("one was just pushed")
}

/// Ended where it began: what it counted on is gone.
fn retired(pair: Pair) -> Pair {
    Pair {
        end_seq: Some(pair.start_seq.saturating_sub(1)),
        drain: false,
        ..pair
    }
}

fn live(subscription: &str, filter: Filter, incarnation: &str, start_seq: u64) -> Pair {
    Pair {
        id: uuid::Uuid::new_v4().to_string(),
        subscription: subscription.to_owned(),
        filter,
        incarnation: incarnation.to_owned(),
        start_seq,
        end_seq: None,
        drain: false,
    }
}

#[cfg(test)]
mod tests;
