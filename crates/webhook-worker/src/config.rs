use std::time::Duration;

/// How a worker runs. Every field has a default that needs no thought.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Most messages of one subscription in hand. Default 64.
    pub max_in_flight: usize,
    /// Open requests of the whole process beyond each subscription's own. Default 256: what keeps
    /// open files well under the usual limit of 1,024.
    pub pool_slots: usize,
    /// Longest time between two looks at the tables; changes are normally signalled. Default 60 s.
    pub reload_interval: Duration,
    /// Time between two heartbeats. Default 30 s, as DECNET expects.
    pub health_interval: Duration,
    /// How long what is in flight may take after the order to stop. Default 10 s, one attempt.
    pub drain_deadline: Duration,
    /// Start although another worker's heartbeat is heard. Default false.
    pub takeover: bool,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            max_in_flight: 64,
            pool_slots: 256,
            reload_interval: Duration::from_secs(60),
            health_interval: Duration::from_secs(30),
            drain_deadline: Duration::from_secs(10),
            takeover: false,
        }
    }
}
