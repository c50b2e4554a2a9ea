use std::time::Duration;

use webhook_store::DeadBytes;

/// How a worker runs. Every field has a default that needs no thought.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// What people call this worker among several: its host and process, say. Default `worker`.
    pub name: String,
    /// Failed deliveries in a row that trip a subscription, `DECNET_WEBHOOK_CIRCUIT_THRESHOLD`.
    /// Default 5.
    pub circuit_threshold: u32,
    /// First cool-down of a tripped subscription whose endpoint is silent before it is probed; each
    /// turn without a 2xx doubles it, up to 10 minutes. Default 30 s.
    pub cool_down: Duration,
    /// The same of an endpoint that answers but takes nothing, never longer than the other. Default
    /// 2 s.
    pub answering_cool_down: Duration,
    /// Whether a test ping may be sent to see whose fault it is where an endpoint answers and takes
    /// nothing, `DECNET_WEBHOOK_CONTROL_PING`. Default true.
    pub control_ping: bool,
    /// Open requests of the whole process beyond each subscription's own. Default 256: what keeps
    /// open files well under the usual limit of 1,024.
    pub pool_slots: usize,
    /// Open requests of the whole process in sum, each of which takes a file. Default unlimited: who
    /// knows how many files there are sets it.
    pub max_open_requests: usize,
    /// Longest time between two looks at the tables; changes are normally signalled. Default 60 s.
    pub reload_interval: Duration,
    /// Time between two heartbeats. Default 30 s, as DECNET expects.
    pub health_interval: Duration,
    /// How long what is in flight may take after the order to stop. Default 10 s, one attempt.
    pub drain_deadline: Duration,
    /// How long the log keeps what was delivered. Default 7 days, as long as the bus keeps events.
    pub keep_delivered: Duration,
    /// How long it keeps dead letters. Default 30 days.
    pub keep_dead: Duration,
    /// How many bytes the bodies of dead letters may come to; beyond it the oldest are let go of.
    /// Default 256 MiB of one subscription, 1 GiB of all.
    pub keep_dead_bytes: DeadBytes,
    /// Longest pause between two tries while the bus or the database does not answer at the start,
    /// `DECNET_WEBHOOK_BUS_RECONNECT_SECS`. Default 60 s.
    pub longest_pause: Duration,
    /// Start although another worker's heartbeat is heard. Default false.
    pub takeover: bool,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            name: "worker".to_owned(),
            circuit_threshold: 5,
            cool_down: Duration::from_secs(30),
            answering_cool_down: Duration::from_secs(2),
            control_ping: true,
            pool_slots: 256,
            max_open_requests: usize::MAX,
            reload_interval: Duration::from_secs(60),
            health_interval: Duration::from_secs(30),
            drain_deadline: Duration::from_secs(10),
            keep_delivered: Duration::from_secs(7 * 24 * 3_600),
            keep_dead: Duration::from_secs(30 * 24 * 3_600),
            keep_dead_bytes: DeadBytes {
                each: 256 << 20,
                all: 1 << 30,
            },
            longest_pause: Duration::from_secs(60),
            takeover: false,
        }
    }
}
