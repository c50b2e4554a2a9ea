//! How subscriptions stand, for people: the row, and what their worker holds back and until when.

use std::collections::HashMap;

use sea_orm::EntityTrait;
use webhook_model::{State, Subscription, UtcTime};

use crate::{
    BreakerState, BrokenSubscription, Standing, Store, StoreError, entities::state, subscriptions,
};

/// All subscriptions as people want to see them.
#[derive(Debug, Clone)]
pub struct Standings {
    /// Every row that can be read, by `created_at`.
    pub standings: Vec<Standing>,
    /// The others.
    pub broken: Vec<BrokenSubscription>,
}

impl Store {
    /// All subscriptions, read at one moment. Of rows that cannot be read the log warns, too.
    pub async fn standings(&self) -> Result<Standings, StoreError> {
        let txn = self.begin_read().await?;
        let (subscriptions, broken) = subscriptions::all(&txn).await?;
        let states = state::Entity::find().all(&txn).await?;
        txn.rollback().await?;
        self.warn_of(&subscriptions::bad_rows(&broken));
        let states: HashMap<&str, &state::Model> = states
            .iter()
            .map(|state| (state.uuid.as_str(), state))
            .collect();
        let now = UtcTime::now();
        let standings = subscriptions
            .into_iter()
            .map(|subscription| {
                let state = states.get(subscription.uuid.as_str()).copied();
                Standing::of(subscription, state, now)
            })
            .collect();
        Ok(Standings { standings, broken })
    }

    /// How a subscription stands that was read before.
    pub async fn standing(&self, subscription: Subscription) -> Result<Standing, StoreError> {
        let state = state::Entity::find_by_id(&subscription.uuid)
            .one(self.db())
            .await?;
        Ok(Standing::of(subscription, state.as_ref(), UtcTime::now()))
    }
}

impl Standing {
    /// One that nothing holds back, as a new one.
    pub fn free(subscription: Subscription) -> Self {
        Self {
            subscription,
            paused_until: None,
            next_probe_at: None,
        }
    }

    fn of(subscription: Subscription, stored: Option<&state::Model>, now: UtcTime) -> Self {
        let pause_until = pause_until(stored);
        Self {
            // Nothing goes out of a paused one anyway.
            paused_until: pause_until
                .filter(|until| *until > now && subscription.state != State::Paused),
            next_probe_at: BreakerState::of(subscription.state, stored, now).probe_at,
            subscription,
        }
    }
}

/// Until when the receiver asked to be left alone, which may be over.
pub(crate) fn pause_until(stored: Option<&state::Model>) -> Option<UtcTime> {
    stored?.pause_until.map(UtcTime::from_micros)
}
