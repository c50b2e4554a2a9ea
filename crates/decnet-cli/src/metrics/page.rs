//! One page of Prometheus' text format.

use metrics::{Key, Label, Level, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use super::names::{Kind, Metric};

const METADATA: Metadata<'static> = Metadata::new("decnet", Level::INFO, None);

/// Numbers that are read where they are kept, and put down at the moment of the scrape. The
/// recorder lives for one page, so whatever is gone leaves no series behind.
pub(super) struct Page(PrometheusRecorder);

impl Page {
    pub(super) fn new() -> Self {
        Self(PrometheusBuilder::new().build_recorder())
    }

    /// `labels` are the values of the metric's labels in their order.
    pub(super) fn counter<const N: usize>(&self, metric: Metric, labels: [&str; N], value: u64) {
        debug_assert_eq!(metric.kind, Kind::Counter, "{}", metric.name);
        self.0
            .describe_counter(metric.name.into(), None, metric.help.into());
        self.0
            .register_counter(&key(metric, &labels), &METADATA)
            .absolute(value);
    }

    /// `labels` are the values of the metric's labels in their order.
    pub(super) fn gauge<const N: usize>(&self, metric: Metric, labels: [&str; N], value: f64) {
        debug_assert_eq!(metric.kind, Kind::Gauge, "{}", metric.name);
        self.0
            .describe_gauge(metric.name.into(), None, metric.help.into());
        self.0
            .register_gauge(&key(metric, &labels), &METADATA)
            .set(value);
    }

    pub(super) fn flag(&self, metric: Metric, value: bool) {
        self.gauge(metric, [], f64::from(u8::from(value)));
    }

    /// The page, with what `more` has, in the order of the names.
    pub(super) fn finish(self, more: &str) -> String {
        let text = self.0.handle().render();
        // Families end with an empty line, and come in any order.
        let families = text.split("\n\n").chain(more.split("\n\n"));
        let mut families: Vec<&str> = families.filter(|it| !it.is_empty()).collect();
        families.sort_unstable();
        let mut page = families.join("\n");
        page.push('\n');
        page
    }
}

/// A histogram that lives as long as `recorder`.
pub(super) fn histogram(recorder: &PrometheusRecorder, metric: Metric) -> metrics::Histogram {
    debug_assert_eq!(metric.kind, Kind::Histogram, "{}", metric.name);
    recorder.describe_histogram(metric.name.into(), None, metric.help.into());
    recorder.register_histogram(&key(metric, &[]), &METADATA)
}

fn key(metric: Metric, values: &[&str]) -> Key {
    debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
    let labels = metric.labels.iter().zip(values).map(|(&name, value)| {
        // The renderer takes a backslash for the beginning of an escape, unless it is one.
        Label::new(name, SharedString::from(value.replace('\\', r"\\")))
    });
    Key::from_parts(metric.name, labels.collect::<Vec<_>>())
}
