//! Reading a source of any size batch by batch, for scoring.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use impactiq_data::{DataError, Schema};
use rayon::prelude::*;

use crate::error::{IoError, RowError};
use crate::features::{RowFeatures, compile_filter};
use crate::read::blocks::take_window;
use crate::read::inspect::{Inspected, Known};
use crate::read::parquet::BATCH_ROWS;
use crate::read::scan::{Failure, Feed, How, Piece, Plan, Wanted};
use crate::read::source::{Format, Source};

/// Which columns are passed through beside those of the model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PassThrough {
    /// Every other column of the source.
    #[default]
    All,
    /// Only these.
    Only(Vec<String>),
}

/// Some rows of a source, in order.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Columns of the model, cast to its schema, and columns passed through, in the order of
    /// the file.
    pub rows: RecordBatch,
    /// Number of each row among all rows of all files before the filter, from 0.
    pub row_ids: Vec<u64>,
    /// Cells of the model's columns that don't fit (null in `rows`), by row of this batch.
    pub errors: Vec<RowError>,
}

/// A source as a stream of batches of at most 65,536 rows, in row order and constant memory.
///
/// The model's columns are cast to its schema, with bad cells as values. Other columns are
/// passed through as the file has them; CSV columns stay text, so identifiers are not
/// touched. A filter of the source applies; its derived features are not added.
pub struct Batches {
    plan: Plan,
    feed: Feed,
    ready: VecDeque<Result<Batch, IoError>>,
    schema: SchemaRef,
    n_read: u64,
    n_in_file: Vec<u64>,
    failed: bool,
}

impl Batches {
    /// Opens a source.
    ///
    /// # Errors
    /// Everything that can be wrong with paths, headers and SQL; [`DataError::MissingColumn`]
    /// where a column of the model is not there.
    pub fn open(source: &Source, model: &Schema, pass: &PassThrough) -> Result<Self, IoError> {
        let mut source = source.clone();
        // What is only passed through must come out as it went in.
        if let PassThrough::Only(columns) = pass {
            source.keys.extend(columns.iter().cloned());
        }
        let source = &source;
        let mut inspected = Inspected::of(source)?;
        inspected.discover(&model.names())?;
        if let Err(IoError::SqlColumn { column, .. }) = filter_of(source, &inspected, model) {
            inspected.discover(&[column])?;
        }
        let names = inspected.names();
        let also: &[String] = match pass {
            PassThrough::All => &[],
            PassThrough::Only(columns) => columns,
        };
        if let Some(missing) = model.names().iter().chain(also).find(|name| !names.contains(name)) {
            return Err(DataError::missing_column(missing, &names).into());
        }
        let (features, filter, inputs) = filter_of(source, &inspected, model)?;
        let format = inspected.files[0].file.format;
        let mut wanted = Vec::new();
        let mut hidden = Vec::new();
        for (name, known) in &inspected.columns {
            let in_model = model.fields().iter().find(|field| field.name == *name);
            let passed = *pass == PassThrough::All || also.contains(name);
            let how = match (in_model, known) {
                (Some(field), _) => How::Lenient(field.raw_type),
                (None, Known::Unsupported(_)) if passed => How::AsIs,
                (None, _) if inputs.contains(name) || (passed && format == Format::Ndjson) => {
                    let column = inspected.needed(name)?;
                    How::Typed { raw_type: column.field.raw_type, guessed: column.guessed }
                }
                (None, _) if passed => How::AsIs,
                _ => continue,
            };
            let column = Wanted { name: name.clone(), how };
            if in_model.is_some() || passed { wanted.push(column) } else { hidden.push(column) }
        }
        let shown = wanted.len();
        let files = inspected.files.clone();
        let mut plan = Plan { files, wanted, features, filter };
        let schema = Arc::new(plan.wanted_schema());
        // Columns that only the filter reads come last and are cut off again.
        plan.wanted.extend(hidden);
        debug_assert_eq!(schema.fields().len(), shown);
        let feed = plan.stream(2 * rayon::current_num_threads());
        let n_in_file = vec![0; plan.files.len()];
        Ok(Batches { plan, feed, ready: VecDeque::new(), schema, n_read: 0, n_in_file, failed: false })
    }

    /// The columns of every batch.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Rows read so far, before the filter.
    pub fn n_rows_read(&self) -> u64 {
        self.n_read
    }

    /// Bytes (text) or rows (Parquet) read so far, and in all, for progress.
    pub fn progress(&self) -> (u64, u64) {
        match &self.feed {
            Feed::Text(blocks) => {
                let total = self.plan.files.iter().map(|plan| plan.file.n_bytes).sum();
                (blocks.n_bytes().min(total), total)
            }
            _ => {
                let parquet = self.plan.files.iter().filter_map(|plan| plan.parquet.as_ref());
                (self.n_read, parquet.map(|file| file.n_rows()).sum())
            }
        }
    }

    /// Works on the next few units at once and lines their rows up; false at the end.
    fn refill(&mut self) -> bool {
        let plan = &self.plan;
        let window = take_window(&mut self.feed, 2 * rayon::current_num_threads());
        if window.is_empty() {
            return false;
        }
        let worked: Vec<(usize, Result<Vec<Piece>, Failure>)> = window
            .into_par_iter()
            .map(|unit| {
                let unit = match unit {
                    Ok(unit) => unit,
                    Err(error) => return (0, Err(error.into())),
                };
                let file = unit.file();
                let mut pieces = Vec::new();
                let done = plan.process(unit, &mut |piece| {
                    pieces.push(piece);
                    Ok(())
                });
                (file, done.map(|()| pieces))
            })
            .collect();
        for (file, pieces) in worked {
            let error = match pieces {
                Ok(pieces) => {
                    pieces.into_iter().for_each(|piece| self.line_up(piece));
                    continue;
                }
                Err(Failure::Error(error)) => error.moved(self.n_read, self.n_in_file[file]),
                Err(Failure::Contradiction) => self.contradicted(file),
            };
            self.failed = true;
            self.ready.push_back(Err(error));
            break;
        }
        true
    }

    /// A stream can't start anew: a type that turned out wrong on the way is an error.
    fn contradicted(&self, file: usize) -> IoError {
        let guessed = self.plan.wanted.iter().filter_map(|wanted| match wanted.how {
            How::Typed { raw_type, guessed: true } => {
                Some(format!("'{}' as {}", wanted.name, crate::cast::type_name(raw_type)))
            }
            _ => None,
        });
        let columns = guessed.collect::<Vec<_>>().join(", ");
        IoError::TypesDiffer {
            column: columns,
            path: self.plan.files[file].file.path.clone(),
            found: format!("of another type after row {}", self.n_read),
            first: self.plan.files[0].file.path.clone(),
            expected: "told by its first rows".into(),
        }
    }

    fn line_up(&mut self, piece: Piece) {
        let shown: Vec<usize> = (0..self.schema.fields().len()).collect();
        let rows = piece.rows.project(&shown).unwrap_or_else(|_| piece.rows.clone());
        let mut errors = kept_errors(&piece).into_iter().peekable();
        for start in (0..rows.num_rows()).step_by(BATCH_ROWS) {
            let len = BATCH_ROWS.min(rows.num_rows() - start);
            let row_ids = (start..start + len).map(|row| self.n_read + piece.row_before_filter(row) as u64).collect();
            let mut here = Vec::new();
            while let Some(error) = errors.next_if(|error| error.row < (start + len) as u64) {
                here.push(RowError { row: error.row - start as u64, ..error });
            }
            self.ready.push_back(Ok(Batch { rows: rows.slice(start, len), row_ids, errors: here }));
        }
        self.n_read += piece.n_rows as u64;
        self.n_in_file[piece.file] += piece.n_rows as u64;
    }
}

/// Errors of the rows that were kept, by their place among them.
fn kept_errors(piece: &Piece) -> Vec<RowError> {
    match &piece.kept {
        None => piece.errors.clone(),
        Some(kept) => piece
            .errors
            .iter()
            .filter_map(|error| {
                let row = kept.binary_search(&(error.row as u32)).ok()? as u64;
                Some(RowError { row, ..error.clone() })
            })
            .collect(),
    }
}

/// The source's filter with the features and raw columns that it needs.
fn filter_of(
    source: &Source,
    inspected: &Inspected,
    model: &Schema,
) -> Result<(RowFeatures, Option<crate::session::Expression>, Vec<String>), IoError> {
    let Some(sql) = &source.filter else { return Ok((RowFeatures::default(), None, Vec::new())) };
    let mut fields = Vec::new();
    for name in inspected.names() {
        match model.fields().iter().find(|field| field.name == name) {
            Some(field) => fields.push(field.clone()),
            None => match inspected.needed(&name) {
                Ok(column) => fields.push(column.field),
                Err(IoError::UnsupportedType { .. }) => {}
                Err(error) => return Err(error),
            },
        }
    }
    let raw = Schema::new(fields)?;
    let features = RowFeatures::compile(&source.derived, &raw)?;
    let filter = compile_filter(sql, &raw, &features)?;
    let features = features.select(&filter.columns);
    let mut inputs = features.inputs();
    inputs.extend(filter.columns.iter().filter(|name| raw.field(name).is_ok()).cloned());
    Ok((features, Some(filter), inputs))
}

impl Iterator for Batches {
    type Item = Result<Batch, IoError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.failed && self.refill() {}
        self.ready.pop_front()
    }
}
