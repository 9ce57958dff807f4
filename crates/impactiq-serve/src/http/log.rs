//! `GET /v1/scores`: what was answered to whom, page by page.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::IntoResponse;
use impactiq_store::{Query, StoredScore};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::{IntoParams, ToSchema};

use crate::desk::Desk;
use crate::http::extract::query;
use crate::http::problem::{Code, Problem, ProblemBody};
use crate::live::tick::{ModelName, moment};

/// Rows of a page when nobody says otherwise, and at most.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// Which scores.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ScoresQuery {
    /// Of this request.
    request_id: Option<String>,
    /// Of the rows that their callers gave this id.
    id: Option<String>,
    /// Of this model, by name or id.
    model: Option<String>,
    /// From this moment on (RFC 3339).
    from: Option<String>,
    /// Before this moment (RFC 3339).
    to: Option<String>,
    /// The page behind this one: `next` of the page before.
    after: Option<String>,
    /// Rows of a page, 1000 at most.
    limit: Option<usize>,
}

/// A score that was answered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LoggedScore {
    /// When the request came.
    time: String,
    /// The request.
    request_id: Option<String>,
    /// `score`, `infer`, `invocations` or `stream`.
    door: String,
    /// The model that answered.
    model: ModelName,
    /// The row in its request, from 0.
    row: u32,
    /// The row's id, where it brought one.
    id: Option<String>,
    /// The scores exactly as they were answered, or `{"error": {…}}`.
    #[schema(value_type = Object)]
    scores: Value,
}

/// A page of the log, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScoresPage {
    /// Scores.
    scores: Vec<LoggedScore>,
    /// Where the next page begins; null at the end.
    next: Option<String>,
}

/// Look scores up.
#[utoipa::path(get, path = "/v1/scores", tag = "scores", params(ScoresQuery), responses((status = 200, description = "Scores, the newest first", body = ScoresPage), (status = 404, description = "This server keeps no log", body = ProblemBody, content_type = "application/problem+json"), (status = 503, description = "The log cannot be reached", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn scores(State(desk): State<Arc<Desk>>, uri: Uri) -> Result<impl IntoResponse, Problem> {
    let asked: ScoresQuery = query(&uri)?;
    let Some(log) = &desk.log else {
        return Err(Problem::new(
            Code::NoLog,
            "this server keeps no score log",
            "start it with `--log PATH` to keep one",
        ));
    };
    let limit = asked.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::new(
            Code::BadParameter,
            format!("`limit` is {limit}, and a page has 1 to {MAX_LIMIT} rows"),
            "follow `next` for more",
        ));
    }
    let page = log
        .query(&Query {
            request_id: asked.request_id,
            id: asked.id,
            model: asked.model,
            from: asked.from.as_deref().map(|text| micros("from", text)).transpose()?,
            to: asked.to.as_deref().map(|text| micros("to", text)).transpose()?,
            after: asked.after,
            limit,
        })
        .await
        .map_err(of_query)?;
    Ok(axum::Json(ScoresPage { scores: page.rows.into_iter().map(logged).collect(), next: page.next }))
}

/// A mark that is no page of ours is the caller's mistake, everything else the log's.
fn of_query(error: impactiq_store::StoreError) -> Problem {
    match error {
        impactiq_store::StoreError::BadCursor { .. } => {
            Problem::new(Code::BadParameter, "`after` is no mark of a page", "take `next` of the page before, as it is")
        }
        other => other.into(),
    }
}

fn micros(key: &str, text: &str) -> Result<i64, Problem> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
        Problem::new(
            Code::BadParameter,
            format!("`{key}` is no moment like 2026-01-31T12:00:00Z"),
            "a + in an address is written %2B",
        )
    })?;
    Ok((moment.unix_timestamp_nanos() / 1000) as i64)
}

fn logged(stored: StoredScore) -> LoggedScore {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(stored.received_at) * 1000);
    LoggedScore {
        time: time.map(moment).unwrap_or_default(),
        request_id: stored.request_id,
        door: stored.door,
        model: ModelName { name: stored.model_name, id: stored.model_id },
        row: stored.row.row,
        id: stored.row.id,
        scores: serde_json::from_str(&stored.row.scores).unwrap_or_default(),
    }
}
