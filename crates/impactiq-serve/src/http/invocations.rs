//! MLflow's door: `/invocations` in each of its four JSON shapes and in CSV, `/ping`, `/version`.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use axum::response::IntoResponse;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::desk::Desk;
use crate::http::answer::{Question, TypedRows, answer, in_time, on_a_thread, typed_json};
use crate::http::extract::{Content, ModelQuery, body, check_rows, content, json, query, unknown_content};
use crate::http::infer::is_ready;
use crate::http::problem::{Code, Problem, ProblemBody};
use crate::http::score::{Names, read_csv, response};
use crate::metrics::Door;
use crate::registry::LoadedModel;

/// A table as pandas writes it with `orient="split"`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct Split {
    /// Names of the columns.
    columns: Vec<String>,
    /// Rows.
    #[schema(value_type = Vec<Vec<Object>>)]
    data: Vec<Vec<Value>>,
    /// Left alone.
    #[allow(dead_code, reason = "pandas sends it, and rows keep their order without it")]
    #[schema(value_type = Option<Vec<Object>>)]
    index: Option<Value>,
}

/// Exactly one of the shapes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InvocationsRequest {
    /// `{"columns": […], "data": [[…]]}`
    dataframe_split: Option<Split>,
    /// `[{…}]`
    #[schema(value_type = Option<Vec<Object>>)]
    dataframe_records: Option<Vec<Value>>,
    /// `[{…}]`
    #[schema(value_type = Option<Vec<Object>>)]
    instances: Option<Vec<Value>>,
    /// `[{…}]` or `{"column": […]}`
    #[schema(value_type = Option<Object>)]
    inputs: Option<Value>,
    /// Left alone.
    #[allow(dead_code, reason = "MLflow sends it, and this model takes none")]
    #[schema(value_type = Option<Object>)]
    params: Option<Value>,
}

/// MLflow's answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvocationsResponse {
    /// Per row the score columns, or `{"error": {…}}`.
    #[schema(value_type = Vec<Object>)]
    predictions: Vec<Value>,
}

/// Score rows the way MLflow's clients ask.
#[utoipa::path(post, path = "/invocations", tag = "mlflow", params(ModelQuery), request_body(content((InvocationsRequest = "application/json"), (String = "text/csv"))), responses((status = 200, description = "Scores, one per row, in order", body = InvocationsResponse), (status = 400, description = "A body that cannot be read", body = ProblemBody, content_type = "application/problem+json"), (status = 404, description = "No such model", body = ProblemBody, content_type = "application/problem+json"), (status = 413, description = "Too many bytes or rows", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn invocations(State(desk): State<Arc<Desk>>, request: Request) -> Result<Response<Body>, Problem> {
    let model = query::<ModelQuery>(request.uri())?.find(&desk)?;
    let content = content(request.headers())?;
    let names = Names::of(request.headers());
    let bytes = body(&desk, request).await?;
    let began = Instant::now();
    let identity = names.identity(false, &bytes)?;
    let rows = match content {
        Content::Json => read_json(&desk, &model, &bytes)?,
        Content::Csv => {
            let model = Arc::clone(&model);
            on_a_thread(move || read_csv(&model, &bytes)).await??.1
        }
        Content::Arrow => return Err(unknown_content("application/vnd.apache.arrow.stream")),
    };
    check_rows(&desk, rows.rows.n_rows())?;
    let question = Question { door: Door::Invocations, model, rows, identity, wants_texts: true };
    let answer = in_time(&desk, began, answer(&desk, question)).await?;
    let mut out = Vec::with_capacity(32 + answer.texts.len() * 160);
    out.extend_from_slice(b"{\"predictions\":");
    answer.texts.list(&mut out);
    out.push(b'}');
    Ok(response(out, "application/json", answer.is_replay))
}

fn read_json(desk: &Desk, model: &LoadedModel, bytes: &Bytes) -> Result<TypedRows, Problem> {
    let rows = rows_of(json(bytes)?)?;
    check_rows(desk, rows.len())?;
    typed_json(model, rows)
}

fn rows_of(asked: InvocationsRequest) -> Result<Vec<Value>, Problem> {
    let wrong = |detail: &str| {
        Problem::new(
            Code::BadJson,
            detail,
            "send exactly one of dataframe_split, dataframe_records, instances and inputs",
        )
    };
    match (asked.dataframe_split, asked.dataframe_records, asked.instances, asked.inputs) {
        (Some(split), None, None, None) => of_split(split).map_err(|detail| wrong(&detail)),
        (None, Some(rows), None, None) | (None, None, Some(rows), None) => Ok(rows),
        (None, None, None, Some(Value::Array(rows))) => Ok(rows),
        (None, None, None, Some(Value::Object(columns))) => of_columns(columns).map_err(|detail| wrong(&detail)),
        (None, None, None, Some(_)) => Err(wrong("inputs is neither a list of rows nor an object of columns")),
        (None, None, None, None) => Err(wrong("there are no rows")),
        _ => Err(wrong("there is more than one table")),
    }
}

fn of_split(split: Split) -> Result<Vec<Value>, String> {
    let Split { columns, data, .. } = split;
    data.into_iter()
        .enumerate()
        .map(|(index, values)| {
            if values.len() != columns.len() {
                return Err(format!(
                    "row {} has {} values and there are {} columns",
                    index + 1,
                    values.len(),
                    columns.len()
                ));
            }
            Ok(Value::Object(columns.iter().cloned().zip(values).collect()))
        })
        .collect()
}

fn of_columns(columns: Map<String, Value>) -> Result<Vec<Value>, String> {
    let mut rows: Option<Vec<Map<String, Value>>> = None;
    for (name, values) in columns {
        let Value::Array(values) = values else { return Err(format!("'{name}' is not a list")) };
        let rows = rows.get_or_insert_with(|| vec![Map::new(); values.len()]);
        if values.len() != rows.len() {
            return Err(format!("'{name}' has {} values and the columns before have {}", values.len(), rows.len()));
        }
        rows.iter_mut().zip(values).for_each(|(row, value)| {
            row.insert(name.clone(), value);
        });
    }
    Ok(rows.unwrap_or_default().into_iter().map(Value::Object).collect())
}

/// Ready, in MLflow's words?
#[utoipa::path(get, path = "/ping", tag = "mlflow", responses((status = 200, description = "Requests are answered"), (status = 503, description = "Not yet, or no longer", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn ping(State(desk): State<Arc<Desk>>) -> Result<impl IntoResponse, Problem> {
    is_ready(&desk)?;
    Ok("\n")
}

/// The version of the program.
#[utoipa::path(get, path = "/version", tag = "mlflow", responses((status = 200, description = "The version", body = String, content_type = "text/plain")))]
pub(crate) async fn version() -> impl IntoResponse {
    env!("CARGO_PKG_VERSION")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_of_the_shapes_makes_the_same_rows() {
        let wanted = [json!({"a": 1, "b": "x"}), json!({"a": null, "b": "y"})];
        for body in [
            json!({"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"], [null, "y"]], "index": [0, 1]}}),
            json!({"dataframe_records": wanted}),
            json!({"instances": wanted, "params": {}}),
            json!({"inputs": wanted}),
            json!({"inputs": {"a": [1, null], "b": ["x", "y"]}}),
        ] {
            assert_eq!(rows_of(serde_json::from_value(body).unwrap()).unwrap(), wanted);
        }
    }

    #[test]
    fn other_shapes_are_refused() {
        for body in [
            json!({}),
            json!({"inputs": 3}),
            json!({"inputs": {"a": [1], "b": [1, 2]}}),
            json!({"inputs": {"a": 1}}),
            json!({"inputs": [], "instances": []}),
            json!({"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}),
        ] {
            assert_eq!(rows_of(serde_json::from_value(body).unwrap()).unwrap_err().code, Code::BadJson);
        }
    }
}
