//! From cast rows to what the model looks at: derived SQL features beside the raw columns.

use arrow::array::RecordBatch;
use impactiq_io::RowFeatures;

use crate::error::ScoreError;
use crate::rows::{RowErrors, Rows};

/// The cast raw columns, then the derived features, and the rows that have an error by now.
pub(crate) fn prepare(rows: Rows, derived: &RowFeatures) -> Result<(RecordBatch, RowErrors), ScoreError> {
    if derived.is_empty() {
        return Ok((rows.batch, rows.errors));
    }
    let (batch, more) = derived.apply_rows(&rows.batch)?;
    Ok((batch, rows.errors.and(more)))
}
