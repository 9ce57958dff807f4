//! How the server is: health, what it is, what Prometheus reads.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Extension;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use crate::desk::Desk;
use crate::http::infer::is_ready;
use crate::http::problem::{Problem, ProblemBody};
use crate::keys::Caller;
use crate::live::tick::moment;

/// A word about health.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `live` or `ready`.
    status: &'static str,
}

/// The score log of a server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogEntry {
    /// `sqlite`, `postgresql` or `none`.
    kind: String,
    /// True: nothing is answered before it is safely in the log.
    durable: bool,
}

/// What a request may cost.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LimitsEntry {
    /// Rows of a request.
    max_rows: usize,
    /// Bytes of a body.
    max_body_bytes: usize,
    /// Seconds an answer may take.
    timeout_seconds: f64,
    /// Requests that are scored at once.
    concurrency: usize,
}

/// What a server is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServerInfo {
    /// The version of the program.
    version: String,
    /// True when keys are asked for.
    auth: bool,
    /// What the caller may do: `score`, `read` or `admin`.
    role: String,
    /// The model that answers requests without one.
    active_model: Option<String>,
    /// When the server started.
    started_at: String,
    /// The score log.
    log: LogEntry,
    /// True when a scorer of events is followed (`/v1/stream`).
    stream: bool,
    /// What a request may cost.
    limits: LimitsEntry,
}

/// Does the process answer?
#[utoipa::path(get, path = "/health/live", tag = "health", responses((status = 200, description = "It does", body = Health)))]
pub(crate) async fn live() -> impl IntoResponse {
    axum::Json(Health { status: "live" })
}

/// Are requests answered?
#[utoipa::path(get, path = "/health/ready", tag = "health", responses((status = 200, description = "They are", body = Health), (status = 503, description = "Not yet, or no longer", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn ready(State(desk): State<Arc<Desk>>) -> Result<impl IntoResponse, Problem> {
    is_ready(&desk)?;
    Ok(axum::Json(Health { status: "ready" }))
}

/// What this server is, and what you may do here.
#[utoipa::path(get, path = "/v1/server", tag = "server", responses((status = 200, description = "The server", body = ServerInfo)))]
pub(crate) async fn server(State(desk): State<Arc<Desk>>, caller: Option<Extension<Caller>>) -> impl IntoResponse {
    let limits = &desk.limits;
    let state = desk.log.as_ref().map(|log| log.state());
    axum::Json(ServerInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        auth: desk.keys.is_some(),
        // Without keys whoever can connect may do everything.
        role: caller.map_or("admin", |Extension(caller)| caller.role.name()).to_owned(),
        active_model: Some(desk.registry.shelf().active().name.clone()),
        started_at: moment(desk.started_at),
        log: LogEntry {
            kind: state.as_ref().map_or("none", |state| state.kind).to_owned(),
            durable: state.is_some_and(|state| state.durable),
        },
        stream: desk.stream.is_some(),
        limits: LimitsEntry {
            max_rows: limits.max_rows,
            max_body_bytes: limits.max_body_bytes,
            timeout_seconds: limits.timeout.as_secs_f64(),
            concurrency: limits.concurrency,
        },
    })
}

/// What Prometheus reads.
#[utoipa::path(get, path = "/metrics", tag = "server", responses((status = 200, description = "OpenMetrics", body = String, content_type = "application/openmetrics-text")))]
pub(crate) async fn metrics(State(desk): State<Arc<Desk>>) -> impl IntoResponse {
    let log = desk.log_figures().map(|log| (log.queued, log.written, log.lost));
    let text = desk.metrics.text(desk.live.uptime(), desk.live.in_flight.load(Ordering::Relaxed), log);
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}
