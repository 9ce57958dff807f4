//! The Open Inference Protocol (version 2): tensors in, tensors out, one tensor per column.
//!
//! Tensors become rows and go the way of all rows. A missing value is `null` in `data`.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::Response;
use axum::response::IntoResponse;
use impactiq_data::RawType;
use impactiq_score::ScoreValue;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value, json};
use utoipa::ToSchema;

use crate::desk::{Desk, Stage};
use crate::http::answer::{Question, in_time, typed_json};
use crate::http::extract::{ModelQuery, body, check_rows, json as read_json};
use crate::http::problem::{Code, Problem, ProblemBody};
use crate::http::score::{Again, Names, response, scored_again};
use crate::http::text::{ERROR_COLUMN, error_line};
use crate::metrics::Door;
use crate::registry::LoadedModel;

/// A tensor: one column.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Tensor {
    /// The column.
    name: String,
    /// `[n]` or `[n, 1]`.
    shape: Vec<usize>,
    /// `FP64`, `FP32`, `INT64`, `INT32`, `BOOL`, `BYTES` …
    datatype: String,
    /// The values, flat or nested as the shape says.
    #[schema(value_type = Vec<Object>)]
    data: Vec<Value>,
    /// Left alone.
    #[serde(default, skip_serializing)]
    #[allow(dead_code, reason = "the protocol allows it, and it says nothing to a table of columns")]
    #[schema(value_type = Option<Object>)]
    parameters: Option<Value>,
}

/// An output that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct WantedOutput {
    /// The score column.
    name: String,
}

/// A request of the protocol.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct InferRequest {
    /// Your name for the request: a retry under the same name gets the first answer.
    id: Option<String>,
    /// One tensor per column.
    inputs: Vec<Tensor>,
    /// The outputs wanted; left out: all.
    outputs: Option<Vec<WantedOutput>>,
    /// Left alone.
    #[allow(dead_code, reason = "the protocol allows it")]
    #[schema(value_type = Option<Object>)]
    parameters: Option<Value>,
}

/// An answer of the protocol.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InferResponse {
    /// The model.
    model_name: String,
    /// The id of its content.
    model_version: String,
    /// The request's id.
    id: String,
    /// One tensor per score column, and `score_error`.
    outputs: Vec<Tensor>,
}

/// A tensor without its data.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TensorShape {
    /// The column.
    name: String,
    /// Its type.
    datatype: String,
    /// `[-1]`: as many as there are rows.
    shape: Vec<i64>,
}

/// What a model takes and gives.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelMetadata {
    /// Its name.
    name: String,
    /// The id of its content.
    versions: Vec<String>,
    /// Always `impactiq`.
    platform: String,
    /// Raw columns.
    inputs: Vec<TensorShape>,
    /// Score columns.
    outputs: Vec<TensorShape>,
}

/// What this server is, in the protocol's words.
#[utoipa::path(get, path = "/v2", tag = "open inference protocol", responses((status = 200, description = "Name and version", body = Object)))]
pub(crate) async fn server_metadata() -> impl IntoResponse {
    axum::Json(json!({"name": "impactiq", "version": env!("CARGO_PKG_VERSION"), "extensions": []}))
}

/// Alive?
#[utoipa::path(get, path = "/v2/health/live", tag = "open inference protocol", responses((status = 200, description = "The process answers", body = Object)))]
pub(crate) async fn live() -> impl IntoResponse {
    axum::Json(json!({"live": true}))
}

/// Ready?
#[utoipa::path(get, path = "/v2/health/ready", tag = "open inference protocol", responses((status = 200, description = "Requests are answered", body = Object), (status = 503, description = "Not yet, or no longer", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn ready(State(desk): State<Arc<Desk>>) -> Result<impl IntoResponse, Problem> {
    is_ready(&desk)?;
    Ok(axum::Json(json!({"ready": true})))
}

/// Whether requests are answered.
pub(crate) fn is_ready(desk: &Desk) -> Result<(), Problem> {
    match desk.stage() {
        Stage::Ready => Ok(()),
        stage => Err(Problem::new(
            Code::Busy,
            if stage == Stage::Starting { "the server is starting" } else { "the server is stopping" },
            "ask again in a moment, or ask another server",
        )),
    }
}

fn find(desk: &Desk, name: String, version: Option<&str>) -> Result<Arc<LoadedModel>, Problem> {
    let model = ModelQuery { model: Some(name) }.find(desk)?;
    match version {
        Some(version) if version != model.id() => Err(Problem::new(
            Code::UnknownModel,
            format!("the model '{}' is of version {}, not '{version}'", model.name, model.id()),
            "leave the version out to ask the one that is here",
        )),
        _ => Ok(model),
    }
}

fn metadata(model: &LoadedModel) -> ModelMetadata {
    let shape = |name: &str, datatype: &str| TensorShape {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: vec![-1],
    };
    let inputs = model.scorer.schema().fields().iter().map(|field| shape(&field.name, datatype(field.raw_type)));
    let outputs = model
        .scorer
        .columns()
        .iter()
        .map(|column| shape(&column.name, if column.value == ScoreValue::BestArm { "BYTES" } else { "FP64" }));
    ModelMetadata {
        name: model.name.clone(),
        versions: vec![model.id().to_owned()],
        platform: "impactiq".into(),
        inputs: inputs.collect(),
        outputs: outputs.chain([shape(ERROR_COLUMN, "BYTES")]).collect(),
    }
}

fn datatype(raw: RawType) -> &'static str {
    match raw {
        RawType::Boolean => "BOOL",
        RawType::Integer => "INT64",
        RawType::Float32 => "FP32",
        RawType::Float64 => "FP64",
        RawType::Text | RawType::Date | RawType::Timestamp => "BYTES",
    }
}

/// What a model takes and gives.
#[utoipa::path(get, path = "/v2/models/{name}", tag = "open inference protocol", params(("name" = String, Path, description = "The model")), responses((status = 200, description = "Inputs and outputs", body = ModelMetadata), (status = 404, description = "No such model", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn model(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    Ok(axum::Json(metadata(&*find(&desk, name, None)?)))
}

/// What a version of a model takes and gives.
#[utoipa::path(get, path = "/v2/models/{name}/versions/{version}", tag = "open inference protocol", params(("name" = String, Path, description = "The model"), ("version" = String, Path, description = "The id of its content")), responses((status = 200, description = "Inputs and outputs", body = ModelMetadata), (status = 404, description = "No such model", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn model_version(
    State(desk): State<Arc<Desk>>,
    Path((name, version)): Path<(String, String)>,
) -> Result<impl IntoResponse, Problem> {
    Ok(axum::Json(metadata(&*find(&desk, name, Some(&version))?)))
}

/// Is a model ready?
#[utoipa::path(get, path = "/v2/models/{name}/ready", tag = "open inference protocol", params(("name" = String, Path, description = "The model")), responses((status = 200, description = "It answers", body = Object), (status = 404, description = "No such model", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn model_ready(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let model = find(&desk, name, None)?;
    is_ready(&desk)?;
    Ok(axum::Json(json!({"name": model.name, "ready": true})))
}

/// Is a version of a model ready?
#[utoipa::path(get, path = "/v2/models/{name}/versions/{version}/ready", tag = "open inference protocol", params(("name" = String, Path, description = "The model"), ("version" = String, Path, description = "The id of its content")), responses((status = 200, description = "It answers", body = Object), (status = 404, description = "No such model", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn model_version_ready(
    State(desk): State<Arc<Desk>>,
    Path((name, version)): Path<(String, String)>,
) -> Result<impl IntoResponse, Problem> {
    let model = find(&desk, name, Some(&version))?;
    is_ready(&desk)?;
    Ok(axum::Json(json!({"name": model.name, "ready": true})))
}

/// Score tensors.
#[utoipa::path(post, path = "/v2/models/{name}/infer", tag = "open inference protocol", params(("name" = String, Path, description = "The model")), request_body = InferRequest, responses((status = 200, description = "Score tensors", body = InferResponse), (status = 400, description = "Tensors that make no rows", body = ProblemBody, content_type = "application/problem+json"), (status = 404, description = "No such model", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn infer(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let model = find(&desk, name, None)?;
    inferred(desk, model, request).await
}

/// Score tensors with a version of a model.
#[utoipa::path(post, path = "/v2/models/{name}/versions/{version}/infer", tag = "open inference protocol", params(("name" = String, Path, description = "The model"), ("version" = String, Path, description = "The id of its content")), request_body = InferRequest, responses((status = 200, description = "Score tensors", body = InferResponse), (status = 400, description = "Tensors that make no rows", body = ProblemBody, content_type = "application/problem+json"), (status = 404, description = "No such model", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn infer_version(
    State(desk): State<Arc<Desk>>,
    Path((name, version)): Path<(String, String)>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let model = find(&desk, name, Some(&version))?;
    inferred(desk, model, request).await
}

async fn inferred(desk: Arc<Desk>, model: Arc<LoadedModel>, request: Request) -> Result<Response<Body>, Problem> {
    let names = Names::of(request.headers());
    let bytes = body(&desk, request).await?;
    let began = Instant::now();
    let asked: InferRequest = read_json(&bytes)?;
    let identity = names.identity_or(asked.id, false, &bytes)?;
    let id = identity.name().to_owned();
    let rows = rows_of(asked.inputs, |n| check_rows(&desk, n))?;
    let rows = typed_json(&model, rows)?;
    let question = Question { door: Door::Infer, model, rows, identity, wants_texts: false };
    let answered = in_time(&desk, began, scored_again(&desk, question)).await?;
    let is_replay = answered.is_replay;
    let answer = tensors(answered, id, asked.outputs)?;
    let text = serde_json::to_vec(&answer).map_err(|error| Problem::internal(&error))?;
    Ok(response(text, "application/json", is_replay))
}

/// Rows of tensors of one length.
fn rows_of(inputs: Vec<Tensor>, check: impl Fn(usize) -> Result<(), Problem>) -> Result<Vec<Value>, Problem> {
    let wrong =
        |detail: String| Problem::new(Code::BadTensor, detail, "one tensor per column, all of the shape [n] or [n, 1]");
    let Some(first) = inputs.first() else { return Err(wrong("there are no inputs".into())) };
    let n_rows = first.shape.first().copied().unwrap_or(0);
    check(n_rows)?;
    let mut rows: Vec<Map<String, Value>> = Vec::new();
    for (index, tensor) in inputs.into_iter().enumerate() {
        let Tensor { name, shape, datatype, data, .. } = tensor;
        if !matches!(shape.as_slice(), [n] | [n, 1] if *n == n_rows) {
            return Err(wrong(format!("'{name}' has the shape {shape:?} where [{n_rows}] is expected")));
        }
        let data = flat(data);
        if data.len() != n_rows {
            return Err(wrong(format!("'{name}' has {} values and the shape {shape:?}", data.len())));
        }
        if index == 0 {
            rows = vec![Map::new(); n_rows];
        }
        for (row, value) in rows.iter_mut().zip(data) {
            let value = element(value, &datatype)
                .map_err(|what| wrong(format!("'{name}' is of the type {datatype}, {what}")))?;
            if row.insert(name.clone(), value).is_some() {
                return Err(wrong(format!("there are two inputs '{name}'")));
            }
        }
    }
    Ok(rows.into_iter().map(Value::Object).collect())
}

/// `[[1], [2]]` as `[1, 2]`.
fn flat(data: Vec<Value>) -> Vec<Value> {
    if !data.iter().any(Value::is_array) {
        return data;
    }
    data.into_iter()
        .flat_map(|value| match value {
            Value::Array(inner) => inner,
            other => vec![other],
        })
        .collect()
}

fn element(value: Value, datatype: &str) -> Result<Value, String> {
    if value.is_null() {
        return Ok(value);
    }
    let fits = match datatype {
        "FP64" => value.is_number(),
        "FP32" | "FP16" => {
            // The nearest number of 32 bits, which is what the caller's tensor held.
            let number = value.as_f64().and_then(|number| Number::from_f64(f64::from(number as f32)));
            return number.map(Value::Number).ok_or_else(|| "and a value is no number of it".into());
        }
        "INT64" | "INT32" | "INT16" | "INT8" => value.is_i64(),
        "UINT64" | "UINT32" | "UINT16" | "UINT8" => value.is_u64(),
        "BOOL" => value.is_boolean(),
        "BYTES" => value.is_string(),
        _ => return Err("which is not understood".into()),
    };
    if fits { Ok(value) } else { Err("and a value is not".into()) }
}

fn tensors(answered: Again, id: String, wanted: Option<Vec<WantedOutput>>) -> Result<InferResponse, Problem> {
    let Again { model_name, model_id, scored, .. } = answered;
    let n_rows = scored.batch.num_rows();
    let mut outputs: Vec<Tensor> = Vec::new();
    let tensor = |name: &str, datatype: &str, data: Vec<Value>| Tensor {
        name: name.to_owned(),
        shape: vec![n_rows],
        datatype: datatype.to_owned(),
        data,
        parameters: None,
    };
    for (field, array) in scored.batch.schema_ref().fields().iter().zip(scored.batch.columns()) {
        let data = (0..n_rows).map(|row| impactiq_io::json_value(array, row)).collect();
        let datatype = if field.data_type().is_numeric() { "FP64" } else { "BYTES" };
        outputs.push(tensor(field.name(), datatype, data));
    }
    let mut errors = vec![Value::Null; n_rows];
    for error in &scored.errors {
        errors[error.row as usize] = error_line(error).into();
    }
    outputs.push(tensor(ERROR_COLUMN, "BYTES", errors));
    if let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) {
        let known = outputs.iter().map(|output| output.name.clone()).collect::<Vec<_>>().join(", ");
        let mut by_name: Vec<Option<Tensor>> = outputs.into_iter().map(Some).collect();
        let mut take = |name: &str| {
            by_name.iter_mut().find(|output| output.as_ref().is_some_and(|output| output.name == name))?.take()
        };
        let chosen: Result<Vec<Tensor>, Problem> = wanted
            .iter()
            .map(|output| {
                take(&output.name).ok_or_else(|| {
                    Problem::new(
                        Code::BadTensor,
                        format!("there is no output '{}', or it is asked for twice", output.name),
                        format!("the outputs are {known}"),
                    )
                })
            })
            .collect();
        outputs = chosen?;
    }
    Ok(InferResponse { model_name, model_version: model_id, id, outputs })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, shape: &[usize], datatype: &str, data: Value) -> Tensor {
        serde_json::from_value(json!({"name": name, "shape": shape, "datatype": datatype, "data": data})).unwrap()
    }

    #[test]
    fn tensors_of_one_length_make_rows() {
        let inputs = vec![
            tensor("x", &[2], "FP32", json!([0.1, null])),
            tensor("city", &[2, 1], "BYTES", json!([["a"], ["b"]])),
        ];
        let rows = rows_of(inputs, |_| Ok(())).unwrap();
        assert_eq!(rows, [json!({"x": f64::from(0.1f32), "city": "a"}), json!({"x": null, "city": "b"})]);
    }

    #[test]
    fn tensors_that_do_not_fit_are_refused() {
        let code = |inputs: Vec<Tensor>| rows_of(inputs, |_| Ok(())).unwrap_err().code;
        assert_eq!(code(vec![]), Code::BadTensor);
        for (shape, datatype, data) in [
            (vec![3], "FP64", json!([1.0])),
            (vec![1, 2], "FP64", json!([1.0, 2.0])),
            (vec![1], "FP64", json!(["a"])),
            (vec![1], "INT64", json!([1.5])),
            (vec![1], "BOOL", json!([1])),
            (vec![1], "COMPLEX", json!([1])),
            (vec![usize::MAX], "FP64", json!([1.0])),
        ] {
            assert_eq!(code(vec![tensor("x", &shape, datatype, data)]), Code::BadTensor);
        }
        let twice = || tensor("x", &[1], "FP64", json!([1.0]));
        assert_eq!(code(vec![twice(), twice()]), Code::BadTensor);
    }
}
