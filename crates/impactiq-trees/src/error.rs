//! What can be wrong with a tree task, as values with fields.
//!
//! `Display` says what and where in lower case; [`TreesError::hint`] says what to do next.

use thiserror::Error;

/// Something about a task, a configuration or a stored forest that its owner can mend.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum TreesError {
    /// A vector has another length than the rows it belongs to.
    #[error("'{what}' has {found} entries where {expected} were expected")]
    Length {
        /// What was measured.
        what: &'static str,
        /// Entries expected.
        expected: usize,
        /// Entries found.
        found: usize,
    },
    /// A row number is outside the features.
    #[error("row {row} does not exist: the features have {n_rows} rows")]
    RowOutOfRange {
        /// The row asked for, counted from 0.
        row: u32,
        /// Rows there are.
        n_rows: usize,
    },
    /// Nothing to learn from: no rows, or no row with a positive weight.
    #[error("no rows with a positive weight to grow trees on")]
    NoRows,
    /// An arm that is asked for has no rows.
    #[error("arm {arm} has no rows with a positive weight")]
    EmptyArm {
        /// The arm, 0 the control.
        arm: usize,
    },
    /// No features to split on.
    #[error("no features to grow trees on")]
    NoFeatures,
    /// A target, weight or probability is not allowed.
    #[error("{what} is {value} in row {row}; {allowed}")]
    BadValue {
        /// What the value is.
        what: &'static str,
        /// The value.
        value: f64,
        /// Its row, counted from 0.
        row: usize,
        /// What would be allowed.
        allowed: &'static str,
    },
    /// A setting is out of range.
    #[error("`{key}` is {value}; {allowed}")]
    BadSetting {
        /// The key.
        key: &'static str,
        /// The value as text.
        value: String,
        /// What would be allowed.
        allowed: &'static str,
    },
    /// The features given are not those the model was grown on.
    #[error("the model was grown on {expected} features, these are {found}")]
    FeatureCount {
        /// Features of the model.
        expected: usize,
        /// Features found.
        found: usize,
    },
    /// Stored arrays do not describe a forest.
    #[error("stored trees are damaged: {problem} (tree {tree}, node {node})")]
    BadArrays {
        /// What is wrong.
        problem: &'static str,
        /// The tree, counted from 0.
        tree: usize,
        /// The node within the tree, counted from 0.
        node: usize,
    },
    /// Stored arrays are of a layout this build does not know.
    #[error("stored trees have layout version {found}; this build reads version {supported}")]
    Layout {
        /// Version found.
        found: u32,
        /// Version supported.
        supported: u32,
    },
    /// The work was stopped before anything usable existed.
    #[error("stopped before the first tree was finished")]
    Stopped,
}

/// Whether a vector has as many entries as it should.
///
/// # Errors
/// [`TreesError::Length`] when it has not.
pub(crate) fn check_length(what: &'static str, expected: usize, found: usize) -> Result<(), TreesError> {
    if expected == found { Ok(()) } else { Err(TreesError::Length { what, expected, found }) }
}

impl TreesError {
    /// What to do next, when something can be said.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            TreesError::NoRows => "check the filter and the weight column".into(),
            TreesError::NoFeatures => "name at least one feature".into(),
            TreesError::BadValue { what: "target", allowed, .. } if allowed.contains("0 and 1") => {
                "use the squared objective for outcomes that are not probabilities".into()
            }
            TreesError::BadSetting { key, .. } => format!("change `{key}` in the configuration"),
            TreesError::FeatureCount { .. } => "encode the features with the model's own bins".into(),
            TreesError::BadArrays { .. } => "the model file is corrupt: train it again or restore it".into(),
            TreesError::Layout { .. } => "read the model with the version that wrote it, or train it again".into(),
            TreesError::Stopped => "give it more time".into(),
            _ => return None,
        })
    }
}
