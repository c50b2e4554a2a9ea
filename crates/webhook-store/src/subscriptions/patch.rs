use webhook_model::{State, Subscription};

use crate::SubscriptionPatch;

/// The subscription after the patch; `updated_at` is the caller's.
pub(super) fn apply(old: &Subscription, patch: SubscriptionPatch) -> Subscription {
    let mut new = old.clone();
    if let Some(name) = patch.name {
        new.name = name.as_str().to_owned();
    }
    if let Some(url) = patch.url {
        new.url = url;
    }
    if let Some(secret) = patch.secret {
        new.secret = secret;
    }
    if let Some(patterns) = patch.topic_patterns {
        new.topic_patterns = patterns;
        new.skipped_patterns = Vec::new();
    }
    if let Some(change) = patch.settings {
        new.settings = change.to;
    }
    match (patch.enabled, old.state) {
        (Some(true), State::Paused | State::Tripped { .. }) => {
            new.state = State::Active;
            new.consecutive_failures = 0;
            new.last_error = None;
        }
        (Some(false), State::Active | State::Tripped { .. }) => new.state = State::Paused,
        (Some(true), State::Active) | (Some(false), State::Paused) | (None, _) => {}
    }
    new
}
