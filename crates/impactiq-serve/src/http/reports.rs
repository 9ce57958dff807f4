//! `GET /v1/reports`: what training, evaluation and health checks found of a model.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::IntoResponse;
use impactiq_data::OutcomeKind;
use impactiq_score::Profile;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::desk::Desk;
use crate::http::answer::on_a_thread;
use crate::http::extract::{ModelQuery, query};
use crate::http::models::{DataEntry, data_of};
use crate::http::problem::{Problem, ProblemBody};
use crate::live::tick::ModelName;

/// A report that cannot be used.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BrokenReport {
    /// The file, from the model directory.
    file: String,
    /// What is wrong with it.
    detail: String,
    /// What to do about it.
    hint: String,
}

/// Everything that was found of a model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReportsResponse {
    /// The model.
    model: ModelName,
    /// What training found.
    #[schema(value_type = Object)]
    training: Value,
    /// What training said to keep in mind.
    warnings: Vec<String>,
    /// The held-out results (`impactiq evaluate`).
    #[schema(value_type = Option<Object>)]
    evaluation: Option<Value>,
    /// The health checks (`impactiq check`).
    #[schema(value_type = Option<Object>)]
    check: Option<Value>,
    /// What the training rows looked like.
    #[schema(value_type = Option<Object>)]
    profile: Option<Profile>,
    /// Per outcome: `share` (0/1 outcomes) or `number`.
    units: BTreeMap<String, String>,
    /// The data.
    data: DataEntry,
    /// The model card in Markdown.
    card: String,
    /// Reports that are there but cannot be used.
    problems: Vec<BrokenReport>,
}

/// What was found of a model.
#[utoipa::path(get, path = "/v1/reports", tag = "models", params(ModelQuery), responses((status = 200, description = "Reports; null where nobody made one", body = ReportsResponse), (status = 404, description = "No such model", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn reports(State(desk): State<Arc<Desk>>, uri: Uri) -> Result<impl IntoResponse, Problem> {
    let model = query::<ModelQuery>(&uri)?.find(&desk)?;
    let made = on_a_thread(move || {
        let found = model.reports();
        let unit = |kind: OutcomeKind| if kind == OutcomeKind::Binary { "share" } else { "number" };
        let outcomes = model.scorer.manifest().outcomes.iter();
        let problems = found.problems.iter().map(|problem| BrokenReport {
            file: problem.file.clone(),
            detail: problem.detail.clone(),
            hint: problem.hint.clone(),
        });
        ReportsResponse {
            model: ModelName { name: model.name.clone(), id: model.id().to_owned() },
            training: found.training.clone(),
            warnings: found.warnings.clone(),
            evaluation: found.evaluation.clone(),
            check: found.check.clone(),
            profile: found.profile.clone(),
            units: outcomes.map(|outcome| (outcome.name.clone(), unit(outcome.kind).to_owned())).collect(),
            data: data_of(&model),
            card: found.card.clone(),
            problems: problems.collect(),
        }
    });
    Ok(axum::Json(made.await?))
}
