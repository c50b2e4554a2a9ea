//! What the process tells Prometheus.
//!
//! Everything is counted where it happens, by the libraries, and read at the scrape. Only
//! histograms are filled as things happen: in a recorder of this process, which is nobody's global.

mod names;
mod page;
mod reading;

use std::{sync::Arc, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use webhook_api::{ApiStats, Scrape};
use webhook_bus::{Bus, FeedStatus, SocketCounts};
use webhook_model::{State, UtcTime};
use webhook_store::Store;
use webhook_worker::{
    ATTEMPT_RESULTS, OutcomeTotals, Phase, SubscriptionTotals, Timings, WorkerStatus,
};

use self::{
    names::Metric,
    page::{Page, histogram},
    reading::{Reading, Readings},
};

/// From this many subscriptions on none has series of its own: a scrape stays below a megabyte.
const SUBSCRIPTIONS_LABELLED_BELOW: usize = 200;
/// Time between two emptyings of what histograms have collected, so that it stays small without a
/// scraper, too.
const UPKEEP: Duration = Duration::from_secs(1);

/// Up to the longest time-out of a request, 60 s.
const ATTEMPT_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// From what is usual to the end of the default redelivery schedule.
const LATENCY_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 1_800.0, 7_200.0, 43_200.0, 86_400.0,
];
const COMMIT_SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Up to the recorder's batch.
const COMMIT_ROWS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Which parts of the process have numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tells {
    pub(crate) worker: bool,
    pub(crate) api: bool,
}

/// The metrics of a process.
pub(crate) struct Metrics {
    tells: Tells,
    status: WorkerStatus,
    stats: ApiStats,
    /// Where a broker is drained.
    feed: Option<FeedStatus>,
    /// Where the bus socket is served.
    socket: Option<SocketCounts>,
    histograms: PrometheusHandle,
    readings: Readings,
    started: UtcTime,
}

impl Metrics {
    pub(crate) fn new(
        store: Store,
        bus: Bus,
        tells: Tells,
        feed: Option<FeedStatus>,
        socket: Option<SocketCounts>,
    ) -> Arc<Self> {
        let buckets = [
            (names::ATTEMPT_DURATION, ATTEMPT_SECONDS),
            (names::DELIVERY_LATENCY, LATENCY_SECONDS),
            (names::COMMIT_DURATION, COMMIT_SECONDS),
            (names::COMMIT_ROWS, COMMIT_ROWS),
        ];
        let mut builder = PrometheusBuilder::new();
        for (metric, bounds) in buckets {
            builder = builder
                .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), bounds)
                .expect("there are bounds");
        }
        let recorder = builder.build_recorder();
        let timings = if tells.worker {
            Timings {
                attempt: histogram(&recorder, names::ATTEMPT_DURATION),
                delivery: histogram(&recorder, names::DELIVERY_LATENCY),
                commit: histogram(&recorder, names::COMMIT_DURATION),
                commit_rows: histogram(&recorder, names::COMMIT_ROWS),
            }
        } else {
            Timings::default()
        };
        Arc::new(Self {
            tells,
            status: WorkerStatus::with_timings(timings),
            stats: ApiStats::default(),
            feed,
            socket,
            histograms: recorder.handle(),
            readings: Readings::new(store, bus),
            started: UtcTime::now(),
        })
    }

    /// For the worker, which counts in it.
    pub(crate) fn status(&self) -> WorkerStatus {
        self.status.clone()
    }

    /// For the API, which counts in it.
    pub(crate) fn stats(&self) -> ApiStats {
        self.stats.clone()
    }

    /// For whoever serves `/metrics`.
    pub(crate) fn scrape(self: &Arc<Self>) -> Scrape {
        let metrics = Arc::clone(self);
        Arc::new(move || {
            let metrics = Arc::clone(&metrics);
            Box::pin(async move { metrics.page().await })
        })
    }

    /// Keeps what scrapes need, until `shutdown`.
    pub(crate) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let upkeep = async {
            let mut ticks = tokio::time::interval(UPKEEP);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                self.histograms.run_upkeep();
            }
        };
        tokio::select! {
            () = self.readings.clone().run(shutdown) => {}
            () = upkeep => {}
        }
    }

    async fn page(&self) -> String {
        let reading = self.readings.latest().await;
        let page = Page::new();
        page.gauge(names::BUILD_INFO, [env!("CARGO_PKG_VERSION")], 1.0);
        let started = self.started.micros() as f64 / 1e6;
        page.gauge(names::PROCESS_START, [], started);
        let subscriptions = self.status.subscriptions();
        if self.tells.worker {
            self.worker(&page, &subscriptions);
        }
        if self.tells.api {
            self.api(&page);
        }
        if let Some(status) = &self.feed {
            feed(&page, status);
        }
        if let Some(counts) = &self.socket {
            for (reason, count) in [
                ("gave_way", counts.gave_way()),
                ("refused", counts.refused()),
            ] {
                page.counter(names::SOCKET_CONNECTIONS_ENDED, [reason], count);
            }
        }
        let refused = ATTEMPT_RESULTS
            .iter()
            .position(|result| *result == "refused");
        let attempts = self.status.counters().totals().attempts;
        let refused = refused.map_or(0, |result| attempts[result]);
        page.counter(
            names::EGRESS_REFUSALS,
            [],
            refused + self.stats.pings_refused(),
        );
        if let Some(reading) = reading {
            shared(&page, &reading, &subscriptions);
        }
        page.finish(&self.histograms.render())
    }

    fn worker(&self, page: &Page, subscriptions: &[SubscriptionTotals]) {
        let totals = self.status.counters().totals();
        for (result, count) in by_result(totals.outcomes) {
            page.counter(names::DELIVERIES, [result], count);
        }
        for (result, count) in ATTEMPT_RESULTS.iter().zip(totals.attempts) {
            page.counter(names::ATTEMPTS, [result], count);
        }
        page.gauge(names::REQUESTS_OPEN, [], totals.open_requests as f64);
        let in_hand: usize = subscriptions.iter().map(|it| it.in_hand).sum();
        page.gauge(names::MESSAGES_IN_HAND, [], in_hand as f64);
        page.counter(names::SEEN_BEFORE, [], totals.seen_before);
        page.counter(names::EXPIRED_EVENTS, [], totals.expired);
        page.counter(names::DROPPED_BODIES, [], totals.bodies_dropped);
        page.counter(names::BREAKER_TRIPS, [], totals.tripped);
        page.counter(names::BREAKER_RECOVERIES, [], totals.recovered);
        page.counter(names::LOCAL_FAULTS, [], totals.local_faults);
        let paused = subscriptions.iter().filter(|it| it.paused_for.is_some());
        page.gauge(names::RECEIVERS_PAUSED, [], paused.count() as f64);
        page.counter(names::FOREIGN_HEARTBEATS, [], totals.foreign_heartbeats);
        let delivers = matches!(self.status.phase(), Phase::Opening | Phase::Running);
        page.flag(names::WORKER_RUNNING, delivers);
        if subscriptions.len() >= SUBSCRIPTIONS_LABELLED_BELOW {
            return;
        }
        for it in subscriptions {
            for (result, count) in by_result(it.outcomes) {
                page.counter(names::SUBSCRIPTION_DELIVERIES, [&it.name, result], count);
            }
            page.gauge(names::SUBSCRIPTION_IN_HAND, [&it.name], it.in_hand as f64);
            page.gauge(names::SUBSCRIPTION_STATE, [&it.name, state(it.state)], 1.0);
            let seconds = |left: Option<Duration>| left.unwrap_or_default().as_secs_f64();
            let left = seconds(it.paused_for);
            page.gauge(names::SUBSCRIPTION_PAUSED, [&it.name], left);
            let left = it.next_probe_at.map(|at| at.since(UtcTime::now()));
            page.gauge(names::SUBSCRIPTION_NEXT_PROBE, [&it.name], seconds(left));
        }
    }

    fn api(&self, page: &Page) {
        for (answered, count) in self.stats.answers() {
            let status = answered.status.to_string();
            let labels = [answered.route, answered.method, &status];
            page.counter(names::API_REQUESTS, labels, count);
        }
        for (result, count) in [
            ("taken", self.stats.events_taken()),
            ("refused", self.stats.events_refused()),
        ] {
            page.counter(names::PUBLISHED_EVENTS, [result], count);
        }
        let connections = self.stats.connections();
        page.gauge(names::API_CONNECTIONS, [], connections.open as f64);
        for (reason, count) in [
            ("gave_way", connections.gave_way),
            ("refused", connections.refused),
            ("timed_out", connections.timed_out),
        ] {
            page.counter(names::API_CONNECTIONS_ENDED, [reason], count);
        }
    }
}

fn feed(page: &Page, status: &FeedStatus) {
    let counts = status.counts();
    page.flag(names::FEED_CONNECTED, *status.connected().borrow());
    page.counter(names::FEED_RECEIVED, [], counts.received);
    page.counter(names::FEED_DROPPED, [], counts.dropped);
    page.counter(names::FEED_FORWARDED, [], counts.forwarded);
    page.counter(names::FEED_SKIPPED, [], counts.skipped);
    page.counter(names::FEED_OUTAGES, [], counts.outages);
}

/// What every process of an installation reads alike.
fn shared(page: &Page, reading: &Reading, subscriptions: &[SubscriptionTotals]) {
    page.flag(names::DATABASE_UP, reading.counts.is_some());
    page.flag(names::BUS_UP, reading.bus.is_some());
    let count = |metric: Metric, count: u64| page.gauge(metric, [], count as f64);
    if let Some(counts) = reading.counts {
        for (state, number) in [
            ("active", counts.active),
            ("paused", counts.paused),
            ("tripped", counts.tripped),
        ] {
            page.gauge(names::SUBSCRIPTIONS, [state], number as f64);
        }
        count(names::REDELIVERIES_WAITING, counts.retrying);
        count(names::DEAD_LETTERS, counts.dead);
        count(names::DEAD_LETTERS_ACKNOWLEDGED, counts.dead_acknowledged);
        let oldest = counts.oldest_retrying;
        let age = oldest.map_or(Duration::ZERO, |oldest| UtcTime::now().since(oldest));
        page.gauge(names::REDELIVERY_OLDEST, [], age.as_secs_f64());
    }
    if let Some(bus) = &reading.bus {
        page.flag(names::BUS_REFUSING, bus.refusing.is_some());
        count(names::BUS_HEAD, bus.head);
        count(names::BUS_SIZE, bus.bytes);
        if let Some(free) = bus.free_bytes {
            count(names::BUS_FREE_DISK, free);
        }
        if let Some(lag) = bus.lag {
            count(names::BUS_LAG, lag);
        }
        if reading.backlog.is_complete {
            count(names::BACKLOG, reading.backlog.events.values().sum());
        }
    }
    if subscriptions.len() < SUBSCRIPTIONS_LABELLED_BELOW {
        for it in subscriptions {
            if let Some(events) = reading.backlog.events.get(&it.uuid) {
                page.gauge(names::SUBSCRIPTION_BACKLOG, [&it.name], *events as f64);
            }
        }
    }
}

fn by_result(outcomes: OutcomeTotals) -> [(&'static str, u64); 3] {
    [
        ("delivered", outcomes.delivered),
        ("retrying", outcomes.retrying),
        ("dead", outcomes.dead),
    ]
}

fn state(state: State) -> &'static str {
    match state {
        State::Active => "active",
        State::Paused => "paused",
        State::Tripped { .. } => "tripped",
    }
}
