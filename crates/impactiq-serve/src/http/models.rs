//! The models: which there are, which answers, and changing that.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::desk::Desk;
use crate::http::answer::on_a_thread;
use crate::http::problem::{Problem, ProblemBody};
use crate::live::tick::moment;
use crate::registry::{LoadedModel, Shelf};

/// An outcome of a model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OutcomeEntry {
    /// Its column.
    name: String,
    /// `binary`, `count` or `continuous`.
    #[schema(value_type = String)]
    kind: Value,
}

/// A contrast of a model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TargetEntry {
    /// The outcome.
    outcome: String,
    /// The arm, or the dose.
    arm: String,
}

/// The data a model was trained on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DataEntry {
    /// Paths as they were written in the configuration.
    paths: Vec<String>,
    /// The filter.
    #[serde(rename = "where")]
    filter: Option<String>,
    /// Identifies the content.
    fingerprint: String,
    /// Rows in the source, before the filter.
    n_rows_read: u64,
    /// Rows kept.
    n_rows: u64,
    /// Rows held out from the learner.
    n_holdout: u64,
}

/// Which reports a model has.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReportFlags {
    training: bool,
    evaluation: bool,
    check: bool,
    profile: bool,
}

/// A model of this server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelEntry {
    /// The name requests use.
    name: String,
    /// The id of its content.
    id: String,
    /// True for the one that answers requests without a model.
    active: bool,
    /// The version of the program that trained it.
    impactiq_version: String,
    /// The learner.
    learner: String,
    /// When this server read it.
    loaded_at: String,
    /// Outcomes.
    outcomes: Vec<OutcomeEntry>,
    /// Arms, the control first; none with a dose.
    arms: Vec<String>,
    /// The dose.
    dose: Option<String>,
    /// Raw columns a row brings: `[{"name", "type"}]`.
    #[schema(value_type = Vec<Object>)]
    schema: Value,
    /// Derived features: `[{"name", "sql"}]`.
    #[schema(value_type = Vec<Object>)]
    derived: Value,
    /// Features in the model's order.
    features: Vec<String>,
    /// Columns of every answer.
    score_columns: Vec<String>,
    /// The data.
    data: DataEntry,
    /// Which reports there are.
    reports: ReportFlags,
    /// The effects it knows.
    targets: Vec<TargetEntry>,
}

/// A model with all that is known of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelDetail {
    #[serde(flatten)]
    entry: ModelEntry,
    /// The model card in Markdown.
    card: String,
    /// The configuration as it was run.
    #[schema(value_type = Object)]
    config: Value,
}

/// The models.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelList {
    /// The one that answers.
    active: Option<String>,
    /// The one that answered before.
    previous: Option<String>,
    /// All, in the order they were given.
    models: Vec<ModelEntry>,
}

/// Which model answers now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActiveModel {
    /// Its name.
    active: String,
    /// The one before.
    previous: Option<String>,
}

/// A model that could not be read again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FailedModel {
    /// Its name.
    name: String,
    /// Why.
    detail: String,
}

/// What reading the models again found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefreshResponse {
    /// Models that changed and answer now.
    loaded: Vec<String>,
    /// Models that are as they were.
    unchanged: Vec<String>,
    /// Models that cannot be used; the versions read before keep answering.
    failed: Vec<FailedModel>,
}

pub(crate) fn data_of(model: &LoadedModel) -> DataEntry {
    let data = &model.scorer.manifest().data;
    DataEntry {
        paths: data.paths.clone(),
        filter: data.filter.clone(),
        fingerprint: data.fingerprint.clone(),
        n_rows_read: data.n_rows_read,
        n_rows: data.n_rows,
        n_holdout: data.n_holdout,
    }
}

fn entry(model: &LoadedModel, shelf: &Shelf) -> ModelEntry {
    let manifest = model.scorer.manifest();
    let reports = model.reports();
    // Plain values always become JSON.
    let value = |value: &dyn ToJson| value.to_json();
    let contrasts: Vec<&String> = match &manifest.roles.dose {
        Some(dose) => vec![dose],
        None => manifest.arms.iter().skip(1).collect(),
    };
    let targets = manifest.outcomes.iter().flat_map(|outcome| {
        contrasts.iter().map(|arm| TargetEntry { outcome: outcome.name.clone(), arm: (*arm).clone() })
    });
    ModelEntry {
        name: model.name.clone(),
        id: manifest.id.clone(),
        active: shelf.active().name == model.name,
        impactiq_version: manifest.impactiq_version.clone(),
        learner: manifest.config.learner.kind.name().to_owned(),
        loaded_at: moment(model.loaded_at),
        outcomes: manifest
            .outcomes
            .iter()
            .map(|outcome| OutcomeEntry { name: outcome.name.clone(), kind: value(&outcome.kind) })
            .collect(),
        arms: manifest.arms.clone(),
        dose: manifest.roles.dose.clone(),
        schema: value(&manifest.schema),
        derived: value(&manifest.derived),
        features: manifest.features.clone(),
        score_columns: model.scorer.columns().iter().map(|column| column.name.clone()).collect(),
        data: data_of(model),
        reports: ReportFlags {
            training: true,
            evaluation: reports.evaluation.is_some(),
            check: reports.check.is_some(),
            profile: reports.profile.is_some(),
        },
        targets: targets.collect(),
    }
}

/// Anything that becomes JSON, behind one closure.
trait ToJson {
    fn to_json(&self) -> Value;
}

impl<T: Serialize> ToJson for T {
    fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// The models of this server.
#[utoipa::path(get, path = "/v1/models", tag = "models", responses((status = 200, description = "All models", body = ModelList)))]
pub(crate) async fn list(State(desk): State<Arc<Desk>>) -> Result<impl IntoResponse, Problem> {
    let made = on_a_thread(move || {
        let shelf = desk.registry.shelf();
        ModelList {
            active: Some(shelf.active().name.clone()),
            previous: shelf.previous.clone(),
            models: shelf.models.iter().map(|model| entry(model, &shelf)).collect(),
        }
    });
    Ok(axum::Json(made.await?))
}

/// One model with its card and configuration.
#[utoipa::path(get, path = "/v1/models/{name}", tag = "models", params(("name" = String, Path, description = "The model")), responses((status = 200, description = "The model", body = ModelDetail), (status = 404, description = "No such model", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn detail(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let shelf = desk.registry.shelf();
    let model = Arc::clone(shelf.find(Some(&name))?);
    let made = on_a_thread(move || ModelDetail {
        entry: entry(&model, &shelf),
        card: model.reports().card.clone(),
        config: model.scorer.manifest().config.to_json(),
    });
    Ok(axum::Json(made.await?))
}

fn now(shelf: &Shelf) -> ActiveModel {
    ActiveModel { active: shelf.active().name.clone(), previous: shelf.previous.clone() }
}

/// Let a model answer requests that name none. No request in flight fails.
#[utoipa::path(post, path = "/v1/models/{name}/promote", tag = "models", params(("name" = String, Path, description = "The model")), responses((status = 200, description = "It answers now", body = ActiveModel), (status = 404, description = "No such model", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn promote(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let shelf = on_a_thread(move || desk.registry.promote(&name)).await??;
    tracing::info!(model = %shelf.active().name, "a model was promoted");
    Ok(axum::Json(now(&shelf)))
}

/// Let the model answer that did before.
#[utoipa::path(post, path = "/v1/models/rollback", tag = "models", responses((status = 200, description = "It answers again", body = ActiveModel), (status = 409, description = "No model answered before", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn rollback(State(desk): State<Arc<Desk>>) -> Result<impl IntoResponse, Problem> {
    let shelf = on_a_thread(move || desk.registry.roll_back()).await??;
    tracing::info!(model = %shelf.active().name, "a model was rolled back to");
    Ok(axum::Json(now(&shelf)))
}

/// Read the model directories again. A broken new version is refused, and the old one keeps answering.
#[utoipa::path(post, path = "/v1/models/refresh", tag = "models", responses((status = 200, description = "What was found", body = RefreshResponse)))]
pub(crate) async fn refresh(State(desk): State<Arc<Desk>>) -> Result<impl IntoResponse, Problem> {
    let for_reading = Arc::clone(&desk);
    let found = on_a_thread(move || for_reading.registry.reread()).await?;
    let mut failed = found.failed;
    let mut new = Vec::new();
    for (index, model) in found.new {
        match desk.lend(&model).await {
            Ok(()) => new.push((index, model)),
            Err(error) => failed.push((model.name.clone(), error.to_string())),
        }
    }
    desk.registry.swap(&new);
    let loaded: Vec<String> = new.iter().map(|(_, model)| model.name.clone()).collect();
    tracing::info!(?loaded, n_failed = failed.len(), "the models were read again");
    Ok(axum::Json(RefreshResponse {
        loaded,
        unchanged: found.unchanged,
        failed: failed.into_iter().map(|(name, detail)| FailedModel { name, detail }).collect(),
    }))
}
