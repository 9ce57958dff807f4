//! `POST /v1/score`: rows in JSON, CSV or Arrow, scores in the same.

use std::fmt;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::buffer::Buffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, Response};
use bytes::Bytes;
use impactiq_io::{CsvRows, JsonRows, RowError, RowsSeed};
use impactiq_score::{RawRows, ScoreError, Scored};
use impactiq_store::Lookup;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::desk::Desk;
use crate::http::answer::{
    Answer, Identity, Question, TypedRows, answer, first_of_each_row, ids_of, in_time, on_a_thread, row_errors,
    typed_json, typed_rows,
};
use crate::http::extract::{Content, ModelQuery, body, check_rows, content, json, json_with, query};
use crate::http::problem::{Code, Problem, ProblemBody};
use crate::http::text::{Cells, ERROR_COLUMN, csv_own, csv_text, error_line};
use crate::live::tick::ModelName;
use crate::metrics::Door;
use crate::registry::LoadedModel;

/// The header in which a server or a client names a request.
pub(crate) const REQUEST_ID: &str = "x-request-id";
/// The header in which CSV and Arrow requests bring their request id.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The header that says that an answer was given before.
pub(crate) const REPLAYED: &str = "idempotent-replayed";

/// The content type of Arrow streams.
const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

/// What scoring may be told in the address.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ScoreQuery {
    /// The model by its name; left out: the active one.
    model: Option<String>,
    /// Not answered before the scores are safely in the log (CSV and Arrow; JSON says so in the body).
    durable: Option<bool>,
}

/// Rows to score.
// Bodies are read by `AskedSeed`; this describes them, and reads them where a look-up adds to whole values.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "the API's description is made of it; where there is a look-up, its rows are used")]
pub(crate) struct ScoreRequest {
    /// Rows: an object of the model's raw columns each. An absent column is a missing value.
    #[schema(value_type = Vec<Object>, example = json!([{"f0": 12.6, "f1": 0.3}]))]
    rows: Vec<Value>,
    /// Your name for this request: a retry under the same name gets the first answer.
    request_id: Option<String>,
    /// Not answered before the scores are safely in the log.
    durable: Option<bool>,
}

/// Scores.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScoreResponse {
    /// The model that answered.
    model: ModelName,
    /// Your name for the request, or the server's.
    request_id: String,
    /// Per row the score columns, or `{"error": {…}}`.
    #[schema(value_type = Vec<Object>, example = json!([{"cate": 0.012, "best_arm": "1"}, {"error": {"column": "f0", "value": "much", "message": "is not a number", "hint": null}}]))]
    scores: Vec<Value>,
}

/// Score rows.
///
/// Body and answer are JSON, CSV (`text/csv`: your columns, then the score columns and
/// `score_error`) or an Arrow stream (`application/vnd.apache.arrow.stream`: the score columns and
/// `score_error`, row for row).
#[utoipa::path(
    post, path = "/v1/score", tag = "scores", params(ScoreQuery),
    request_body(content((ScoreRequest = "application/json"), (String = "text/csv"), (Vec<u8> = "application/vnd.apache.arrow.stream"))),
    responses(
        (status = 200, description = "Scores, one per row, in order", body = ScoreResponse),
        (status = 400, description = "A body that cannot be read", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such model", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The request id was used for another body", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "Too many bytes or rows", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Too much to do, too slow, or no log to write to", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn score(State(desk): State<Arc<Desk>>, request: Request) -> Result<Response<Body>, Problem> {
    let asked: ScoreQuery = query(request.uri())?;
    let model = ModelQuery { model: asked.model }.find(&desk)?;
    let content = content(request.headers())?;
    let names = Names::of(request.headers());
    let bytes = body(&desk, request).await?;
    let began = Instant::now();
    let durable = asked.durable.unwrap_or(false);
    match content {
        Content::Json => in_time(&desk, began, score_json(&desk, model, names, bytes)).await,
        Content::Csv => {
            let question = (Door::Score, model, names.identity(durable, &bytes)?);
            let read = move |model: &LoadedModel| {
                let (csv, rows) = read_csv(model, &bytes)?;
                check_columns(&csv, model).map(|()| (csv, rows))
            };
            let write = |csv: CsvRows, scored: &Scored| Ok(write_csv(&csv, scored));
            in_time(&desk, began, in_columns(&desk, question, (read, write), "text/csv; charset=utf-8")).await
        }
        Content::Arrow => {
            let question = (Door::Score, model, names.identity(durable, &bytes)?);
            let read = move |model: &LoadedModel| read_arrow(model, &bytes).map(|rows| ((), rows));
            let write = |(), scored: &Scored| write_arrow(scored).map_err(|error| Problem::internal(&error));
            in_time(&desk, began, in_columns(&desk, question, (read, write), ARROW_STREAM)).await
        }
    }
}

/// What the headers call a request.
pub(crate) struct Names {
    trace_id: String,
    key: Option<String>,
}

impl Names {
    pub fn of(headers: &HeaderMap) -> Names {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Names { trace_id: text(REQUEST_ID).unwrap_or_default(), key: text(IDEMPOTENCY_KEY) }
    }

    /// The identity of a request that can say its id in a header only.
    pub fn identity(self, durable: bool, body: &[u8]) -> Result<Identity, Problem> {
        Identity::new(self.key, self.trace_id, durable, body)
    }

    /// The identity of one whose body may say it as well.
    pub fn identity_or(self, given: Option<String>, durable: bool, body: &[u8]) -> Result<Identity, Problem> {
        Identity::new(given.or(self.key), self.trace_id, durable, body)
    }
}

async fn score_json(
    desk: &Arc<Desk>,
    model: Arc<LoadedModel>,
    names: Names,
    bytes: Bytes,
) -> Result<Response<Body>, Problem> {
    let Asked { rows, request_id, durable } = json_with(&bytes, AskedSeed::new(desk, &model))?;
    check_rows(desk, rows.n_rows())?;
    let identity = names.identity_or(request_id, durable.unwrap_or(false), &bytes)?;
    let rows = match model.lookup() {
        None => typed_rows(&model, rows)?,
        Some(_) => {
            let twice = rows.doubled();
            drop(rows);
            // A look-up adds to whole values.
            let asked: ScoreRequest = json(&bytes)?;
            let typed = typed_json(&model, asked.rows)?;
            TypedRows { errors: first_of_each_row(twice, typed.errors), ..typed }
        }
    };
    let name = identity.name().to_owned();
    let question = Question { door: Door::Score, model: Arc::clone(&model), rows, identity, wants_texts: true };
    let answer = answer(desk, question).await?;
    let mut out = Vec::with_capacity(128 + answer.texts.len() * 160);
    out.extend_from_slice(b"{\"model\":");
    if answer.is_replay {
        // Writing to a vector cannot fail.
        let _ = serde_json::to_writer(&mut out, &ModelName { name: answer.model_name, id: answer.model_id });
    } else {
        out.extend_from_slice(model.texts().model.as_bytes());
    }
    out.extend_from_slice(b",\"request_id\":");
    let _ = serde_json::to_writer(&mut out, &name);
    out.extend_from_slice(b",\"scores\":");
    answer.texts.list(&mut out);
    out.push(b'}');
    Ok(response(out, "application/json", answer.is_replay))
}

/// What a request in JSON asks: [`ScoreRequest`], its rows already in the model's cells.
struct Asked<'r, 'a> {
    rows: JsonRows<'r, 'a>,
    request_id: Option<String>,
    durable: Option<bool>,
}

/// Reads [`Asked`], its keys in any order.
struct AskedSeed<'r> {
    rows: RowsSeed<'r>,
}

impl<'r> AskedSeed<'r> {
    fn new(desk: &Desk, model: &'r LoadedModel) -> Self {
        // One more than may come, so that too many are noticed.
        AskedSeed { rows: model.reader().rows(desk.limits.max_rows.saturating_add(1)) }
    }
}

impl<'r, 'a> DeserializeSeed<'a> for AskedSeed<'r> {
    type Value = Asked<'r, 'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'r, 'a> Visitor<'a> for AskedSeed<'r> {
    type Value = Asked<'r, 'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with rows")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let (mut rows, mut request_id, mut durable) = (None, None, None);
        while let Some(key) = map.next_key::<AskedKey>()? {
            match key {
                AskedKey::Rows if rows.is_none() => rows = Some(map.next_value_seed(self.rows)?),
                AskedKey::RequestId if request_id.is_none() => request_id = Some(map.next_value()?),
                AskedKey::Durable if durable.is_none() => durable = Some(map.next_value()?),
                AskedKey::Rows => return Err(M::Error::duplicate_field("rows")),
                AskedKey::RequestId => return Err(M::Error::duplicate_field("request_id")),
                AskedKey::Durable => return Err(M::Error::duplicate_field("durable")),
            }
        }
        let rows = rows.ok_or_else(|| M::Error::missing_field("rows"))?;
        Ok(Asked { rows, request_id: request_id.flatten(), durable: durable.flatten() })
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum AskedKey {
    Rows,
    RequestId,
    Durable,
}

/// Answers rows that come and go in columns: reads them and writes the answer on a thread for long work.
pub(crate) async fn in_columns<C: Send + 'static>(
    desk: &Arc<Desk>,
    (door, model, identity): (Door, Arc<LoadedModel>, Identity),
    (read, write): (
        impl FnOnce(&LoadedModel) -> Result<(C, TypedRows), Problem> + Send + 'static,
        impl FnOnce(C, &Scored) -> Result<Vec<u8>, Problem> + Send + 'static,
    ),
    content_type: &'static str,
) -> Result<Response<Body>, Problem> {
    let for_reading = Arc::clone(&model);
    let (carried, rows) = on_a_thread(move || read(&for_reading)).await??;
    check_rows(desk, rows.rows.n_rows())?;
    let Again { scored, is_replay, .. } =
        scored_again(desk, Question { door, model, rows, identity, wants_texts: false }).await?;
    let out = on_a_thread(move || write(carried, &scored)).await??;
    Ok(response(out, content_type, is_replay))
}

/// Refuses a file that has score columns already: each would stand in the answer twice.
fn check_columns(csv: &CsvRows, model: &LoadedModel) -> Result<(), Problem> {
    let own: Vec<&String> = csv.texts.schema_ref().fields().iter().map(|field| field.name()).collect();
    let mut added = model.scorer.columns().iter().map(|column| column.name.as_str()).chain([ERROR_COLUMN]);
    match added.find(|name| own.iter().any(|own| own == name)) {
        Some(twice) => Err(ScoreError::ColumnTwice { column: twice.to_owned() }.into()),
        None => Ok(()),
    }
}

/// The rows of a CSV body, with what a look-up table adds.
pub(crate) fn read_csv(model: &LoadedModel, bytes: &[u8]) -> Result<(CsvRows, TypedRows), Problem> {
    let csv = CsvRows::parse(bytes, model.scorer.schema(), "the body", |_| model.lookup().is_some())?;
    let ids = ids_of(&csv.texts, model.id_column());
    let rows = match model.lookup() {
        None => TypedRows { rows: RawRows::Batch(csv.rows.clone()), errors: csv.errors.clone(), ids },
        Some(lookup) => {
            let (filled, misses) = filled(lookup, &own_columns(&csv, &lookup.state().key))?;
            let (batch, _) = impactiq_io::cast(&filled, model.scorer.schema())?;
            TypedRows { rows: RawRows::Batch(batch), errors: first_of_each_row(misses, csv.errors.clone()), ids }
        }
    };
    Ok((csv, rows))
}

/// The columns that a CSV body brought itself, typed, and the key of the look-up.
fn own_columns(csv: &CsvRows, key: &str) -> RecordBatch {
    let brought = |name: &str| csv.texts.column_by_name(name);
    let typed = csv.rows.schema_ref().fields().iter().zip(csv.rows.columns());
    let mut columns: Vec<(String, ArrayRef)> = typed
        .filter(|(field, _)| brought(field.name()).is_some())
        .map(|(field, array)| (field.name().clone(), Arc::clone(array)))
        .collect();
    if let (None, Some(texts)) = (csv.rows.column_by_name(key), brought(key)) {
        columns.push((key.to_owned(), Arc::clone(texts)));
    }
    // Columns of one length with names of their own always make a batch.
    RecordBatch::try_from_iter(columns).unwrap_or_else(|_| csv.rows.clone())
}

/// Rows with what the look-up table adds; the body's own columns win.
fn filled(lookup: &Lookup, batch: &RecordBatch) -> Result<(RecordBatch, Vec<RowError>), Problem> {
    match lookup.fill_batch(batch) {
        Ok((batch, misses)) => Ok((batch, row_errors(misses))),
        Err(error) => Err(Problem { code: Code::BadRows, detail: error.to_string(), hint: error.hint() }),
    }
}

fn write_csv(csv: &CsvRows, scored: &Scored) -> Vec<u8> {
    let delimiter = csv.delimiter;
    let mut out = Vec::with_capacity(csv.texts.num_rows() * 128);
    for field in csv.texts.schema_ref().fields().iter().chain(scored.batch.schema_ref().fields()) {
        csv_text(field.name(), delimiter, &mut out);
        out.push(delimiter);
    }
    out.extend_from_slice(ERROR_COLUMN.as_bytes());
    out.push(b'\n');
    let cells: Vec<Cells<'_>> = scored.batch.columns().iter().map(Cells::of).collect();
    let mut errors = scored.errors.iter().peekable();
    for row in 0..csv.texts.num_rows() {
        csv_own(&csv.texts, row, delimiter, &mut out);
        for cells in &cells {
            cells.csv(row, delimiter, &mut out);
            out.push(delimiter);
        }
        if let Some(error) = errors.next_if(|error| error.row == row as u64) {
            csv_text(&error_line(error), delimiter, &mut out);
        }
        out.push(b'\n');
    }
    out
}

/// Reads an Arrow stream out of the bytes that are there: lengths that a stream only claims
/// to have allocate nothing.
fn read_arrow(model: &LoadedModel, bytes: &Bytes) -> Result<TypedRows, Problem> {
    let wrong = |detail: String| {
        Problem::new(
            Code::BadRows,
            format!("the Arrow stream cannot be read: {detail}"),
            "send an IPC stream, without compression",
        )
    };
    let mut buffer = Buffer::from(bytes.clone());
    let mut decoder = StreamDecoder::new();
    let mut batches: Vec<RecordBatch> = Vec::new();
    while !buffer.is_empty() {
        match decoder.decode(&mut buffer) {
            Ok(Some(batch)) => batches.push(batch),
            Ok(None) => {}
            Err(error) => return Err(wrong(error.to_string())),
        }
    }
    decoder.finish().map_err(|error| wrong(error.to_string()))?;
    let Some(first) = batches.first() else { return Err(wrong("it has no rows".into())) };
    let whole = concat_batches(&first.schema(), &batches).map_err(|error| wrong(error.to_string()))?;
    let (whole, misses) = match model.lookup() {
        Some(lookup) => filled(lookup, &whole)?,
        None => (whole, Vec::new()),
    };
    let (batch, errors) = impactiq_io::cast(&whole, model.scorer.schema())?;
    let ids = ids_of(&whole, model.id_column());
    Ok(TypedRows { rows: RawRows::Batch(batch), errors: first_of_each_row(misses, errors), ids })
}

fn write_arrow(scored: &Scored) -> Result<Vec<u8>, arrow::error::ArrowError> {
    let mut fields: Vec<Arc<Field>> = scored.batch.schema_ref().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(ERROR_COLUMN, DataType::Utf8, true)));
    let mut texts: Vec<Option<String>> = vec![None; scored.batch.num_rows()];
    for error in &scored.errors {
        texts[error.row as usize] = Some(error_line(error));
    }
    let mut columns: Vec<ArrayRef> = scored.batch.columns().to_vec();
    columns.push(Arc::new(texts.into_iter().collect::<StringArray>()));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let mut out = Cursor::new(Vec::new());
    let mut writer = StreamWriter::try_new(&mut out, batch.schema_ref())?;
    writer.write(&batch)?;
    writer.finish()?;
    drop(writer);
    Ok(out.into_inner())
}

/// An answer with its columns.
pub(crate) struct Again {
    pub model_name: String,
    pub model_id: String,
    pub scored: Scored,
    pub is_replay: bool,
}

/// Answers with columns. Where the log has the answer already, the model that gave it scores
/// the same rows again, which gives the same bits.
pub(crate) async fn scored_again(desk: &Arc<Desk>, question: Question) -> Result<Again, Problem> {
    let asked = Arc::clone(&question.model);
    let (rows, errors) = (question.rows.rows.clone(), question.rows.errors.clone());
    let Answer { model_name, model_id, scored, is_replay, .. } = answer(desk, question).await?;
    let scored = match scored {
        Some(scored) => asked.scorer.columns_of(scored)?,
        None => {
            let shelf = desk.registry.shelf();
            let Some(model) = shelf.models.iter().find(|model| model.id() == model_id).cloned() else {
                return Err(Problem::new(
                    Code::IdTaken,
                    format!("this request was answered by the model {model_id}, which is no longer here"),
                    "look its scores up in /v1/scores, or send the rows under a new id",
                ));
            };
            on_a_thread(move || {
                let (scored, _) = model.scorer.answer(rows, errors)?;
                model.scorer.columns_of(scored)
            })
            .await??
        }
    };
    Ok(Again { model_name, model_id, scored, is_replay })
}

/// A good answer.
pub(crate) fn response(body: Vec<u8>, content_type: &'static str, is_replay: bool) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if is_replay {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// A score column of numbers, by name.
pub(crate) fn numbers(scored: &Scored, name: &str) -> Option<Vec<Option<f64>>> {
    let array = scored.batch.column_by_name(name)?;
    let values = array.as_primitive_opt::<arrow::datatypes::Float64Type>()?;
    Some((0..values.len()).map(|row| values.is_valid(row).then(|| values.value(row))).collect())
}
