//! Average effects from parametric models fitted on all rows: regression adjustment, inverse-
//! probability weighting and the two together, with errors that stack every model's own.
//!
//! The estimators and their names are those of Stata's `teffects`; the errors are those of the
//! stacked estimating equations (Newey & McFadden 1994, section 6), written as what each row
//! adds to the answer, directly and through each model. Learned nuisances do not live here.

use crate::averages::mean_score;
use crate::binary_response::{BinaryLink, BinaryModel, fit_binary};
use crate::error::MetricsError;
use crate::estimate::Estimate;
use crate::least_squares::{LeastSquaresModel, Penalty, Regression};
use crate::robust::Covariance;

/// Rows, and the columns of both models; columns have n finite values.
#[derive(Clone, Copy, Debug)]
pub struct ParametricRows<'a> {
    /// Outcome.
    pub outcome: &'a [f64],
    /// Treatment, 0 or 1.
    pub treatment: &'a [f64],
    /// Columns of the outcome model, which is fitted by least squares in each group.
    pub outcome_columns: &'a [&'a [f64]],
    /// Columns of the treatment model.
    pub treatment_columns: &'a [&'a [f64]],
    /// The treatment model's link.
    pub link: BinaryLink,
    /// Cluster per row.
    pub clusters: Option<&'a [u32]>,
}

/// A parametric estimator of the average effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParametricMethod {
    /// Outcome regressions in both groups, read off for all rows.
    RegressionAdjustment,
    /// Means weighted by the inverse probability, normalised (Hajek).
    Ipw,
    /// Outcome regressions weighted by the inverse probability, read off for all rows.
    IpwRegression,
    /// Outcome regressions plus weighted residuals.
    Aipw,
    /// The same with regressions weighted by (1/p)(1/p − 1) (Cao, Tsiatis & Davidian 2009).
    AipwWeighted,
}

/// Both potential means and their difference.
#[derive(Clone, Debug, PartialEq)]
pub struct PotentialMeans {
    /// Average effect.
    pub ate: Estimate,
    /// Mean outcome were everybody treated.
    pub treated: Estimate,
    /// Mean outcome were nobody treated.
    pub control: Estimate,
}

/// One potential mean and what every row adds to it.
struct Side {
    mean: f64,
    parts: Vec<f64>,
}

/// A parametric estimate of both potential means.
///
/// # Errors
/// [`MetricsError::Length`], [`MetricsError::BadValue`], [`MetricsError::NoRows`],
/// [`MetricsError::TooFewRows`] where a group has fewer rows than coefficients,
/// [`MetricsError::BadSetting`] where no finite treatment model exists.
pub fn potential_means(rows: &ParametricRows<'_>, method: ParametricMethod) -> Result<PotentialMeans, MetricsError> {
    let n = rows.outcome.len();
    crate::error::same_length("treatment", n, rows.treatment.len())?;
    // The treatment model is fitted for every method but one; its checks serve all.
    let columns = if method == ParametricMethod::RegressionAdjustment { &[][..] } else { rows.treatment_columns };
    let model = fit_binary(columns, rows.treatment, None, rows.link)?;
    let [treated, control] = [true, false].map(|treated| Group::new(rows, &model, treated).side(method));
    let (treated, control) = (treated?, control?);
    let difference: Vec<f64> = treated.parts.iter().zip(&control.parts).map(|(a, b)| a - b).collect();
    Ok(PotentialMeans {
        ate: rows.estimate(treated.mean - control.mean, &difference),
        treated: rows.estimate(treated.mean, &treated.parts),
        control: rows.estimate(control.mean, &control.parts),
    })
}

impl ParametricRows<'_> {
    /// √Σ part² without clusters, as Stata has it; by cluster (CR2) with them.
    fn estimate(&self, value: f64, parts: &[f64]) -> Estimate {
        let n = parts.len() as f64;
        if self.clusters.is_none() {
            return Estimate::new(value, parts.iter().map(|v| v * v).sum::<f64>().sqrt(), parts.len() as u64);
        }
        let scores: Vec<f64> = parts.iter().map(|v| value + n * v).collect();
        mean_score(&scores, None, self.clusters)
    }
}

/// One group's rows: who is in it, with what probability, and its derivative in the predictor.
struct Group<'a> {
    rows: &'a ParametricRows<'a>,
    model: &'a BinaryModel,
    inside: Vec<f64>,
    p: Vec<f64>,
    slope: Vec<f64>,
}

impl<'a> Group<'a> {
    fn new(rows: &'a ParametricRows<'a>, model: &'a BinaryModel, treated: bool) -> Self {
        let pick = |t: f64| if treated { t } else { 1.0 - t };
        let sign = if treated { 1.0 } else { -1.0 };
        Group {
            rows,
            model,
            inside: rows.treatment.iter().map(|&t| pick(t)).collect(),
            p: model.probability.iter().map(|&p| pick(p)).collect(),
            slope: model.density.iter().map(|d| sign * d).collect(),
        }
    }

    fn n(&self) -> usize {
        self.inside.len()
    }

    fn side(&self, method: ParametricMethod) -> Result<Side, MetricsError> {
        let inverse = |row: usize| self.inside[row] / self.p[row];
        // Weights of the outcome regression, and their log-derivative in p.
        let (weights, log_slope): (Vec<f64>, Box<dyn Fn(f64) -> f64>) = match method {
            ParametricMethod::Ipw => return Ok(self.weighted_mean()),
            ParametricMethod::RegressionAdjustment | ParametricMethod::Aipw => (self.inside.clone(), Box::new(|_| 0.0)),
            ParametricMethod::IpwRegression => ((0..self.n()).map(inverse).collect(), Box::new(|p| -1.0 / p)),
            ParametricMethod::AipwWeighted => (
                (0..self.n()).map(|row| inverse(row) * (1.0 / self.p[row] - 1.0)).collect(),
                // d ln(p⁻² − p⁻¹)/dp = (p − 2) / (p (1 − p)).
                Box::new(|p| (p - 2.0) / (p * (1.0 - p))),
            ),
        };
        let augmented = matches!(method, ParametricMethod::Aipw | ParametricMethod::AipwWeighted);
        self.regression(&weights, &*log_slope, augmented)
    }

    /// Σ ωy / Σ ω, ω = 1{in group} / p.
    fn weighted_mean(&self) -> Side {
        let n = self.n();
        let weight = |row: usize| self.inside[row] / self.p[row];
        let total: f64 = (0..n).map(weight).sum();
        let mean = (0..n).map(|row| weight(row) * self.rows.outcome[row]).sum::<f64>() / total;
        let direct = |row: usize| weight(row) * (self.rows.outcome[row] - mean) / total;
        let slope: Vec<f64> = (0..n).map(|row| -direct(row) / self.p[row] * self.slope[row]).collect();
        let mut parts = self.model.through(&slope);
        parts.iter_mut().enumerate().for_each(|(row, part)| *part += direct(row));
        Side { mean, parts }
    }

    /// The mean of an outcome regression's fitted values, plus weighted residuals where asked.
    fn regression(
        &self,
        weights: &[f64],
        log_slope: &dyn Fn(f64) -> f64,
        augmented: bool,
    ) -> Result<Side, MetricsError> {
        let (n, columns) = (self.n(), self.rows.outcome_columns);
        let regression =
            Regression { columns, outcome: self.rows.outcome, weights: Some(weights), clusters: None, intercept: true };
        let model = regression.fit(Penalty::None)?;
        if model.n_rows <= model.rank {
            return Err(MetricsError::TooFewRows {
                what: "a treatment group",
                found: model.n_rows,
                needed: model.rank + 1,
            });
        }
        let mut fitted = vec![0.0; n];
        model.predict(columns, &mut fitted)?;
        let residual = |row: usize| self.rows.outcome[row] - fitted[row];
        let omega = |row: usize| if augmented { self.inside[row] / self.p[row] } else { 0.0 };
        let score = |row: usize| fitted[row] + omega(row) * residual(row);
        let mean = (0..n).map(score).sum::<f64>() / n as f64;
        // How the mean moves with the coefficients: the average of (1 − ω)·(1, x).
        let moved = |f: &dyn Fn(usize) -> f64| (0..n).map(|row| (1.0 - omega(row)) * f(row)).sum::<f64>() / n as f64;
        let contrast: Vec<f64> =
            std::iter::once(moved(&|_| 1.0)).chain(columns.iter().map(|x| moved(&|row| x[row]))).collect();
        let mut parts = regression.contributions(&model, &contrast, Covariance::Hc0)?.values;
        // How the mean moves with the treatment model: through ω, and through the weights.
        let through_weights = self.through_weights(&regression, &model, &contrast, log_slope)?;
        let slope: Vec<f64> = (0..n)
            .map(|row| {
                let through_omega = -omega(row) / self.p[row] * residual(row) / n as f64;
                (through_omega + through_weights[row]) * self.slope[row]
            })
            .collect();
        let nuisance = self.model.through(&slope);
        for (row, part) in parts.iter_mut().enumerate() {
            *part += (score(row) - mean) / n as f64 + nuisance[row];
        }
        Ok(Side { mean, parts })
    }

    /// Derivative of the contrast in each row's probability, through the row's weight:
    /// w (u·x) e times the log-derivative of w, which is the row's HC0 contribution times it.
    fn through_weights(
        &self,
        regression: &Regression<'_>,
        model: &LeastSquaresModel,
        contrast: &[f64],
        log_slope: &dyn Fn(f64) -> f64,
    ) -> Result<Vec<f64>, MetricsError> {
        let parts = regression.contributions(model, contrast, Covariance::Hc0)?.values;
        Ok(parts.iter().zip(&self.p).map(|(part, &p)| if *part == 0.0 { 0.0 } else { part * log_slope(p) }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impactiq_data::Seed;

    /// Treatment depends on x, the effect is 2 + x, x uniform: the average is 2.5.
    fn draw(seed: u64, n: usize) -> [Vec<f64>; 3] {
        let uniform = |stream: u64, i: usize| Seed::new(seed).child(stream).uniform(i as u64);
        let x: Vec<f64> = (0..n).map(|i| uniform(1, i)).collect();
        let t: Vec<f64> = (0..n).map(|i| f64::from(u8::from(uniform(2, i) < 0.25 + 0.5 * x[i]))).collect();
        let y = (0..n).map(|i| 3.0 * x[i] + t[i] * (2.0 + x[i]) + uniform(3, i) - 0.5).collect();
        [y, t, x]
    }

    const METHODS: [ParametricMethod; 5] = [
        ParametricMethod::RegressionAdjustment,
        ParametricMethod::Ipw,
        ParametricMethod::IpwRegression,
        ParametricMethod::Aipw,
        ParametricMethod::AipwWeighted,
    ];

    #[test]
    fn stacked_errors_are_those_seen_over_repeated_draws() {
        let n_draws = 400;
        for method in METHODS {
            let (mut squares, mut variance, mut bias) = (0.0, 0.0, 0.0);
            for seed in 0..n_draws {
                let [y, t, x] = draw(seed, 300);
                let columns: [&[f64]; 1] = [&x];
                let rows = ParametricRows {
                    outcome: &y,
                    treatment: &t,
                    outcome_columns: &columns,
                    treatment_columns: &columns,
                    link: BinaryLink::Logit,
                    clusters: None,
                };
                let ate = potential_means(&rows, method).unwrap().ate;
                let error = ate.value().unwrap() - 2.5;
                squares += error * error;
                bias += error;
                variance += ate.std_error().unwrap().powi(2);
            }
            let ratio = (variance / squares).sqrt();
            // √(2/400) relative noise of a variance, half of it for an error: 3.5 %.
            assert!((0.87..1.13).contains(&ratio), "{method:?}: stacked over seen {ratio}");
            let z = bias / squares.sqrt();
            assert!(z.abs() < 4.0, "{method:?}: bias of {z} errors");
        }
    }

    #[test]
    fn groups_that_are_missing_or_too_small_are_errors() {
        let [y, _, x] = draw(1, 10);
        let columns: [&[f64]; 1] = [&x];
        let rows = |t: &[f64]| {
            let rows = ParametricRows {
                outcome: &y,
                treatment: t,
                outcome_columns: &columns,
                treatment_columns: &columns,
                link: BinaryLink::Logit,
                clusters: None,
            };
            potential_means(&rows, ParametricMethod::RegressionAdjustment).unwrap_err()
        };
        assert!(matches!(rows(&[0.0; 10]), MetricsError::BadSetting { .. }));
        let mut one = [0.0; 10];
        one[3] = 1.0;
        assert!(matches!(rows(&one), MetricsError::TooFewRows { .. }));
    }
}
