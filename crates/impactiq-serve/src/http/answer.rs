//! The one way from rows to scores: cast, score, remember, count. Every door goes through here, so a
//! row gets the same bits, the same log entry and the same place in the figures at each of them.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use impactiq_data::Table;
use impactiq_io::{JsonRows, RowError, json_rows_to_batch};
use impactiq_score::{RawRows, ScoreError, ScoreValue, ScoredRows};
use impactiq_store::{Door as LogDoor, LoggedRequest, LoggedRow, Miss, Recorded, ScoreLog, Seen};
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::desk::Desk;
use crate::http::problem::{Code, Problem};
use crate::http::text::RowTexts;
use crate::live::tick::Recent;
use crate::metrics::Door;
use crate::registry::LoadedModel;

/// Rows up to here are scored where they came in; more are handed to a thread for long work,
/// so that nobody else waits behind them.
const INLINE_ROWS: usize = 64;
/// The name a request may be given.
const MAX_ID_BYTES: usize = 200;

/// Rows in a model's raw types.
#[derive(Debug)]
pub(crate) struct TypedRows {
    pub rows: RawRows,
    pub errors: Vec<RowError>,
    /// What the caller calls each row; empty when the rows have no names.
    pub ids: Vec<Option<String>>,
}

/// A request for scores.
pub(crate) struct Question {
    pub door: Door,
    pub model: Arc<LoadedModel>,
    pub rows: TypedRows,
    pub identity: Identity,
    /// True where the answer is made of the rows' JSON texts.
    pub wants_texts: bool,
}

/// How a request is known again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    /// The caller's name for the request; a second one of this name is answered as the first.
    pub request_id: Option<String>,
    /// The name the server gave it, when the caller gave none.
    pub trace_id: String,
    /// The body, to tell a retry from another request.
    pub body_sha256: Option<[u8; 32]>,
    /// True: not answered before the scores are safe.
    pub durable: bool,
}

impl Identity {
    /// The identity of a request with this body.
    ///
    /// # Errors
    /// [`Code::BadParameter`] for a name that is empty or endless.
    pub fn new(request_id: Option<String>, trace_id: String, durable: bool, body: &[u8]) -> Result<Self, Problem> {
        if let Some(id) = &request_id
            && (id.is_empty() || id.len() > MAX_ID_BYTES || id.chars().any(char::is_control))
        {
            return Err(Problem::new(
                Code::BadParameter,
                format!("a request id has 1 to {MAX_ID_BYTES} bytes and no control characters"),
                "a UUID is a good request id",
            ));
        }
        let body_sha256 = request_id.as_ref().map(|_| Sha256::digest(body).into());
        Ok(Identity { request_id, trace_id, body_sha256, durable })
    }

    /// The name that answer and log carry.
    pub fn name(&self) -> &str {
        self.request_id.as_deref().unwrap_or(&self.trace_id)
    }
}

/// What a request is answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub model_name: String,
    pub model_id: String,
    /// The scores; `None` when the texts come from the log.
    pub scored: Option<ScoredRows>,
    pub texts: RowTexts,
    /// True when the request was answered before, and this is the same answer.
    pub is_replay: bool,
}

/// Rows that were read out of a JSON body, in a model's raw types.
pub(crate) fn typed_rows(model: &LoadedModel, rows: JsonRows<'_, '_>) -> Result<TypedRows, Problem> {
    let ids = rows.ids();
    let (rows, errors) = model.scorer.typed(rows)?;
    Ok(TypedRows { rows, errors, ids })
}

/// JSON rows in a model's raw types.
pub(crate) fn typed_json(model: &LoadedModel, mut rows: Vec<Value>) -> Result<TypedRows, Problem> {
    let misses = match model.lookup() {
        Some(lookup) => row_errors(lookup.fill(&mut rows).map_err(|error| Problem::internal(&error))?),
        None => Vec::new(),
    };
    let (batch, cast_errors) = json_rows_to_batch(&rows, model.scorer.schema())?;
    let id = model.id_column();
    let ids = match rows.iter().any(|row| row.get(id).is_some()) {
        false => Vec::new(),
        true => rows
            .iter()
            .map(|row| match row.get(id)? {
                Value::String(text) => Some(text.clone()),
                number @ Value::Number(_) => Some(number.to_string()),
                _ => None,
            })
            .collect(),
    };
    Ok(TypedRows { rows: RawRows::Batch(batch), errors: first_of_each_row(misses, cast_errors), ids })
}

/// Rows that the look-up table does not know, as errors of rows.
pub(crate) fn row_errors(misses: Vec<Miss>) -> Vec<RowError> {
    let reason = |miss: &Miss| match miss.value {
        Some(_) => "is not in the look-up table",
        None => "is missing, and so are columns that it would be looked up for",
    };
    misses
        .into_iter()
        .map(|miss| RowError {
            row: miss.row as u64,
            reason: reason(&miss).to_owned(),
            column: miss.column,
            value: miss.value.unwrap_or_default(),
        })
        .collect()
}

/// The errors of rows, at most one each; the first list speaks first.
pub(crate) fn first_of_each_row(first: Vec<RowError>, second: Vec<RowError>) -> Vec<RowError> {
    if first.is_empty() {
        return second;
    }
    let mut errors = first;
    errors.extend(second);
    errors.sort_by_key(|error| error.row);
    errors.dedup_by_key(|error| error.row);
    errors
}

/// The names of rows in a column of a batch.
pub(crate) fn ids_of(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let Some(array) = batch.column_by_name(column) else { return Vec::new() };
    let Ok(texts) = cast(array, &DataType::Utf8) else { return Vec::new() };
    let texts = texts.as_string::<i32>();
    (0..texts.len()).map(|row| texts.is_valid(row).then(|| texts.value(row).to_owned())).collect()
}

/// Answers a question, or the same as before to one that was asked before.
pub(crate) async fn answer(desk: &Arc<Desk>, question: Question) -> Result<Answer, Problem> {
    let Question { door, model, rows, identity, wants_texts } = question;
    let received = OffsetDateTime::now_utc();
    if let (Some(id), Some(log)) = (&identity.request_id, &desk.log)
        && let Some(seen) = log.find(id).await?
    {
        return again(seen, &identity);
    }
    let n_rows = rows.rows.n_rows();
    let wants_texts = wants_texts || desk.log.is_some();
    let Done { scored, texts, ids } = if n_rows <= INLINE_ROWS {
        // No turn is asked for: nobody who has a few rows waits for those who have many.
        on_this_thread(|| Work { desk, door, model: &model }.score(rows, wants_texts))?
    } else {
        let permit = desk.gate.enter().await.ok_or_else(Problem::busy)?;
        let (desk, model) = (Arc::clone(desk), Arc::clone(&model));
        on_a_thread(move || {
            let _permit = permit;
            Work { desk: &desk, door, model: &model }.score(rows, wants_texts)
        })
        .await??
    };
    if let Some(log) = &desk.log {
        let request = logged(&model, door, &identity, received, (&scored, &texts, ids));
        if let Some(seen) = remember(log, request, &identity, desk.log_is_durable()).await? {
            return again(seen, &identity);
        }
    }
    Ok(Answer {
        model_name: model.name.clone(),
        model_id: model.id().to_owned(),
        scored: Some(scored),
        texts,
        is_replay: false,
    })
}

thread_local! {
    /// Makes this thread a pool of its own, so that parallel loops over a few rows stay here: to wake
    /// another thread costs more than such a row does.
    static ALONE: Option<rayon::ThreadPool> =
        rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().ok();
}

/// Runs short work where it came in.
fn on_this_thread<T>(work: impl FnOnce() -> T) -> T {
    ALONE.with(|_| work())
}

/// Runs long work where it may take its time.
///
/// # Errors
/// [`Code::Internal`] when it panics.
pub(crate) async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal(&error))
}

struct Done {
    scored: ScoredRows,
    texts: RowTexts,
    ids: Vec<Option<String>>,
}

struct Work<'a> {
    desk: &'a Desk,
    door: Door,
    model: &'a LoadedModel,
}

impl Work<'_> {
    fn score(&self, rows: TypedRows, wants_texts: bool) -> Result<Done, ScoreError> {
        let TypedRows { rows, errors, ids } = rows;
        let (scored, raw) = self.model.scorer.answer(rows, errors)?;
        self.count(&scored, &raw);
        if scored.n_rows() > 0 {
            self.desk.live.show(|| self.recent(&scored, &ids));
        }
        let columns = self.model.scorer.columns();
        let texts = if wants_texts { RowTexts::of(&scored, columns, self.model.texts()) } else { RowTexts::none() };
        Ok(Done { scored, texts, ids })
    }

    fn count(&self, scored: &ScoredRows, raw: &Table) {
        let n_rows = scored.n_rows() as u64;
        self.desk.live.scored(n_rows);
        self.desk.metrics.scored(self.door, n_rows, scored.errors().len() as u64);
        if let Some(drift) = &self.model.drift {
            let errors = scored.errors();
            drift.observe(raw, |row| errors.binary_search_by_key(&(row as u64), |error| error.row).is_err());
        }
    }

    /// The first row of a request, for the live page.
    fn recent(&self, scored: &ScoredRows, ids: &[Option<String>]) -> Recent {
        let is_good = scored.errors().first().is_none_or(|error| error.row != 0);
        let columns = self.model.scorer.columns().iter();
        let effects = columns.filter(|column| matches!(column.value, ScoreValue::Cate(_)));
        Recent {
            at: OffsetDateTime::now_utc(),
            id: ids.first().cloned().flatten(),
            names: Arc::clone(&self.model.texts().effects),
            effects: effects.map(|column| if is_good { scored.number(column, 0) } else { None }).collect(),
            model: Arc::clone(&self.model.texts().name),
        }
    }
}

fn logged(
    model: &LoadedModel,
    door: Door,
    identity: &Identity,
    received: OffsetDateTime,
    (scored, texts, ids): (&ScoredRows, &RowTexts, Vec<Option<String>>),
) -> LoggedRequest {
    let mut ids = ids.into_iter();
    let mut errors = scored.errors().iter().map(|error| error.row).peekable();
    let rows = (0..texts.len())
        .map(|row| LoggedRow {
            row: row as u32,
            id: ids.next().flatten(),
            scores: String::from_utf8_lossy(texts.row(row)).into_owned(),
            error: errors.next_if_eq(&(row as u64)).is_some(),
        })
        .collect();
    LoggedRequest {
        request_id: Some(identity.name().to_owned()),
        body_sha256: identity.body_sha256,
        received_at: (received.unix_timestamp_nanos() / 1000) as i64,
        model_name: model.name.clone(),
        model_id: model.id().to_owned(),
        door: match door {
            Door::Infer => LogDoor::Infer,
            Door::Invocations => LogDoor::Invocations,
            Door::Target => LogDoor::Target,
            _ => LogDoor::Score,
        },
        rows,
    }
}

/// Hands a request to the log; gives what the log has when it knows the request already.
async fn remember(
    log: &ScoreLog,
    request: LoggedRequest,
    identity: &Identity,
    is_durable: bool,
) -> Result<Option<Seen>, Problem> {
    if !is_durable && !identity.durable {
        // A full queue counts the rows as lost, and the tick shows them: an answer is worth more
        // than its record unless somebody said otherwise.
        log.offer(request);
        return Ok(None);
    }
    match log.record(request).await? {
        Recorded::Written => Ok(None),
        Recorded::Seen(seen) => Ok(Some(seen)),
        Recorded::Conflict => Err(id_taken()),
    }
}

/// The answer that was given before.
fn again(seen: Seen, identity: &Identity) -> Result<Answer, Problem> {
    if seen.conflicts_with(identity.body_sha256.as_ref()) {
        return Err(id_taken());
    }
    let texts = RowTexts::again(seen.rows.into_iter().map(|row| row.scores));
    Ok(Answer { model_name: seen.model_name, model_id: seen.model_id, scored: None, texts, is_replay: true })
}

fn id_taken() -> Problem {
    Problem::new(
        Code::IdTaken,
        "this request id was used for another body",
        "give every request an id of its own, and the same one only to its retries",
    )
}

/// A clock for answers that must come in time.
///
/// # Errors
/// [`Code::TooSlow`].
pub(crate) async fn in_time<T>(
    desk: &Desk,
    began: Instant,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let left = desk.limits.timeout.saturating_sub(began.elapsed());
    tokio::time::timeout(left, work).await.unwrap_or_else(|_| {
        Err(Problem::new(
            Code::TooSlow,
            format!("the answer took more than {} s", desk.limits.timeout.as_secs_f64()),
            "send fewer rows in a request",
        ))
    })
}
