//! Statistics of a forest's rows: average effects over chosen people, the best linear
//! projection of the effect, and the calibration test. Pure functions of [`ContrastRows`].
//!
//! Scores are doubly robust with the forest's own out-of-bag effect and out-of-fold nuisances
//! (Athey & Wager 2019; Chernozhukov et al. 2018). Errors are robust, by cluster where there
//! are any.

use impactiq_metrics::averages::mean_score;
use impactiq_metrics::calibration::{self, CalibrationTest, Residuals};
use impactiq_metrics::least_squares::{Penalty, Regression};
use impactiq_metrics::robust::Covariance;
use impactiq_metrics::{Estimate, MetricsError};
use serde::{Deserialize, Serialize};

use super::rows::ContrastRows;

/// Whose average effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whom {
    /// Everybody.
    All,
    /// Those who received the arm.
    Treated,
    /// Those who were in control.
    Control,
    /// Everybody, weighted by p (1 − p): those who could have been in either arm.
    Overlap,
}

/// Average effects of one arm by a forest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForestAverages {
    /// The arm, compared with the control.
    pub arm: String,
    /// Over everybody.
    pub all: Estimate,
    /// Over those who received the arm.
    pub treated: Estimate,
    /// Over those in control.
    pub control: Estimate,
    /// Weighted by overlap.
    pub overlap: Estimate,
}

/// The calibration test of one arm's effects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForestCalibration {
    /// The arm, compared with the control.
    pub arm: String,
    /// The test.
    #[serde(flatten)]
    pub test: CalibrationTest,
}

/// A coefficient of a best linear projection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coefficient {
    /// The column, or `(intercept)`.
    pub name: String,
    /// Its coefficient.
    pub estimate: Estimate,
}

/// Doubly robust scores of the effect, one per row:
/// τ̂ + 1{arm}(y − μ̂₁)/p₁ − 1{control}(y − μ̂₀)/p₀, the means implied by outcome and effect.
pub fn effect_scores(rows: &ContrastRows) -> Vec<f64> {
    (0..rows.outcome.len())
        .map(|i| {
            let (control, treated) = rows.means(i);
            let correction = match rows.received[i] {
                0 => -(rows.outcome[i] - control) / rows.p_control[i],
                1 => (rows.outcome[i] - treated) / rows.p_arm[i],
                _ => 0.0,
            };
            rows.effect[i] + correction
        })
        .collect()
}

/// The average effect over some people.
///
/// `All` is the mean of [`effect_scores`]. `Treated` and `Control` are ratios of the efficient
/// scores of those groups (Hahn 1998), `Overlap` is the regression of outcome residuals on
/// treatment residuals (Crump et al. 2009; Robinson 1988): it needs no division by small
/// probabilities.
pub fn forest_average(rows: &ContrastRows, whom: Whom) -> Estimate {
    if whom == Whom::All {
        return mean_score(&effect_scores(rows), rows.weights.as_deref(), rows.clusters.as_deref());
    }
    let pair = rows.pair();
    if [0, 1].iter().any(|arm| !pair.received.contains(arm)) {
        return Estimate::undefined("an arm has no rows");
    }
    match whom {
        Whom::Overlap => overlap_average(&pair).unwrap_or_else(|error| Estimate::undefined(error.to_string())),
        Whom::Treated => group_average(&pair, 1),
        _ => group_average(&pair, 0),
    }
}

/// Σ w ψ / Σ w 1{group}, with the standard error of a ratio.
fn group_average(pair: &ContrastRows, group: u8) -> Estimate {
    let n = pair.outcome.len();
    let weight = |i: usize| pair.weights.as_ref().map_or(1.0, |weights| weights[i]);
    let member = |i: usize| f64::from(u8::from(pair.received[i] == group));
    let score = |i: usize| {
        let (control, treated) = pair.means(i);
        // The other arm's rows stand in for what the group would have done there.
        let odds = if group == 1 { pair.p_arm[i] / pair.p_control[i] } else { pair.p_control[i] / pair.p_arm[i] };
        match (group, pair.received[i]) {
            (1, 1) => pair.outcome[i] - control,
            (1, _) => -odds * (pair.outcome[i] - control),
            (_, 1) => odds * (pair.outcome[i] - treated),
            _ => -(pair.outcome[i] - treated),
        }
    };
    let total: f64 = (0..n).map(weight).sum();
    let size: f64 = (0..n).map(|i| weight(i) * member(i)).sum();
    if size <= 0.0 || total <= 0.0 {
        return Estimate::undefined("the group has no weight");
    }
    let value = (0..n).map(|i| weight(i) * score(i)).sum::<f64>() / size;
    let influence: Vec<f64> = (0..n).map(|i| (score(i) - member(i) * value) * total / size).collect();
    let around_zero = mean_score(&influence, pair.weights.as_deref(), pair.clusters.as_deref());
    match (around_zero.std_error(), around_zero.lower(), around_zero.upper()) {
        (Some(error), Some(lower), Some(upper)) => {
            Estimate::with_bounds(value, error, value + lower, value + upper, n as u64)
        }
        _ => Estimate::undefined(around_zero.reason().unwrap_or("too few rows for a standard error").to_owned()),
    }
}

fn overlap_average(pair: &ContrastRows) -> Result<Estimate, MetricsError> {
    let (outcome, treatment) = residuals(pair);
    let columns: [&[f64]; 1] = [&treatment];
    let regression = Regression {
        columns: &columns,
        outcome: &outcome,
        weights: pair.weights.as_deref(),
        clusters: pair.clusters.as_deref(),
        intercept: false,
    };
    let model = regression.fit(Penalty::None)?;
    regression.contrast(&model, &[0.0, 1.0], robust(pair))
}

/// y − m and 1{arm} − p, among the arm and the control.
fn residuals(pair: &ContrastRows) -> (Vec<f64>, Vec<f64>) {
    let n = pair.outcome.len();
    let outcome = (0..n).map(|i| pair.outcome[i] - pair.outcome_hat[i]).collect();
    (outcome, (0..n).map(|i| f64::from(pair.received[i]) - pair.share(i)).collect())
}

fn robust(rows: &ContrastRows) -> Covariance {
    if rows.clusters.is_some() { Covariance::Cr2 } else { Covariance::Hc3 }
}

/// All averages of one contrast.
pub fn forest_averages(rows: &ContrastRows) -> ForestAverages {
    ForestAverages {
        arm: rows.arm.clone(),
        all: forest_average(rows, Whom::All),
        treated: forest_average(rows, Whom::Treated),
        control: forest_average(rows, Whom::Control),
        overlap: forest_average(rows, Whom::Overlap),
    }
}

/// The best linear projection of the effect on named columns: [`effect_scores`] regressed on
/// them with a constant, HC3 errors or CR2 by cluster (Semenova & Chernozhukov 2021). Columns hold one
/// finite value per row; a constant or collinear one has a reason instead of a coefficient.
///
/// # Errors
/// [`MetricsError::Length`], [`MetricsError::BadValue`] for a value that isn't finite,
/// [`MetricsError::TooFewRows`].
pub fn best_linear_projection(
    rows: &ContrastRows,
    columns: &[(&str, &[f64])],
) -> Result<Vec<Coefficient>, MetricsError> {
    let scores = effect_scores(rows);
    let values: Vec<&[f64]> = columns.iter().map(|(_, values)| *values).collect();
    let regression = Regression {
        columns: &values,
        outcome: &scores,
        weights: rows.weights.as_deref(),
        clusters: rows.clusters.as_deref(),
        intercept: true,
    };
    let model = regression.fit(Penalty::None)?;
    let names = std::iter::once("(intercept)").chain(columns.iter().map(|(name, _)| *name));
    names
        .enumerate()
        .map(|(index, name)| {
            let dropped = index > 0 && model.dropped.contains(&(index - 1));
            let estimate = if dropped {
                Estimate::undefined("the column is constant, or a combination of earlier ones")
            } else {
                let contrast: Vec<f64> = (0..=columns.len()).map(|j| f64::from(u8::from(j == index))).collect();
                regression.contrast(&model, &contrast, robust(rows))?
            };
            Ok(Coefficient { name: name.to_owned(), estimate })
        })
        .collect()
}

/// The calibration test: outcome residuals on treatment residuals times the mean effect, and times
/// what an effect differs from the mean. Both coefficients are 1 for a calibrated forest; the
/// second is 0 when its differences say nothing, and undefined when it predicts none.
///
/// # Errors
/// [`MetricsError::BadValue`] for a value that isn't finite, [`MetricsError::TooFewRows`].
pub fn calibration_test(rows: &ContrastRows) -> Result<CalibrationTest, MetricsError> {
    let pair = rows.pair();
    let n = pair.outcome.len();
    calibration::calibration_test(&Residuals {
        outcome: &pair.outcome,
        outcome_hat: &pair.outcome_hat,
        treatment: &pair.received.iter().map(|&code| f64::from(code)).collect::<Vec<f64>>(),
        treatment_hat: &(0..n).map(|i| pair.share(i)).collect::<Vec<f64>>(),
        effect_hat: &pair.effect,
        weights: pair.weights.as_deref(),
        clusters: pair.clusters.as_deref(),
    })
}
