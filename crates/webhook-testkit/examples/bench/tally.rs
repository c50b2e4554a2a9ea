//! What one run of events came to, counted without locks: many connections report at once.

use std::sync::atomic::{
    AtomicI64, AtomicU8, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use webhook_model::UtcTime;

/// Counters for numbered events, reused from run to run.
pub(crate) struct Tally {
    run: AtomicU32,
    times_seen: Vec<AtomicU8>,
    latency_us: Vec<AtomicU32>,
    distinct: AtomicU64,
    duplicated: AtomicU64,
    stray: AtomicU64,
    unverified: AtomicU64,
    first_us: AtomicI64,
    last_us: AtomicI64,
}

impl Tally {
    /// Room for events `0..capacity`.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            run: AtomicU32::new(0),
            times_seen: (0..capacity).map(|_| AtomicU8::new(0)).collect(),
            latency_us: (0..capacity).map(|_| AtomicU32::new(0)).collect(),
            distinct: AtomicU64::new(0),
            duplicated: AtomicU64::new(0),
            stray: AtomicU64::new(0),
            unverified: AtomicU64::new(0),
            first_us: AtomicI64::new(i64::MAX),
            last_us: AtomicI64::new(0),
        }
    }

    /// Begins a run; events of others count as stray from now on.
    pub(crate) fn begin(&self, run: u32) {
        for (seen, latency) in self.times_seen.iter().zip(&self.latency_us) {
            seen.store(0, Relaxed);
            latency.store(0, Relaxed);
        }
        for counter in [
            &self.distinct,
            &self.duplicated,
            &self.stray,
            &self.unverified,
        ] {
            counter.store(0, Relaxed);
        }
        self.first_us.store(i64::MAX, Relaxed);
        self.last_us.store(0, Relaxed);
        self.run.store(run, Release);
    }

    /// Counts a delivery whose signature did not match.
    pub(crate) fn unverified(&self) {
        self.unverified.fetch_add(1, Relaxed);
    }

    /// Counts a delivery.
    pub(crate) fn count(&self, run: i64, n: usize, sent_us: i64) {
        let now = UtcTime::now().micros();
        if run != i64::from(self.run.load(Acquire)) || n >= self.times_seen.len() {
            self.stray.fetch_add(1, Relaxed);
            return;
        }
        self.first_us.fetch_min(now, Relaxed);
        self.last_us.fetch_max(now, Relaxed);
        let before = self.times_seen[n].load(Relaxed);
        // Saturates: past 255 it is a duplicate all the same.
        self.times_seen[n].store(before.saturating_add(1), Relaxed);
        if before > 0 {
            self.duplicated.fetch_add(1, Relaxed);
            return;
        }
        let latency = u32::try_from((now - sent_us).max(0)).unwrap_or(u32::MAX);
        self.latency_us[n].store(latency, Relaxed);
        self.distinct.fetch_add(1, Relaxed);
    }

    /// Different events seen in this run.
    pub(crate) fn distinct(&self) -> u64 {
        self.distinct.load(Relaxed)
    }

    /// The run so far, as JSON.
    pub(crate) fn report(&self) -> String {
        let mut latencies: Vec<u32> = self
            .times_seen
            .iter()
            .zip(&self.latency_us)
            .filter(|(seen, _)| seen.load(Relaxed) > 0)
            .map(|(_, latency)| latency.load(Relaxed))
            .collect();
        latencies.sort_unstable();
        let quantile = |q: f64| {
            let last = latencies.len().saturating_sub(1);
            latencies
                .get((last as f64 * q).round() as usize)
                .copied()
                .unwrap_or(0)
        };
        format!(
            r#"{{"distinct":{},"duplicated":{},"stray":{},"unverified":{},"first_us":{},"last_us":{},"p50_us":{},"p99_us":{},"max_us":{}}}"#,
            self.distinct(),
            self.duplicated.load(Relaxed),
            self.stray.load(Relaxed),
            self.unverified.load(Relaxed),
            self.first_us.load(Relaxed),
            self.last_us.load(Relaxed),
            quantile(0.5),
            quantile(0.99),
            quantile(1.0),
        )
    }
}
