//! The same windows over a file of events, for training: the same states, event by event, in the
//! order of time (and of rows where times are equal).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use impactiq_data::{DataError, Schema as ColumnTypes, Watch};
use impactiq_io::{Batches, Format, IoError, PassThrough, RowError, Source, Writer, format_of, read_schema};
use rayon::prelude::*;

use super::events::Events;
use super::plan::WindowPlan;
use super::state::WindowState;
use crate::error::StreamError;

/// Features of every row of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct FileFeatures {
    /// Names, in order.
    pub names: Vec<String>,
    /// One column per name, one value per row in the source's order; NaN is missing.
    pub columns: Vec<Vec<f64>>,
    /// Users.
    pub n_users: usize,
    /// Rows that are no event: no user, no time, or a cell that does not fit. Their features are
    /// missing, and nobody looks back on them.
    pub n_without: u64,
    /// The first of them as a sentence.
    pub first_problem: Option<String>,
}

/// Computes the features of a source's rows.
///
/// Events are held in memory (some 40 bytes and what windows read of each); the other columns are
/// not read.
///
/// # Errors
/// [`StreamError::Io`] for everything that can be wrong with files.
pub fn features_of_file(source: &Source, plan: &WindowPlan, watch: &dyn Watch) -> Result<FileFeatures, StreamError> {
    let mut batches = Batches::open(source, plan.schema(), &PassThrough::Only(Vec::new()))?;
    let mut parts: Vec<Events> = Vec::new();
    let mut first_problem = None;
    while let Some(batch) = batches.next() {
        let batch = batch?;
        if first_problem.is_none() {
            first_problem = batch.errors.first().map(|error| {
                let row = batch.row_ids[error.row as usize] + 1;
                format!("row {row}, column '{}': '{}' {}", error.column, error.value, error.reason)
            });
        }
        parts.push(Events::of_batch(plan, &batch.rows, &batch.errors)?);
        let (done, total) = batches.progress();
        watch.progress("read", done, total);
        if watch.should_stop() {
            return Err(IoError::Interrupted.into());
        }
    }
    let n_rows = parts.iter().map(Events::n_rows).sum();
    let (by_user, n_without) = in_order(&parts);
    let computed: Vec<Vec<(usize, Vec<f64>)>> = by_user.par_iter().map(|rows| of_user(plan, &parts, rows)).collect();
    let names = plan.feature_names();
    let mut columns = vec![vec![f64::NAN; n_rows]; names.len()];
    for (row, values) in computed.into_iter().flatten() {
        columns.iter_mut().zip(values).for_each(|(column, value)| column[row] = value);
    }
    Ok(FileFeatures { names, columns, n_users: by_user.len(), n_without, first_problem })
}

/// A row: its time, its number in the source, its part and its place there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    time: i64,
    row: usize,
    part: usize,
    within: usize,
}

/// Rows of each user by time, rows of the same time in the file's order; and how many are none.
fn in_order(parts: &[Events]) -> (Vec<Vec<Place>>, u64) {
    let mut by_user: BTreeMap<&str, Vec<Place>> = BTreeMap::new();
    let (mut row, mut n_without) = (0, 0);
    for (part, events) in parts.iter().enumerate() {
        for within in 0..events.n_rows() {
            match events.get(within) {
                Some(event) => {
                    by_user.entry(event.user).or_default().push(Place { time: event.time, row, part, within });
                }
                None => n_without += 1,
            }
            row += 1;
        }
    }
    let mut rows: Vec<Vec<Place>> = by_user.into_values().collect();
    rows.par_iter_mut().for_each(|rows| rows.sort_unstable());
    (rows, n_without)
}

fn of_user(plan: &WindowPlan, parts: &[Events], rows: &[Place]) -> Vec<(usize, Vec<f64>)> {
    let mut state = WindowState::new();
    let of_row = |place: &Place| {
        let mut values = vec![f64::NAN; plan.features.len()];
        if let Some(event) = parts[place.part].get(place.within) {
            state.advance(plan, event, &mut values);
        }
        (place.row, values)
    };
    rows.iter().map(of_row).collect()
}

/// Writes a source with its features as further columns, rows in the source's order.
///
/// Columns that windows read come out as they were cast; all others as they stand in the source. From CSV into a format
/// with types they get the types that `train` would see.
///
/// # Errors
/// As [`features_of_file`]; [`StreamError::Data`] for a feature named like a column;
/// [`StreamError::Io`] for an output that exists (unless `overwrite`) or cannot be written.
pub fn write_features(
    source: &Source,
    plan: &WindowPlan,
    output: &Path,
    overwrite: bool,
    watch: &dyn Watch,
) -> Result<FileFeatures, StreamError> {
    let known = known_columns(source, plan, output)?;
    let mut batches = Batches::open(source, &known, &PassThrough::All)?;
    let schema = with_features(&batches.schema(), plan)?;
    let mut writer = Writer::create(output, &schema, overwrite)?;
    let found = features_of_file(source, plan, watch)?;
    let mut start = 0;
    while let Some(batch) = batches.next() {
        let batch = batch?;
        // What windows read may be missing; what only passes through must not be lost on the way.
        let is_of_windows = |column: &str| plan.schema().fields().iter().any(|field| field.name == column);
        if let Some(error) = batch.errors.into_iter().find(|error| !is_of_windows(&error.column)) {
            let row = batch.row_ids[error.row as usize];
            return Err(IoError::from(RowError { row, ..error }).into());
        }
        let rows = batch.rows;
        let end = start + rows.num_rows();
        // A file that grew since it was read: its new rows were never looked at.
        if found.columns.first().is_some_and(|column| end > column.len()) {
            let problem = "it changed while it was read".to_owned();
            return Err(StreamError::Damaged { what: "event file", problem });
        }
        let mut columns = rows.columns().to_vec();
        columns.extend(found.columns.iter().map(|column| {
            let values = column[start..end].iter().map(|value| (!value.is_nan()).then_some(*value));
            Arc::new(values.collect::<Float64Array>()) as ArrayRef
        }));
        let whole = RecordBatch::try_new(Arc::clone(&schema), columns)
            .map_err(|error| StreamError::Damaged { what: "event file", problem: error.to_string() })?;
        writer.write(&whole)?;
        let (done, total) = batches.progress();
        watch.progress("write", done, total);
        if watch.should_stop() {
            return Err(IoError::Interrupted.into());
        }
        start = end;
    }
    writer.finish()?;
    Ok(found)
}

/// The columns whose types are known: those that windows read, and, from text into types, all others.
fn known_columns(source: &Source, plan: &WindowPlan, output: &Path) -> Result<ColumnTypes, StreamError> {
    let is_text = |path: &Path| matches!(format_of(path), Some((Format::Csv, _)));
    let from_text = source.paths.iter().any(|path| is_text(Path::new(path)));
    if !from_text || is_text(output) {
        return Ok(plan.schema().clone());
    }
    let mut fields = plan.schema().fields().to_vec();
    for field in read_schema(source)?.schema.fields() {
        if fields.iter().all(|known| known.name != field.name) {
            fields.push(field.clone());
        }
    }
    Ok(ColumnTypes::new(fields)?)
}

fn with_features(rows: &SchemaRef, plan: &WindowPlan) -> Result<SchemaRef, StreamError> {
    let mut fields: Vec<Arc<Field>> = rows.fields().iter().cloned().collect();
    for name in plan.feature_names() {
        if fields.iter().any(|field| *field.name() == name) {
            return Err(DataError::DuplicateColumn { column: name }.into());
        }
        fields.push(Arc::new(Field::new(name, DataType::Float64, true)));
    }
    Ok(Arc::new(Schema::new(fields)))
}
