//! `score`: a data file of any size through a model, in row order and constant memory.
//!
//! One thread reads and casts the next batch while another scores and writes this one.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use impactiq_data::Watch;
use impactiq_io::{Batch, Batches, IoError, PassThrough, RowError, Source, Writer};
use impactiq_score::{Scored, Scorer};
use serde_json::{Value, json};

use super::context::{Context, refuse_existing};
use crate::args::ScoreArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::memory::peak_rss_bytes;
use crate::output::number;

/// The column that says why a row has no score.
const ERROR_COLUMN: &str = "score_error";
/// The column that numbers rows where nothing else identifies them.
const ROW_COLUMN: &str = "row";
/// Errors that are shown one by one.
const SHOWN_ERRORS: usize = 5;
/// Batches read ahead of the scoring.
const BATCHES_AHEAD: usize = 2;

/// What a scoring run did.
pub struct Scoring {
    model_id: String,
    columns: Vec<String>,
    /// Rows written.
    pub n_rows: u64,
    /// Rows without a score.
    pub n_errors: u64,
    shown: Vec<(u64, RowError)>,
    seconds: f64,
}

/// Runs the command.
///
/// # Errors
/// A [`Failure`]; nothing is written then.
pub fn run(args: &ScoreArgs, context: Context<'_>) -> Outcome<Exit> {
    let scoring = score(args, context)?;
    context.watch.clear();
    if scoring.n_errors > 0 {
        let of = format!("{} of {} rows", number::count(scoring.n_errors), number::count(scoring.n_rows));
        context.output.warning(&format!("{of} have no score; the column '{ERROR_COLUMN}' says why, e.g."));
        for (row, error) in &scoring.shown {
            context.output.warning(&format!("{}: {}", args.data, place_row(*row, error)));
        }
    }
    context.output.result(&scoring.json(args), || scoring.text(args))?;
    Ok(Exit::Done)
}

/// Scores a source into a file.
///
/// # Errors
/// A [`Failure`]; nothing is written then.
pub fn score(args: &ScoreArgs, context: Context<'_>) -> Outcome<Scoring> {
    refuse_existing(&args.output, context)?;
    let scorer = Scorer::open(&args.model)?;
    let started = context.watch.elapsed();
    let keep = if args.keep.is_empty() { scorer.manifest().roles.id.clone() } else { args.keep.clone() };
    let source = Source { paths: vec![args.data.clone()], ..Source::default() };
    let batches = Batches::open(&source, scorer.schema(), &PassThrough::Only(keep.clone()))
        .map_err(|error| in_data(error, &args.data))?;
    let layout = Layout::new(&scorer, &batches.schema(), keep, !args.strict)?;
    let mut writer = Writer::create(&args.output, &layout.schema, context.global.overwrite)?;
    let mut scoring = Scoring {
        model_id: scorer.manifest().id.clone(),
        columns: layout.schema.fields().iter().map(|field| field.name().clone()).collect(),
        n_rows: 0,
        n_errors: 0,
        shown: Vec::new(),
        seconds: 0.0,
    };
    read_ahead(batches, context.watch, |batch| {
        let scored = scorer.score_with(&batch.rows, batch.errors)?;
        if let Some(error) = scored.errors.first().filter(|_| args.strict) {
            let row = batch.row_ids[error.row as usize] + 1;
            let hint = error.hint().unwrap_or_else(|| "mend the row, or leave out --strict".into());
            return Err(Failure::new(place_row(row, error), hint).at(&args.data));
        }
        scoring.count(&scored, &batch.row_ids);
        Ok(writer.write(&layout.batch(&batch.rows, &batch.row_ids, &scored)?)?)
    })?;
    context.watch.check()?;
    writer.finish()?;
    scoring.seconds = context.watch.elapsed() - started;
    Ok(scoring)
}

/// Reads on a thread of its own; gives the batches to `each` in order.
fn read_ahead(batches: Batches, watch: &dyn Watch, mut each: impl FnMut(Batch) -> Outcome<()>) -> Outcome<()> {
    let (sender, receiver) = sync_channel::<(Result<Batch, IoError>, (u64, u64))>(BATCHES_AHEAD);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut batches = batches;
            while let Some(batch) = batches.next() {
                let failed = batch.is_err();
                // A receiver that is gone has stopped: there is nobody left to read for.
                if sender.send((batch, batches.progress())).is_err() || failed {
                    break;
                }
            }
        });
        for (batch, (done, total)) in receiver {
            watch.progress("score", done, total);
            if watch.should_stop() {
                return Err(Failure::interrupted());
            }
            each(batch?)?;
        }
        Ok(())
    })
}

/// A column that is missing is missing in the data; other errors name their file.
fn in_data(error: IoError, data: &str) -> Failure {
    let names_no_file = matches!(error, IoError::Data(_));
    let failure = Failure::from(error);
    if names_no_file { failure.at(data) } else { failure }
}

fn place_row(row: u64, error: &RowError) -> String {
    let value = if error.value.is_empty() { String::new() } else { format!("'{}' ", error.value) };
    format!("row {row}, column '{}': {value}{}", error.column, error.reason)
}

/// The columns of the output: identifiers (or the row's number), scores, why there is none.
struct Layout {
    schema: SchemaRef,
    keep: Vec<String>,
    with_errors: bool,
}

impl Layout {
    fn new(scorer: &Scorer, input: &SchemaRef, keep: Vec<String>, with_errors: bool) -> Outcome<Self> {
        let mut fields: Vec<Arc<Field>> = Vec::new();
        if keep.is_empty() {
            fields.push(Arc::new(Field::new(ROW_COLUMN, DataType::UInt64, false)));
        }
        for name in &keep {
            let names: Vec<String> = input.fields().iter().map(|field| field.name().clone()).collect();
            let field = input.fields().iter().find(|field| field.name() == name);
            fields.push(Arc::clone(field.ok_or_else(|| impactiq_data::DataError::missing_column(name, &names))?));
        }
        fields.extend(scorer.score_schema().fields().iter().cloned());
        if with_errors {
            fields.push(Arc::new(Field::new(ERROR_COLUMN, DataType::Utf8, true)));
        }
        let mut names: Vec<&String> = fields.iter().map(|field| field.name()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(impactiq_score::ScoreError::ColumnTwice { column: pair[0].clone() }.into());
        }
        Ok(Layout { schema: Arc::new(Schema::new(fields)), keep, with_errors })
    }

    fn batch(&self, rows: &RecordBatch, row_ids: &[u64], scored: &Scored) -> Outcome<RecordBatch> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        if self.keep.is_empty() {
            columns.push(Arc::new(UInt64Array::from_iter_values(row_ids.iter().map(|id| id + 1))));
        }
        columns.extend(self.keep.iter().filter_map(|name| rows.column_by_name(name).cloned()));
        columns.extend(scored.batch.columns().iter().cloned());
        if self.with_errors {
            let mut texts: Vec<Option<String>> = vec![None; rows.num_rows()];
            for error in &scored.errors {
                let value = if error.value.is_empty() { String::new() } else { format!("'{}' ", error.value) };
                texts[error.row as usize] = Some(format!("{}: {value}{}", error.column, error.reason));
            }
            columns.push(Arc::new(texts.into_iter().collect::<StringArray>()));
        }
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| Failure::new(format!("internal error: {error}"), "please report this"))
    }
}

impl Scoring {
    fn count(&mut self, scored: &Scored, row_ids: &[u64]) {
        self.n_rows += row_ids.len() as u64;
        self.n_errors += scored.errors.len() as u64;
        let room = SHOWN_ERRORS - self.shown.len();
        let more = scored.errors.iter().take(room).map(|error| (row_ids[error.row as usize] + 1, error.clone()));
        self.shown.extend(more);
    }

    /// The result as JSON.
    pub fn json(&self, args: &ScoreArgs) -> Value {
        let errors: Vec<Value> = self
            .shown
            .iter()
            .map(|(row, e)| json!({"row": row, "column": e.column, "value": e.value, "reason": e.reason}))
            .collect();
        json!({
            "model": {"id": self.model_id, "path": args.model.display().to_string()},
            "output": args.output.display().to_string(),
            "columns": self.columns,
            "n_rows": self.n_rows,
            "n_errors": self.n_errors,
            "errors": errors,
            "seconds": {"total": self.seconds},
            "peak_rss_bytes": peak_rss_bytes(),
        })
    }

    /// The result as text.
    pub fn text(&self, args: &ScoreArgs) -> String {
        format!(
            "Scored {} rows with model {} in {} ({} rows a second, peak memory {})\nWrote {}: {}\n",
            number::count(self.n_rows),
            self.model_id,
            number::seconds(self.seconds),
            number::thousands(self.n_rows as f64 / self.seconds.max(1e-9)),
            number::bytes(peak_rss_bytes()),
            args.output.display(),
            self.columns.join(", "),
        )
    }
}
