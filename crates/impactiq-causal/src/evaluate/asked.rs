//! What an evaluation is asked and what it answers, whatever the treatment is.

use impactiq_data::{Dataset, Stream};
use impactiq_metrics::report::{EvaluateOptions, Evaluation};
use serde::{Deserialize, Serialize};

use crate::config::CheckedConfig;
use crate::nuisance::NuisanceReport;

/// Below this many evaluation rows, nuisances learn from all rows of the data.
pub(super) const FEW_ROWS: usize = 5_000;

/// Points of a curve.
const CURVE_POINTS: usize = 100;

/// What `evaluate` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluateReport {
    /// Rows evaluated.
    pub n_rows: u64,
    /// How well the nuisances behind doubly robust scores fit; `None` for ipw scores of a trial.
    pub nuisance: Option<NuisanceReport>,
    /// Per outcome and arm.
    pub contrasts: Vec<ContrastEvaluation>,
}

/// The evaluation of one arm's effect on one outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContrastEvaluation {
    /// The outcome.
    pub outcome: String,
    /// The arm, compared with the control.
    pub arm: String,
    /// Metrics, curves and deciles.
    #[serde(flatten)]
    pub evaluation: Evaluation,
}

/// Scores to evaluate: `scores[outcome][contrast][i]` belongs to the i-th evaluation row;
/// contrast 0 is the first arm after the control.
pub type Scores = Vec<Vec<Vec<f64>>>;

pub(super) fn options(config: &CheckedConfig) -> EvaluateOptions {
    let settings = &config.config().evaluate;
    EvaluateOptions {
        k: settings.k.clone(),
        bootstrap: settings.bootstrap as usize,
        seed: config.seed().stream(Stream::Bootstrap),
        n_curve_points: CURVE_POINTS,
    }
}

/// True when the rows are all rows of the data in their order.
pub(super) fn is_whole(data: &Dataset, rows: &[u32]) -> bool {
    rows.len() == data.n_rows() && rows.iter().enumerate().all(|(place, &row)| row as usize == place)
}
