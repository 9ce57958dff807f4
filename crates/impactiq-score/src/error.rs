//! What can go wrong while a model is opened or answers, as values with fields.

use std::path::PathBuf;

use impactiq_causal::CausalError;
use impactiq_data::DataError;
use impactiq_io::IoError;
use thiserror::Error;

/// A model that cannot be used, or rows it cannot score.
///
/// A bad cell is not among these: it is an [`impactiq_io::RowError`] beside the scores.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// Files, columns or types.
    #[error(transparent)]
    Io(#[from] IoError),
    /// Columns of the rows.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model's own arrays or settings.
    #[error(transparent)]
    Causal(#[from] CausalError),
    /// A manifest that lacks something or contradicts itself.
    #[error("the manifest of {} is damaged: {detail}", .path.display())]
    Manifest {
        /// The model directory.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A report that cannot be left with its model.
    #[error("the report {} cannot be written: {source}", .path.display())]
    Report {
        /// The report.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A question about one feature's range that cannot be asked.
    #[error("the sweep cannot be made: {detail}")]
    Sweep {
        /// What is wrong with it.
        detail: String,
        /// What can be asked instead.
        hint: String,
    },
    /// Two score columns, or a score column and a passed-through column, share a name.
    #[error("the output would have two columns '{column}'")]
    ColumnTwice {
        /// The name.
        column: String,
    },
}

impl ScoreError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ScoreError::Io(error) => error.hint(),
            ScoreError::Data(error) => error.hint(),
            ScoreError::Causal(error) => error.hint(),
            ScoreError::Manifest { .. } => Some("copy the model directory again, or train the model again".into()),
            ScoreError::Report { .. } => Some("a model directory that may not be written to keeps no reports".into()),
            ScoreError::Sweep { hint, .. } => Some(hint.clone()),
            ScoreError::ColumnTwice { .. } => Some("rename the column in the data, or do not pass it through".into()),
        }
    }
}
