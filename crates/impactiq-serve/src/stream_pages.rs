//! What a stream tells over HTTP: health, figures for Prometheus, and its report as JSON. Only on this machine: there
//! are no keys. What the numbers mean is `impactiq-stream`'s business.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Json};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use impactiq_metrics::Estimate;
use impactiq_stream::figures::LATENCY_MS;
use impactiq_stream::service::Service;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::error::ServeError;

/// Connections at once: Prometheus and somebody who looks.
const CONNECTIONS: usize = 64;
/// Time for the head of a request.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Pages that answer until they are dropped.
pub struct StreamPages {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for StreamPages {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl StreamPages {
    /// Answers at an address of this machine.
    ///
    /// # Errors
    /// [`ServeError::Listen`], [`ServeError::Unprotected`].
    pub async fn start(listen: SocketAddr, service: Service) -> Result<StreamPages, ServeError> {
        if !listen.ip().is_loopback() {
            return Err(ServeError::Unprotected { address: listen });
        }
        let listening = |source| ServeError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;
        let routes = Router::new()
            .route("/health/live", get(|| async { "live" }))
            .route("/health/ready", get(ready))
            .route("/metrics", get(metrics))
            .route("/v1/stream", get(report))
            .with_state(Arc::new(service));
        Ok(StreamPages { address, accepting: tokio::spawn(accept(listener, routes)) })
    }

    /// Where it listens; the port is the real one.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn accept(listener: TcpListener, routes: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(READ_TIMEOUT);
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes.clone()));
        tokio::spawn(async move {
            // Whoever hangs up is no event of the stream's.
            let _ = connection.await;
            drop(place);
        });
    }
}

async fn ready(State(service): State<Arc<Service>>) -> impl IntoResponse {
    match (service.stop.is_running(), service.stop.is_asked()) {
        (true, _) => (StatusCode::OK, "ready"),
        (false, true) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "waiting for the broker"),
    }
}

async fn report(State(service): State<Arc<Service>>) -> Json<Value> {
    Json(report_of(&service))
}

async fn metrics(State(service): State<Arc<Service>>) -> impl IntoResponse {
    let text = metrics_of(&service).unwrap_or_default();
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

/// The report: who scores with which model, what was done, and the live uplift.
pub fn report_of(service: &Service) -> Value {
    let model = service.models.current();
    let now = service.figures.now();
    let live = service.live.get();
    let mut alarms: Vec<Value> = live.iter().flat_map(|live| &live.report.models).flat_map(alarms).collect();
    if now.drift.as_ref().is_some_and(impactiq_metrics::drift::DriftReport::alarm) {
        alarms.push(json!({"kind": "drift", "model": model.id()}));
    }
    json!({
        "member": service.member,
        "model": {"name": model.name, "id": model.id()},
        "uptime_seconds": service.started.elapsed().as_secs_f64(),
        "figures": now,
        "latency_below_ms": {"p50": now.latency_below_ms(0.5), "p99": now.latency_below_ms(0.99)},
        "live": live,
        "alarms": alarms,
    })
}

fn alarms(model: &impactiq_stream::live::ModelReport) -> Vec<Value> {
    let decay = model.decay.as_ref().is_some_and(|decay| decay.alarm_after.is_some());
    [("srm", model.srm.alarm), ("decay", decay)]
        .into_iter()
        .filter(|(_, is_on)| *is_on)
        .map(|(kind, _)| json!({"kind": kind, "model": model.model}))
        .collect()
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfModel {
    model: String,
    kind: &'static str,
}

type Gauges<L> = Family<L, Gauge<f64, AtomicU64>>;

/// Everything for Prometheus.
fn metrics_of(service: &Service) -> Result<String, std::fmt::Error> {
    let now = service.figures.now();
    let mut registry = Registry::with_prefix("impactiq_stream");
    let counts: [(&str, &str, u64); 6] = [
        ("scored", "Events that got scores", now.scored),
        ("batches", "Batches committed", now.batches),
        ("sent_again", "Scores sent again from the log", now.sent_again),
        ("failures", "Attempts on broker or store that failed and were repeated", now.failures),
        ("stale", "Partitions that were somebody else's", now.stale),
        ("scoring_milliseconds", "Time spent on decoding, windows and scoring", (now.scoring_seconds * 1e3) as u64),
    ];
    for (name, help, value) in counts {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
    let dead = Family::<Label, Counter>::default();
    registry.register("dead_letters", "Events that could not be scored, by reason", dead.clone());
    for (code, n) in &now.dead {
        dead.get_or_create(&Label { name: code.clone() }).inc_by(*n);
    }
    let lag = Gauges::<Label>::default();
    registry.register("lag", "Events not yet committed, by partition", lag.clone());
    for (partition, n) in &now.lag {
        lag.get_or_create(&Label { name: partition.to_string() }).set(*n as f64);
    }
    let latency = Family::<Label, Counter>::default();
    registry.register("latency", "Events by milliseconds from the broker to the commit (cumulative)", latency.clone());
    let mut seen = 0;
    for (class, n) in now.latency.iter().enumerate() {
        seen += n;
        let name = LATENCY_MS.get(class).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
        latency.get_or_create(&Label { name }).inc_by(seen);
    }
    if let Some(drift) = &now.drift {
        let psi = Gauges::<Label>::default();
        registry.register("psi", "Population stability index of the last window, by column", psi.clone());
        for column in &drift.columns {
            psi.get_or_create(&Label { name: column.name.clone() }).set(column.psi);
        }
        let on = Gauge::<f64, AtomicU64>::default();
        on.set(f64::from(u8::from(drift.alarm())));
        registry.register("drift_alarm", "1 while the last window of events is not like the training rows", on);
    }
    live_metrics(service, &mut registry);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn live_metrics(service: &Service, registry: &mut Registry) {
    let uplift = Gauges::<OfModel>::default();
    registry.register("uplift", "Live uplift, valid at every look", uplift.clone());
    let rows = Gauges::<OfModel>::default();
    registry.register("uplift_events", "Events that the live uplift is made of", rows.clone());
    let alarm = Gauges::<OfModel>::default();
    registry.register("alarm", "1 while something is wrong", alarm.clone());
    let Some(live) = service.live.get() else { return };
    for model in &live.report.models {
        let of = |kind| OfModel { model: model.model.clone(), kind };
        let best = if model.asymptotic.value().is_some() { &model.asymptotic } else { &model.exact };
        type Part = fn(&Estimate) -> Option<f64>;
        let parts: [(&'static str, Part); 3] =
            [("value", Estimate::value), ("lower", Estimate::lower), ("upper", Estimate::upper)];
        for (kind, part) in parts {
            if let Some(value) = part(best) {
                uplift.get_or_create(&of(kind)).set(value);
            }
        }
        rows.get_or_create(&of("all")).set(model.n as f64);
        rows.get_or_create(&of("treated")).set(model.n_treated as f64);
        let on = alarms(model);
        for kind in ["srm", "decay"] {
            let is_on = on.iter().any(|found| found["kind"] == kind);
            alarm.get_or_create(&of(kind)).set(f64::from(u8::from(is_on)));
        }
    }
}
