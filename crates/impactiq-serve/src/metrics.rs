//! What Prometheus reads: counters and histograms per door. No label ever holds something a
//! caller sent.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use std::fmt::Write;

/// The ways in, as metrics and logs tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Door {
    /// `/v1/score`.
    Score,
    /// `/v2/…/infer`.
    Infer,
    /// `/invocations`.
    Invocations,
    /// `/v1/simulate`.
    Simulate,
    /// `/v1/target` and its list.
    Target,
    /// Everything else of the API.
    Api,
    /// Pages and their files.
    Page,
}

const DOORS: [Door; 7] =
    [Door::Score, Door::Infer, Door::Invocations, Door::Simulate, Door::Target, Door::Api, Door::Page];

impl Door {
    pub fn name(self) -> &'static str {
        match self {
            Door::Score => "score",
            Door::Infer => "infer",
            Door::Invocations => "invocations",
            Door::Simulate => "simulate",
            Door::Target => "target",
            Door::Api => "api",
            Door::Page => "page",
        }
    }

    /// True for the doors that scores leave by.
    pub fn is_scoring(self) -> bool {
        matches!(self, Door::Score | Door::Infer | Door::Invocations)
    }

    /// True for the doors that are turned away first when there is too much to do.
    pub fn is_work(self) -> bool {
        self.is_scoring() || matches!(self, Door::Simulate | Door::Target)
    }

    /// The door of an address.
    pub fn of(path: &str) -> Door {
        match path {
            "/v1/score" => Door::Score,
            "/invocations" => Door::Invocations,
            "/v1/simulate" => Door::Simulate,
            "/v1/target" | "/v1/target/list" => Door::Target,
            _ if path.starts_with("/v2/") && path.ends_with("/infer") => Door::Infer,
            _ if path.starts_with("/v1/") || path.starts_with("/v2") || path.starts_with("/health/") => Door::Api,
            "/metrics" | "/ping" | "/version" | "/openapi.json" => Door::Api,
            _ => Door::Page,
        }
    }
}

impl EncodeLabelValue for Door {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(self.name())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    door: Door,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorLabels {
    door: Door,
}

/// The metrics of a server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    /// By door, the counter of good answers: looked up once and not for every request, as are the next two.
    good: Vec<Counter>,
    seconds: Vec<Histogram>,
    rows: Vec<Counter>,
    row_errors: Family<DoorLabels, Counter>,
    in_flight: Gauge,
    log_queued: Gauge,
    log_written: Counter<u64, AtomicU64>,
    log_lost: Counter<u64, AtomicU64>,
    uptime: Gauge<f64, AtomicU64>,
}

/// 50 µs to 30 s.
const BUCKETS: [f64; 16] =
    [5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0];

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("impactiq");
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register("requests", "Requests answered", requests.clone());
        let good = |&door| requests.get_or_create(&RequestLabels { door, status: 200 }).clone();
        let good = DOORS.iter().map(good).collect();
        let family =
            Family::<DoorLabels, Histogram, fn() -> Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        registry.register("request_seconds", "From the head of a request to the head of its answer", family.clone());
        let seconds = DOORS.iter().map(|&door| family.get_or_create(&DoorLabels { door }).clone()).collect();
        let rows = Family::<DoorLabels, Counter>::default();
        registry.register("rows", "Rows scored", rows.clone());
        let rows = DOORS.iter().map(|&door| rows.get_or_create(&DoorLabels { door }).clone()).collect();
        let row_errors = Family::<DoorLabels, Counter>::default();
        registry.register("row_errors", "Rows answered with an error", row_errors.clone());
        let in_flight = Gauge::default();
        registry.register("in_flight", "Requests being answered", in_flight.clone());
        let log_queued = Gauge::default();
        registry.register("log_queued_rows", "Rows that wait for the score log", log_queued.clone());
        let log_written = Counter::default();
        registry.register("log_written_rows", "Rows written to the score log", log_written.clone());
        let log_lost = Counter::default();
        registry.register("log_lost_rows", "Rows that could not be written to the score log", log_lost.clone());
        let uptime = Gauge::<f64, AtomicU64>::default();
        registry.register("uptime_seconds", "Since the server started", uptime.clone());
        Metrics {
            registry,
            requests,
            good,
            seconds,
            rows,
            row_errors,
            in_flight,
            log_queued,
            log_written,
            log_lost,
            uptime,
        }
    }

    /// Counts an answer.
    pub fn answered(&self, door: Door, status: u16, took: Duration) {
        if status == 200 {
            self.good[door as usize].inc();
        } else {
            self.requests.get_or_create(&RequestLabels { door, status }).inc();
        }
        self.seconds[door as usize].observe(took.as_secs_f64());
    }

    /// Counts rows.
    pub fn scored(&self, door: Door, rows: u64, errors: u64) {
        self.rows[door as usize].inc_by(rows);
        if errors > 0 {
            self.row_errors.get_or_create(&DoorLabels { door }).inc_by(errors);
        }
    }

    /// The text Prometheus reads; `log` is queued, written and lost rows.
    pub fn text(&self, uptime: Duration, in_flight: i64, log: Option<(u64, u64, u64)>) -> String {
        self.uptime.set(uptime.as_secs_f64());
        self.in_flight.set(in_flight);
        if let Some((queued, written, lost)) = log {
            self.log_queued.set(i64::try_from(queued).unwrap_or(i64::MAX));
            self.log_written.inner().store(written, std::sync::atomic::Ordering::Relaxed);
            self.log_lost.inner().store(lost, std::sync::atomic::Ordering::Relaxed);
        }
        let mut text = String::new();
        // Writing to a text cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_door_has_its_own_series() {
        let metrics = Metrics::new();
        metrics.answered(Door::Score, 200, Duration::from_micros(80));
        metrics.scored(Door::Score, 3, 1);
        let text = metrics.text(Duration::from_secs(2), 1, Some((4, 5, 6)));
        for line in [
            "impactiq_requests_total{door=\"score\",status=\"200\"} 1",
            "impactiq_rows_total{door=\"score\"} 3",
            "impactiq_row_errors_total{door=\"score\"} 1",
            "impactiq_request_seconds_bucket{le=\"0.0001\",door=\"score\"} 1",
            "impactiq_log_written_rows_total 5",
            "impactiq_log_lost_rows_total 6",
            "impactiq_in_flight 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(DOORS.iter().enumerate().all(|(index, &door)| door as usize == index));
    }

    #[test]
    fn addresses_belong_to_doors() {
        assert_eq!(Door::of("/v2/models/a/versions/1/infer"), Door::Infer);
        assert_eq!(Door::of("/v1/models"), Door::Api);
        assert_eq!(Door::of("/assets/a.js"), Door::Page);
        assert!(Door::of("/invocations").is_scoring() && !Door::of("/v1/target").is_scoring());
    }
}
