//! Rows from any door, cast to the raw types of the model's schema.
//!
//! A cell that doesn't fit is a [`RowError`]; of several in one row the first is kept.

use arrow::array::RecordBatch;
use impactiq_data::{Schema, Table};
use impactiq_io::{RowError, cast, json_rows_to_batch};
use serde_json::Value;

use crate::error::ScoreError;

/// Rows in a model's raw types, as its door brought them.
#[derive(Clone, Debug)]
pub enum RawRows {
    /// Arrow columns with at least those of the model's schema.
    Batch(RecordBatch),
    /// The schema's columns as numbers and categories; only models without derived features take them.
    Table(Table),
}

impl RawRows {
    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        match self {
            RawRows::Batch(batch) => batch.num_rows(),
            RawRows::Table(table) => table.n_rows(),
        }
    }
}

/// Rows in the model's raw types, and the rows that did not fit.
#[derive(Debug)]
pub(crate) struct Rows {
    pub batch: RecordBatch,
    pub errors: RowErrors,
}

/// At most one error per row, in order of row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RowErrors(Vec<RowError>);

impl Rows {
    /// From an Arrow batch with at least the schema's columns, some of its rows known to be bad.
    pub fn from_batch(batch: &RecordBatch, schema: &Schema, known: Vec<RowError>) -> Result<Self, ScoreError> {
        let (batch, errors) = cast(batch, schema)?;
        Ok(Rows { batch, errors: RowErrors::default().and(known).and(errors) })
    }

    /// From JSON objects.
    pub fn from_json(rows: &[Value], schema: &Schema) -> Result<Self, ScoreError> {
        let (batch, errors) = json_rows_to_batch(rows, schema)?;
        Ok(Rows { batch, errors: RowErrors::default().and(errors) })
    }
}

impl RowErrors {
    /// With further errors; the first of a row stays.
    pub fn and(mut self, more: Vec<RowError>) -> Self {
        if !more.is_empty() {
            self.0.extend(more);
            // Stable: earlier stages come first.
            self.0.sort_by_key(|error| error.row);
            self.0.dedup_by_key(|error| error.row);
        }
        self
    }

    pub fn into_vec(self) -> Vec<RowError> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_of_a_row_is_kept() {
        let error =
            |row, column: &str| RowError { row, column: column.into(), value: String::new(), reason: "r".into() };
        let errors =
            RowErrors::default().and(vec![error(1, "a"), error(1, "b")]).and(vec![error(0, "c"), error(1, "d")]);
        let kept: Vec<(u64, String)> = errors.into_vec().into_iter().map(|e| (e.row, e.column)).collect();
        assert_eq!(kept, [(0, "c".into()), (1, "a".into())]);
    }
}
