//! The names of all metrics. What documents a constant is the metric's HELP text.

/// A family of series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
    /// The labels that each of its series has.
    pub(crate) labels: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $constant:ident = $kind:ident $name:literal $([$($label:literal),+])?;)+) => {
        $(
            $(#[doc = $help])+
            pub(crate) const $constant: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                help: concat!($($help),+).trim_ascii(),
                labels: &[$($($label),+)?],
            };
        )+

        /// All of them.
        #[cfg(test)]
        pub(crate) const ALL: &[Metric] = &[$($constant),+];
    };
}

metrics! {
    /// Outcomes that were recorded: delivered, retrying, dead. An event that waits and then
    /// arrives counts as both.
    DELIVERIES = Counter "decnet_webhook_deliveries_total" ["result"];
    /// Requests to receivers, by what came of them: the class of the status, or the kind of
    /// failure.
    ATTEMPTS = Counter "decnet_webhook_attempts_total" ["result"];
    /// How long requests to receivers took, the answer's body included.
    ATTEMPT_DURATION = Histogram "decnet_webhook_attempt_duration_seconds";
    /// Time from the bus's taking an event to its delivery; of one sent again, from its first
    /// recorded outcome.
    DELIVERY_LATENCY = Histogram "decnet_webhook_delivery_latency_seconds";
    /// Requests that the egress guard did not let out, test pings included.
    EGRESS_REFUSALS = Counter "decnet_webhook_egress_refusals_total";
    /// Requests to receivers that are open.
    REQUESTS_OPEN = Gauge "decnet_webhook_requests_open";
    /// Messages taken from the bus, or due rows claimed, whose outcome is not committed yet.
    MESSAGES_IN_HAND = Gauge "decnet_webhook_messages_in_hand";
    /// Messages that the bus handed out again and that were not sent again.
    SEEN_BEFORE = Counter "decnet_webhook_seen_before_total";
    /// Events that the bus's retention took before they were delivered.
    EXPIRED_EVENTS = Counter "decnet_webhook_expired_events_total";
    /// Bodies of dead letters that were let go of because they took more bytes than is kept.
    DROPPED_BODIES = Counter "decnet_webhook_dead_bodies_dropped_total";
    /// Subscriptions that the circuit breaker switched off.
    BREAKER_TRIPS = Counter "decnet_webhook_breaker_trips_total";
    /// Subscriptions that the circuit breaker switched on again.
    BREAKER_RECOVERIES = Counter "decnet_webhook_breaker_recoveries_total";
    /// Attempts that failed on this side, for want of descriptors, ports, memory or a resolver; no
    /// receiver is blamed for them.
    LOCAL_FAULTS = Counter "decnet_webhook_local_faults_total";
    /// Subscriptions whose receiver asked to be left alone for a while.
    RECEIVERS_PAUSED = Gauge "decnet_webhook_receivers_paused";
    /// How long transactions that record outcomes took, waiting for the database included.
    COMMIT_DURATION = Histogram "decnet_webhook_commit_duration_seconds";
    /// Outcomes in one transaction that records them.
    COMMIT_ROWS = Histogram "decnet_webhook_commit_rows";
    /// Whether this process's worker delivers.
    WORKER_RUNNING = Gauge "decnet_webhook_worker_running";
    /// Heartbeats of other webhook workers, e.g. DECNET's, that were heard on the bus while this one
    /// delivers: what both deliver arrives twice.
    FOREIGN_HEARTBEATS = Counter "decnet_webhook_foreign_heartbeats_total";
    /// Subscriptions by state: active, paused, tripped.
    SUBSCRIPTIONS = Gauge "decnet_webhook_subscriptions" ["state"];
    /// Deliveries that are to be tried again.
    REDELIVERIES_WAITING = Gauge "decnet_webhook_redeliveries_waiting";
    /// Time since the first outcome of the oldest delivery that is to be tried again; 0 when there
    /// is none.
    REDELIVERY_OLDEST = Gauge "decnet_webhook_redelivery_oldest_seconds";
    /// Dead letters that nobody has acknowledged.
    DEAD_LETTERS = Gauge "decnet_webhook_dead_letters";
    /// Dead letters that somebody has acknowledged, and that are still kept.
    DEAD_LETTERS_ACKNOWLEDGED = Gauge "decnet_webhook_dead_letters_acknowledged";
    /// Whether the database answers.
    DATABASE_UP = Gauge "decnet_webhook_database_up";
    /// Whether the bus answers.
    BUS_UP = Gauge "decnet_webhook_bus_up";
    /// Whether the bus refuses to take events, e.g. because the disk is nearly full.
    BUS_REFUSING = Gauge "decnet_webhook_bus_refusing";
    /// Sequence number of the newest event on the bus.
    BUS_HEAD = Gauge "decnet_webhook_bus_head";
    /// What the bus occupies on its disk.
    BUS_SIZE = Gauge "decnet_webhook_bus_size_bytes";
    /// What is free on the disk of the embedded bus.
    BUS_FREE_DISK = Gauge "decnet_webhook_bus_free_disk_bytes";
    /// Sequence numbers between the newest event and what the slowest subscription has let go of.
    BUS_LAG = Gauge "decnet_webhook_bus_lag";
    /// Events on the bus that subscriptions have not let go of, counted once a subscription.
    BACKLOG = Gauge "decnet_webhook_backlog";
    /// Whether DECNET's broker, where one is drained, is connected.
    FEED_CONNECTED = Gauge "decnet_webhook_feed_connected";
    /// Events that came off DECNET's broker.
    FEED_RECEIVED = Counter "decnet_webhook_feed_received_total";
    /// Those of them that are lost, because the journal did not take them.
    FEED_DROPPED = Counter "decnet_webhook_feed_dropped_total";
    /// Events published here that DECNET's broker was given.
    FEED_FORWARDED = Counter "decnet_webhook_feed_forwarded_total";
    /// Events published here that it was not given: too many at once, or too large.
    FEED_SKIPPED = Counter "decnet_webhook_feed_skipped_total";
    /// How often DECNET's broker was lost, or not there to begin with.
    FEED_OUTAGES = Counter "decnet_webhook_feed_outages_total";
    /// Outcomes by subscription, below 200 subscriptions.
    SUBSCRIPTION_DELIVERIES = Counter "decnet_webhook_subscription_deliveries_total" ["subscription", "result"];
    /// Messages in hand by subscription, below 200 subscriptions.
    SUBSCRIPTION_IN_HAND = Gauge "decnet_webhook_subscription_in_hand" ["subscription"];
    /// Backlog by subscription, below 200 subscriptions.
    SUBSCRIPTION_BACKLOG = Gauge "decnet_webhook_subscription_backlog" ["subscription"];
    /// 1 for the state that a subscription is in, below 200 subscriptions.
    SUBSCRIPTION_STATE = Gauge "decnet_webhook_subscription_state" ["subscription", "state"];
    /// Seconds until the pause is over that the receiver asked for, 0 without one; below 200
    /// subscriptions.
    SUBSCRIPTION_PAUSED = Gauge "decnet_webhook_subscription_paused_seconds" ["subscription"];
    /// Seconds until a tripped subscription is probed, 0 when that is due, left to an operator or not
    /// needed; below 200 subscriptions.
    SUBSCRIPTION_NEXT_PROBE = Gauge "decnet_webhook_subscription_next_probe_seconds" ["subscription"];
    /// Events published through the API: taken, or refused because the bus would not take them.
    PUBLISHED_EVENTS = Counter "decnet_webhook_published_events_total" ["result"];
    /// Answers of the API by route, method and status.
    API_REQUESTS = Counter "decnet_webhook_api_requests_total" ["route", "method", "status"];
    /// Connections to the API that are open.
    API_CONNECTIONS = Gauge "decnet_webhook_api_connections";
    /// Connections to the API that were ended or refused: gave_way to others near the limit, refused
    /// because all were in use, timed_out because the client took too long to send or to read.
    API_CONNECTIONS_ENDED = Counter "decnet_webhook_api_connections_ended_total" ["reason"];
    /// Connections to the bus socket that were ended or refused: gave_way to others near the limit,
    /// refused because all were in use.
    SOCKET_CONNECTIONS_ENDED = Counter "decnet_webhook_socket_connections_ended_total" ["reason"];
    /// Always 1; the label says which version runs.
    BUILD_INFO = Gauge "decnet_webhook_build_info" ["version"];
    /// Start of the process in seconds since 1970.
    PROCESS_START = Gauge "process_start_time_seconds";
}

#[cfg(test)]
mod tests;
