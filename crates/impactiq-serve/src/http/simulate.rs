//! `POST /v1/simulate`: what would the model say of somebody like this.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use impactiq_score::{ScoreError, Simulation, Sweep};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::desk::Desk;
use crate::http::answer::{in_time, on_a_thread};
use crate::http::extract::{ModelQuery, body, check_rows, json, query};
use crate::http::problem::{Code, Problem, ProblemBody};
use crate::http::score::response;
use crate::live::tick::ModelName;

/// People to imagine.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SimulateRequest {
    /// Rows: an object of the model's raw columns each.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Value>,
    /// One feature of one row moved: `{"row", "feature", "from", "to", "steps"}` or
    /// `{"row", "feature", "values"}`.
    #[schema(value_type = Option<Object>)]
    sweep: Option<Sweep>,
}

/// What the model says of them.
#[derive(Serialize, ToSchema)]
pub(crate) struct SimulateResponse {
    /// The model.
    model: ModelName,
    /// Per row `{"input", "derived", "outcomes", "warnings"}`, or `{"error"}`; and the sweep, where one
    /// was asked for: `{"feature", "points"}`.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    simulation: Simulation,
}

/// Ask what if.
///
/// The answer goes from the input as the model's types hold it over derived features and the
/// expected outcome under each arm to the uplift, which is the number of `/v1/score`, bit for bit.
#[utoipa::path(post, path = "/v1/simulate", tag = "scores", params(ModelQuery), request_body = SimulateRequest, responses((status = 200, description = "Input, derived features, arms, uplift, per row", body = SimulateResponse), (status = 400, description = "A body that cannot be read", body = ProblemBody, content_type = "application/problem+json"), (status = 404, description = "No such model", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn simulate(State(desk): State<Arc<Desk>>, request: Request) -> Result<Response<Body>, Problem> {
    let model = query::<ModelQuery>(request.uri())?.find(&desk)?;
    let bytes = body(&desk, request).await?;
    let began = Instant::now();
    let asked: SimulateRequest = json(&bytes)?;
    check_rows(&desk, asked.rows.len())?;
    let permit = desk.gate.enter().await.ok_or_else(Problem::busy)?;
    let work = on_a_thread(move || {
        let _permit = permit;
        let mut rows = asked.rows;
        if let Some(lookup) = model.lookup() {
            // A row that is not found is answered like any other that lacks columns.
            let _ = lookup.fill(&mut rows);
        }
        let reports = model.reports();
        let (profile, held_out) = (reports.profile.as_ref(), reports.held_out.as_ref());
        let simulation = model.scorer.simulate(&rows, asked.sweep.as_ref(), profile, held_out)?;
        let name = ModelName { name: model.name.clone(), id: model.id().to_owned() };
        Ok(serde_json::to_vec(&SimulateResponse { model: name, simulation }))
    });
    let text = in_time(&desk, began, work).await?.map_err(of_simulation)?;
    Ok(response(text.map_err(|error| Problem::internal(&error))?, "application/json", false))
}

fn of_simulation(error: ScoreError) -> Problem {
    match &error {
        ScoreError::Sweep { .. } | ScoreError::Data(_) => {
            Problem { code: Code::BadParameter, detail: error.to_string(), hint: error.hint() }
        }
        _ => error.into(),
    }
}
