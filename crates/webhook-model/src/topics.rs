//! The topics this project itself publishes or listens to.

use crate::Topic;

/// Published after every create, change and delete of a subscription; type `changed`, payload `{}`.
pub const SUBSCRIPTIONS_CHANGED: &str = "system.webhook.subscriptions_changed";
/// The worker's heartbeat, every 30 s.
pub const HEALTH: &str = "system.webhook.health";
/// Orders to the worker; `{"action":"stop"}` drains it.
pub const CONTROL: &str = "system.webhook.control";
/// A subscription's breaker tripped.
pub const TRIPPED: &str = "system.webhook.tripped";
/// A tripped subscription recovered.
pub const RECOVERED: &str = "system.webhook.recovered";
/// Events became dead letters; at most one a minute and subscription.
pub const DEAD: &str = "system.webhook.dead";
/// The topic of a test ping.
pub const TEST_PING: &str = "test.ping";

/// Topics that only this project may publish.
pub const RESERVED_PREFIX: &str = "system.webhook.";

/// Whether DECNET's own workers obey an event on that topic, or would believe it to be one of theirs:
/// `system.*.control`, `system.*.health` but for the heartbeat of this project's worker, and
/// `decky.*.mutate_request`. They do not look at who sent it.
pub fn is_order(topic: &Topic) -> bool {
    let tokens: Vec<&str> = topic.as_str().split('.').collect();
    match tokens[..] {
        ["system", "webhook", "health"] => false,
        ["system", _, "control" | "health"] | ["decky", _, "mutate_request"] => true,
        _ => false,
    }
}

/// The first tokens of every topic that DECNET's bus carries.
pub const ROOTS: [&str; 13] = [
    "attacker",
    "attribution",
    "campaign",
    "canary",
    "credential",
    "decky",
    "email",
    "identity",
    "orchestrator",
    "smtp",
    "system",
    "topology",
    "ttp",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_told_from_events() {
        let is = |text: &str| is_order(&Topic::parse(text).unwrap());
        for order in [
            "system.mutator.control",
            "system.webhook.control",
            "system.mutator.health",
            "decky.web-1.mutate_request",
        ] {
            assert!(is(order), "{order}");
        }
        for event in [
            HEALTH,
            TRIPPED,
            "system.control",
            "system.a.b.control",
            "decky.web-1.state",
            "attacker.a.control",
        ] {
            assert!(!is(event), "{event}");
        }
    }
}
