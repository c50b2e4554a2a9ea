//! The topics this project itself publishes or listens to.

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
