//! Logit and probit regressions by maximum likelihood, with what each row adds to the
//! coefficients, so that estimators built on them can stack its error on their own.
//!
//! Unregularised and in-sample: for parametric propensities. Learned ones are cross-fitted,
//! one floor up.

use faer::Mat;

use crate::error::{MetricsError, all_finite, good_weights, same_length};
use crate::least_squares::{factor, solve};

/// From the linear predictor to a probability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BinaryLink {
    /// 1 / (1 + e⁻ᶻ).
    #[default]
    Logit,
    /// The normal distribution function.
    Probit,
}

/// Newton steps at most.
const MAX_STEPS: usize = 100;
/// Steps are halved at most this often.
const MAX_HALVINGS: usize = 40;

/// A fitted binary regression.
#[derive(Clone, Debug)]
pub struct BinaryModel {
    /// Coefficients in raw units, the constant first; 0 for collinear columns.
    pub coefficients: Vec<f64>,
    /// Probability of every row.
    pub probability: Vec<f64>,
    /// Derivative of every row's probability in its linear predictor.
    pub density: Vec<f64>,
    /// The scaled design (constant first) of the columns kept, n values each.
    pub(crate) design: Vec<Vec<f64>>,
    /// What each row adds to each scaled coefficient of the columns kept.
    pub(crate) influence: Vec<Vec<f64>>,
}

/// Probability, its derivative, the score's factor and minus the factor's derivative.
struct Terms {
    p: f64,
    density: f64,
    score: f64,
    curvature: f64,
    log_likelihood: f64,
}

impl BinaryLink {
    fn terms(self, z: f64, y: f64) -> Terms {
        match self {
            BinaryLink::Logit => {
                let p = 1.0 / (1.0 + (-z).exp());
                let density = p * (1.0 - p);
                let log_likelihood = y * z - z.max(0.0) - (-z.abs()).exp().ln_1p();
                Terms { p, density, score: y - p, curvature: density, log_likelihood }
            }
            BinaryLink::Probit => {
                let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
                let tail = |z: f64| (0.5 * statrs::function::erf::erfc(z / std::f64::consts::SQRT_2)).max(1e-300);
                let (p, q) = (tail(-z), tail(z));
                // Score y: φ/Φ, else −φ/(1−Φ); its derivative is −λ(λ + z).
                let ratio = y * density / p - (1.0 - y) * density / q;
                let curvature = ratio * (ratio + z);
                let log_likelihood = y * p.ln() + (1.0 - y) * q.ln();
                Terms { p, density, score: ratio, curvature, log_likelihood }
            }
        }
    }
}

/// Fits P(outcome = 1) on columns of n finite values and a constant.
///
/// # Errors
/// [`MetricsError::Length`], [`MetricsError::BadValue`] for values that are not finite or outcomes that
/// are not 0/1, [`MetricsError::NoRows`], [`MetricsError::BadSetting`] where the outcome has one value or
/// the columns tell it perfectly, so that no finite maximum exists.
///
/// ```
/// use impactiq_metrics::binary_response::{BinaryLink, fit_binary};
/// let (x, y) = ([0.0, 0.0, 0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0, 1.0, 1.0]);
/// let model = fit_binary(&[&x], &y, None, BinaryLink::Logit).unwrap();
/// // Odds 1/2 and 2: the slope is ln 4.
/// assert!((model.coefficients[1] - 4.0f64.ln()).abs() < 1e-10);
/// ```
pub fn fit_binary(
    columns: &[&[f64]],
    outcome: &[f64],
    weights: Option<&[f64]>,
    link: BinaryLink,
) -> Result<BinaryModel, MetricsError> {
    let n = outcome.len();
    check(columns, outcome, weights)?;
    let weight = |row: usize| weights.map_or(1.0, |w| w[row]);
    let scaled = Scaled::new(columns, n);
    let k = scaled.design.len();
    let total: f64 = (0..n).map(weight).sum();
    let mut beta = vec![0.0; k];
    let mean = (0..n).map(|row| weight(row) * outcome[row]).sum::<f64>() / total;
    beta[0] = match link {
        BinaryLink::Logit => (mean / (1.0 - mean)).ln(),
        BinaryLink::Probit => crate::tails::normal_quantile(mean),
    };
    let sums = |beta: &[f64]| scaled.sums(beta, outcome, &weight, link);
    let mut now = sums(&beta);
    let mut kept;
    let mut inverse;
    for _ in 0..MAX_STEPS {
        (kept, inverse) = factor(&now.hessian, &vec![0.0; k]);
        let gradient: Vec<f64> = kept.iter().map(|&j| now.gradient[j]).collect();
        let step = solve(&inverse, &gradient);
        let decrement: f64 = step.iter().zip(&gradient).map(|(s, g)| s * g).sum();
        let mut share = 1.0;
        let mut next = beta.clone();
        for _ in 0..MAX_HALVINGS {
            next.clone_from(&beta);
            kept.iter().zip(&step).for_each(|(&j, s)| next[j] += share * s);
            let then = sums(&next);
            if then.log_likelihood >= now.log_likelihood - 1e-12 * now.log_likelihood.abs() {
                now = then;
                break;
            }
            share *= 0.5;
        }
        beta = next;
        if decrement.abs() < 1e-18 * total {
            break;
        }
    }
    // The probabilities of a maximum are not all at the ends.
    let spread = scaled.predictors(&beta).iter().map(|z| z.abs()).fold(0.0, f64::max);
    if !(now.log_likelihood < -1e-9 * total && spread.is_finite() && beta.iter().all(|b| b.is_finite())) {
        return Err(MetricsError::BadSetting {
            what: "treatment model",
            value: "a perfect prediction".into(),
            allowed: "both groups must exist among equal rows: leave out the columns that fix the treatment",
        });
    }
    Ok(scaled.finish(beta, outcome, &weight, link))
}

fn check(columns: &[&[f64]], outcome: &[f64], weights: Option<&[f64]>) -> Result<(), MetricsError> {
    let n = outcome.len();
    if n == 0 {
        return Err(MetricsError::NoRows { what: "treatment model" });
    }
    for column in columns {
        same_length("regressor", n, column.len())?;
        all_finite("regressor", column)?;
    }
    if let Some(weights) = weights {
        good_weights(weights, n)?;
    }
    if let Some(row) = outcome.iter().position(|&y| y != 0.0 && y != 1.0) {
        let (value, allowed) = (outcome[row], "it must be 0 or 1");
        return Err(MetricsError::BadValue { what: "treatment", row, value, allowed });
    }
    let seen = |value: f64| (0..n).any(|row| outcome[row] == value && weights.is_none_or(|w| w[row] > 0.0));
    if !(seen(0.0) && seen(1.0)) {
        return Err(MetricsError::BadSetting {
            what: "treatment",
            value: "the same for all rows".into(),
            allowed: "both 0 and 1 must occur",
        });
    }
    Ok(())
}

/// Columns at comparable scale: a constant, then (x − mean) / deviation.
struct Scaled {
    design: Vec<Vec<f64>>,
    means: Vec<f64>,
    scales: Vec<f64>,
}

struct Sums {
    hessian: Mat<f64>,
    gradient: Vec<f64>,
    log_likelihood: f64,
}

impl Scaled {
    fn new(columns: &[&[f64]], n: usize) -> Self {
        let mut design = vec![vec![1.0; n]];
        let (mut means, mut scales) = (Vec::new(), Vec::new());
        for column in columns {
            let mean = column.iter().sum::<f64>() / n as f64;
            let spread = (column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64).sqrt();
            let scale = if spread > 1e-13 * mean.abs() { spread } else { f64::INFINITY };
            design.push(column.iter().map(|x| (x - mean) / scale).collect());
            means.push(mean);
            scales.push(scale);
        }
        Scaled { design, means, scales }
    }

    fn predictors(&self, beta: &[f64]) -> Vec<f64> {
        let mut z = vec![0.0; self.design[0].len()];
        for (column, b) in self.design.iter().zip(beta) {
            z.iter_mut().zip(column).for_each(|(z, x)| *z += b * x);
        }
        z
    }

    fn sums(&self, beta: &[f64], outcome: &[f64], weight: &impl Fn(usize) -> f64, link: BinaryLink) -> Sums {
        let k = self.design.len();
        let (mut hessian, mut gradient, mut log_likelihood) = (Mat::zeros(k, k), vec![0.0; k], 0.0);
        let mut curvature = vec![0.0; outcome.len()];
        let mut score = vec![0.0; outcome.len()];
        for (row, z) in self.predictors(beta).into_iter().enumerate() {
            let terms = link.terms(z, outcome[row]);
            curvature[row] = weight(row) * terms.curvature;
            score[row] = weight(row) * terms.score;
            log_likelihood += weight(row) * terms.log_likelihood;
        }
        for i in 0..k {
            gradient[i] = dot(&self.design[i], &score);
            for j in 0..=i {
                let sum: f64 = (0..outcome.len()).map(|r| curvature[r] * self.design[i][r] * self.design[j][r]).sum();
                hessian[(i, j)] = sum;
                hessian[(j, i)] = sum;
            }
        }
        Sums { hessian, gradient, log_likelihood }
    }

    fn finish(self, beta: Vec<f64>, outcome: &[f64], weight: &impl Fn(usize) -> f64, link: BinaryLink) -> BinaryModel {
        let n = outcome.len();
        let z = self.predictors(&beta);
        let terms: Vec<Terms> = (0..n).map(|row| link.terms(z[row], outcome[row])).collect();
        let hessian = self.sums(&beta, outcome, weight, link).hessian;
        let (kept, inverse) = factor(&hessian, &vec![0.0; beta.len()]);
        let mut influence = vec![vec![0.0; n]; kept.len()];
        for row in 0..n {
            let right: Vec<f64> = kept.iter().map(|&j| weight(row) * terms[row].score * self.design[j][row]).collect();
            let part = solve(&inverse, &right);
            influence.iter_mut().zip(part).for_each(|(column, value)| column[row] = value);
        }
        let mut coefficients = vec![beta[0]];
        for (j, (mean, scale)) in self.means.iter().zip(&self.scales).enumerate() {
            let slope = beta[j + 1] / scale;
            coefficients.push(slope);
            coefficients[0] -= slope * mean;
        }
        BinaryModel {
            coefficients,
            probability: terms.iter().map(|t| t.p).collect(),
            density: terms.iter().map(|t| t.density).collect(),
            design: kept.iter().map(|&j| self.design[j].clone()).collect(),
            influence,
        }
    }
}

impl BinaryModel {
    /// What each row adds, through the coefficients, to a sum whose derivative in row i's
    /// linear predictor is `slope[i]`.
    pub(crate) fn through(&self, slope: &[f64]) -> Vec<f64> {
        let mut all = vec![0.0; slope.len()];
        for (column, influence) in self.design.iter().zip(&self.influence) {
            let pull = dot(column, slope);
            all.iter_mut().zip(influence).for_each(|(a, v)| *a += pull * v);
        }
        all
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use impactiq_data::Seed;

    #[test]
    fn both_links_solve_their_score_equations_and_skip_copies() {
        let n = 2000;
        let x: Vec<f64> = (0..n).map(|i| 100.0 + Seed::new(1).uniform(i)).collect();
        let copy: Vec<f64> = x.iter().map(|x| 2.0 * x).collect();
        let y: Vec<f64> = (0..n)
            .map(|i| f64::from(u8::from(Seed::new(2).uniform(i) < 0.2 + 0.6 * (x[i as usize] - 100.0))))
            .collect();
        for link in [BinaryLink::Logit, BinaryLink::Probit] {
            let model = fit_binary(&[&x, &copy], &y, None, link).unwrap();
            assert_eq!(model.coefficients[2], 0.0);
            for f in [&|_: usize| 1.0, &|i: usize| x[i] - 100.0] as [&dyn Fn(usize) -> f64; 2] {
                let score: f64 = (0..n as usize)
                    .map(|i| {
                        let z = model.coefficients[0] + model.coefficients[1] * x[i];
                        f(i) * link.terms(z, y[i]).score
                    })
                    .sum();
                assert!(score.abs() < 1e-6, "{link:?}: {score}");
            }
            // Influences of all rows cancel at the maximum.
            assert!(model.influence.iter().all(|column| column.iter().sum::<f64>().abs() < 1e-8));
        }
    }

    #[test]
    fn outcomes_without_a_finite_maximum_are_errors() {
        let x = [0.0, 1.0, 2.0, 3.0];
        let separated = fit_binary(&[&x], &[0.0, 0.0, 1.0, 1.0], None, BinaryLink::Logit).unwrap_err();
        assert!(separated.to_string().contains("perfect prediction"), "{separated}");
        assert!(fit_binary(&[&x], &[1.0; 4], None, BinaryLink::Probit).is_err());
        let error = fit_binary(&[&x], &[0.0, 0.5, 1.0, 1.0], None, BinaryLink::Logit).unwrap_err();
        assert!(matches!(error, MetricsError::BadValue { row: 1, .. }));
    }
}
