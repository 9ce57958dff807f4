//! Effects as an ordinary regression: from nuisances to the target, rows and weights whose
//! regression on features is the effect of one arm.
//!
//! | learner | rows | target | weight |
//! |---|---|---|---|
//! | r (Nie & Wager 2021, eq. 4) | arm and control | (y − m) / (t − e) | (t − e)² |
//! | nonparam_dml (Chernozhukov et al. 2018) | arm and control | the same, m pooled | (t − e)² |
//! | dr (Kennedy 2023, eq. 1) | all | doubly robust score of the difference | 1 |
//! | transformed_outcome (Athey & Imbens 2015) | arm and control | y (t − e) / (e (1 − e)) | 1 |
//! | class_transformation (Jaskowski & Jaroszewicz 2012) | arm and control | 1 where y = t | ½ / P(own arm) |
//!
//! e is the probability of the arm among the arm and the control, m the outcome's mean among
//! them. What must not live here: fitting.

use super::config::LearnerKind;
use super::task::{LearnerNuisances, LearnerTask};
use crate::base::Loss;
use crate::error::CausalError;

/// A regression whose prediction gives the effect of one arm; `target` and `weights` are indexed
/// by row of the inputs and mean nothing outside `rows`.
pub(super) struct Regression {
    /// Rows to learn from.
    pub rows: Vec<u32>,
    /// Pseudo-outcome.
    pub target: Vec<f64>,
    /// Weights.
    pub weights: Option<Vec<f64>>,
    /// The loss.
    pub loss: Loss,
}

/// One contrast: an arm and the control, with what is known of them.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    pub task: &'a LearnerTask<'a>,
    pub nuisances: &'a LearnerNuisances,
    /// Code of the arm.
    pub arm: usize,
}

impl<'a> Pair<'a> {
    /// The pair of an arm.
    ///
    /// # Errors
    /// [`CausalError::Mismatch`] when the task has no nuisances: only a caller inside this
    /// crate could forget them.
    pub fn new(task: &'a LearnerTask<'a>, arm: usize) -> Result<Self, CausalError> {
        let Some(nuisances) = task.nuisances else {
            return Err(CausalError::Mismatch { problem: "a learner of effects without nuisances".into() });
        };
        Ok(Pair { task, nuisances, arm })
    }

    /// The probability of the arm among the arm and the control.
    pub fn share(&self, row: usize) -> f64 {
        let p = self.nuisances.propensity[self.arm].get(row);
        // Two arms sum to one already.
        if self.task.arms.len() == 2 { p } else { p / (p + self.nuisances.propensity[0].get(row)) }
    }

    /// The outcome's mean among the arm and the control, composed of the arms' means.
    pub fn mean(&self, row: usize) -> f64 {
        let (e, means) = (self.share(row), &self.nuisances.means);
        e * means[self.arm].get(row) + (1.0 - e) * means[0].get(row)
    }

    /// The doubly robust score of the arm's mean less the control's (Kennedy 2023, eq. 1).
    pub fn score(&self, row: usize) -> f64 {
        let of = |arm: usize| {
            let mean = self.nuisances.means[arm].get(row);
            let seen = usize::from(self.task.codes[row]) == arm;
            if seen { mean + (self.task.target[row] - mean) / self.nuisances.propensity[arm].get(row) } else { mean }
        };
        of(self.arm) - of(0)
    }

    /// Residuals of outcome and treatment, (y − m, t − e), given the mean m.
    pub fn residuals(&self, row: usize, mean: f64) -> (f64, f64) {
        let treated = f64::from(u8::from(self.treated(row)));
        (self.task.target[row] - mean, treated - self.share(row))
    }

    /// Whether a row is in the arm.
    pub fn treated(&self, row: usize) -> bool {
        usize::from(self.task.codes[row]) == self.arm
    }

    /// The weight of a row in the task.
    pub fn weight(&self, row: usize) -> f64 {
        self.task.weights.map_or(1.0, |weights| weights[row])
    }

    /// Rows of the arm and of the control.
    pub fn rows(&self) -> Vec<u32> {
        let codes = self.task.codes;
        let takes = |row: usize| self.treated(row) || codes[row] == 0;
        self.task.rows.iter().copied().filter(|&row| takes(row as usize)).collect()
    }
}

/// The regression of a learner for one arm.
///
/// # Errors
/// [`CausalError::BinaryOnly`] for a class transformation of another outcome,
/// [`CausalError::NotFinite`], and [`CausalError::Mismatch`] without nuisances (a bug).
pub(super) fn regression(kind: LearnerKind, task: &LearnerTask<'_>, arm: usize) -> Result<Regression, CausalError> {
    let pair = Pair::new(task, arm)?;
    let made = match kind {
        LearnerKind::Dr => {
            let mut target = vec![0.0; task.target.len()];
            task.rows.iter().for_each(|&row| target[row as usize] = pair.score(row as usize));
            let weights = task.weights.map(<[f64]>::to_vec);
            Regression { rows: task.rows.to_vec(), target, weights, loss: Loss::Squared }
        }
        LearnerKind::TransformedOutcome => transformed(&pair),
        LearnerKind::ClassTransformation => class_transformed(&pair)?,
        LearnerKind::NonparamDml => {
            let Some(pooled) = pair.nuisances.pooled.get(arm - 1) else {
                return Err(CausalError::Mismatch { problem: "nonparam_dml without pooled means".into() });
            };
            residual_ratio(&pair, |row| pooled.get(row))
        }
        _ => residual_ratio(&pair, |row| pair.mean(row)),
    };
    let finite = |row: &u32| {
        let row = *row as usize;
        made.target[row].is_finite() && made.weights.as_ref().is_none_or(|weights| weights[row].is_finite())
    };
    if made.rows.iter().all(finite) {
        return Ok(made);
    }
    let arm = &task.arms.labels()[arm];
    Err(CausalError::NotFinite { what: format!("pseudo-outcomes of '{}' for arm '{arm}'", task.outcome) })
}

/// Residual on residual as a weighted regression: Σ w (t − e)² ((y − m) / (t − e) − τ(x))².
/// Weights are scaled to the sum of the rows' own, so that penalties and minimum weights of a base
/// learner mean the same as in an unweighted fit.
fn residual_ratio(pair: &Pair<'_>, mean: impl Fn(usize) -> f64) -> Regression {
    let n = pair.task.target.len();
    let (rows, mut target, mut weights) = (pair.rows(), vec![0.0; n], vec![0.0; n]);
    let (mut own, mut all) = (0.0, 0.0);
    for row in rows.iter().map(|&row| row as usize) {
        let (y, t) = pair.residuals(row, mean(row));
        target[row] = y / t;
        weights[row] = pair.weight(row) * t * t;
        own += pair.weight(row);
        all += weights[row];
    }
    rows.iter().for_each(|&row| weights[row as usize] *= own / all);
    Regression { rows, target, weights: Some(weights), loss: Loss::Squared }
}

/// y · (t − e) / (e (1 − e)), whose mean given features is the effect.
fn transformed(pair: &Pair<'_>) -> Regression {
    let (rows, mut target) = (pair.rows(), vec![0.0; pair.task.target.len()]);
    for row in rows.iter().map(|&row| row as usize) {
        let (e, y) = (pair.share(row), pair.task.target[row]);
        target[row] = if pair.treated(row) { y / e } else { -y / (1.0 - e) };
    }
    Regression { rows, target, weights: pair.task.weights.map(<[f64]>::to_vec), loss: Loss::Squared }
}

/// z = 1 where a treated row has the outcome or a control row has it not. With rows weighted by
/// the inverse of the probability of their arm, P(z = 1 | x) = (1 + τ(x)) / 2 for any probability,
/// where the paper has one half.
fn class_transformed(pair: &Pair<'_>) -> Result<Regression, CausalError> {
    let task = pair.task;
    if task.loss() != Loss::Logistic {
        let kind = LearnerKind::ClassTransformation.name().to_owned();
        return Err(CausalError::BinaryOnly { kind, column: task.outcome.to_owned() });
    }
    let n = task.target.len();
    let (rows, mut target, mut weights) = (pair.rows(), vec![0.0; n], vec![0.0; n]);
    for row in rows.iter().map(|&row| row as usize) {
        let (e, y) = (pair.share(row), task.target[row]);
        let (own, z) = if pair.treated(row) { (e, y) } else { (1.0 - e, 1.0 - y) };
        target[row] = z;
        weights[row] = pair.weight(row) * 0.5 / own;
    }
    Ok(Regression { rows, target, weights: Some(weights), loss: Loss::Logistic })
}
