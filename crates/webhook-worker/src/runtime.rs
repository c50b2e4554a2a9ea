//! What every task of one subscription shares while the worker runs.

use std::sync::{Arc, PoisonError, RwLock};

use webhook_delivery::Endpoint;
use webhook_store::SubscriptionView;

use crate::{slots::Slots, window::Window};

/// The settings an attempt is made with.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) endpoint: Arc<Endpoint>,
    /// Counts the subscription's changes; outcomes carry it.
    pub(crate) epoch: i64,
}

impl Current {
    fn new(view: &SubscriptionView) -> Self {
        let subscription = &view.subscription;
        Self {
            endpoint: Arc::new(Endpoint::new(
                subscription.url.clone(),
                subscription.secret.clone(),
            )),
            epoch: view.epoch,
        }
    }
}

/// One subscription at run time.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) uuid: String,
    pub(crate) window: Window,
    pub(crate) slots: Slots,
    current: RwLock<Current>,
}

impl Runtime {
    pub(crate) fn new(view: &SubscriptionView, window: Window, slots: Slots) -> Self {
        Self {
            uuid: view.subscription.uuid.clone(),
            window,
            slots,
            current: RwLock::new(Current::new(view)),
        }
    }

    /// The settings as last reloaded.
    pub(crate) fn current(&self) -> Current {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes over a changed row. Attempts in flight keep what they began with.
    pub(crate) fn update(&self, view: &SubscriptionView) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Current::new(view);
    }
}
