//! What an answer is made of: score columns by name, and the numbers of some rows.
//!
//! Nothing is predicted here. Numbers stay plain until a door asks for Arrow columns: a row answered in JSON never
//! needs them.

use arrow::array::RecordBatch;
use impactiq_causal::model::Predictions;
use impactiq_io::RowError;

/// What a score column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreValue {
    /// The effect of a contrast (arm code minus one).
    Cate(usize),
    /// Lower end of the 95 % interval of the learner's own estimate.
    Lower(usize),
    /// Upper end.
    Upper(usize),
    /// The outcome's mean under an arm, by code.
    Mean(usize),
    /// The arm with the largest mean.
    BestArm,
}

/// A column of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoreColumn {
    /// Its name.
    pub name: String,
    /// Which outcome it speaks of, by position.
    pub outcome: usize,
    /// What it holds.
    pub value: ScoreValue,
}

/// Scores of some rows as Arrow columns.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The score columns, one row per row given; null in rows with an error.
    pub batch: RecordBatch,
    /// Rows that could not be scored, in order, at most one error each.
    pub errors: Vec<RowError>,
}

/// Scores of some rows as plain numbers.
#[derive(Clone, Debug)]
pub struct ScoredRows {
    predictions: Vec<Predictions>,
    /// By outcome, the best arm of each row; empty where nobody asks for it.
    best: Vec<Vec<u8>>,
    n_rows: usize,
    errors: Vec<RowError>,
}

impl ScoredRows {
    /// The predictions of `n_rows` rows by outcome; `errors` are in order of row, at most one each.
    pub(crate) fn new(predictions: Vec<Predictions>, n_rows: usize, errors: Vec<RowError>, wants_best: bool) -> Self {
        let best = if wants_best { predictions.iter().map(Predictions::best_arm).collect() } else { Vec::new() };
        ScoredRows { predictions, best, n_rows, errors }
    }

    /// Rows, those with an error among them.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Rows that could not be scored, in order, at most one error each.
    pub fn errors(&self) -> &[RowError] {
        &self.errors
    }

    pub(crate) fn into_errors(self) -> Vec<RowError> {
        self.errors
    }

    /// A number of a row without an error; `None` where the learner does not know it, and for arms.
    pub fn number(&self, column: &ScoreColumn, row: usize) -> Option<f64> {
        let predicted = &self.predictions[column.outcome];
        // Not every learner knows means or intervals, and not for every row.
        let known = |all: &[Vec<f64>], index: usize| all.get(index).map(|values| values[row]).filter(|v| v.is_finite());
        match column.value {
            ScoreValue::Cate(contrast) => Some(predicted.cate[contrast][row]),
            ScoreValue::Mean(arm) => known(&predicted.mean, arm),
            ScoreValue::Lower(contrast) => known(&predicted.lower, contrast),
            ScoreValue::Upper(contrast) => known(&predicted.upper, contrast),
            ScoreValue::BestArm => None,
        }
    }

    /// The code of the best arm of a row without an error.
    pub fn best_arm(&self, column: &ScoreColumn, row: usize) -> Option<usize> {
        self.best.get(column.outcome).map(|best| usize::from(best[row]))
    }
}
