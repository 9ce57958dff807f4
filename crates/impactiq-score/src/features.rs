//! From cast rows to what the model looks at: derived SQL features, then bins.

use arrow::array::RecordBatch;
use impactiq_causal::model::CausalModel;
use impactiq_data::{BinnedFeatures, Table};
use impactiq_io::{RowFeatures, to_table};

use crate::error::ScoreError;
use crate::rows::{RowErrors, Rows};

/// Rows as the model sees them.
pub(crate) struct Prepared {
    pub binned: BinnedFeatures,
    pub raw: Table,
    /// The cast raw columns, then the derived features.
    pub batch: RecordBatch,
    pub errors: RowErrors,
}

/// Adds derived features and bins the model's features.
pub(crate) fn prepare(rows: Rows, derived: &RowFeatures, model: &CausalModel) -> Result<Prepared, ScoreError> {
    let (batch, errors) = if derived.is_empty() {
        (rows.batch, rows.errors)
    } else {
        let (batch, more) = derived.apply_rows(&rows.batch)?;
        (batch, rows.errors.and(more))
    };
    let raw = to_table(&batch, model.features())?;
    Ok(Prepared { binned: model.encode(&raw)?, raw, batch, errors })
}
